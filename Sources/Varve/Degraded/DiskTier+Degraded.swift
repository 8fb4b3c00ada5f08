internal import Synchronization
internal import VarveEngine

extension DiskTier {
    func hides(_ key: RawSpan) -> Bool { shadow?.hides(key) ?? false }
    func hides(_ key: [UInt8]) -> Bool { shadow?.hides(key) ?? false }
    func isHidden(_ key: some CacheKey) -> Bool { shadow != nil && key.withKeyBytes { hides($0) } }

    func keyHash(_ key: [UInt8]) -> UInt64 { Engine.keyHash(key, in: namespace) }

    /// Rethrows what a read threw, unless it met damage in a store that goes on in memory: then the key counts as absent.
    /// Nil where another engine has taken this one's place meanwhile, and is to be asked.
    func missIfDamaged(_ error: VarveError, _ engine: Engine) throws(VarveError) -> Probe? {
        if wasReplaced(engine) { return nil }
        guard let degraded, DegradedMode.isDamage(error) else {
            if error.isOfDisk { failedReads.add(1, ordering: .relaxed) }
            throw error
        }
        if !degraded.isReplacing(engine) { degraded.noteDamage(error) }
        return wasReplaced(engine) ? nil : .absent(nil)
    }
}
