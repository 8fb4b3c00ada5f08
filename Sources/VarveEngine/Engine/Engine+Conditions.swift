internal import VarveIO

/// Conditional batches, without reading under the commit lock (optimistic concurrency, Kung and Robinson 1981).
///
/// The conditions are checked as of a visible LSN, where the disk may be read; the commit then only asks memory whether
/// any of the keys was written after that LSN. If it was, or if memory cannot tell any more, everything starts over.
extension Engine {
    /// Checks a batch's conditions and returns the LSN as of which they hold.
    func checkConditions(of batch: borrowing WriteBatch, _ mode: ReadMode) throws(VarveError) -> LSN {
        // Before the state is pinned: a batch that goes into a memtable which the pinned state does not have yet lies
        // beyond this LSN, and the commit finds it.
        let checked = visibleLSN
        if batch.conditions.isEmpty { return checked }
        let pin = keeper.cell.pin()
        let lsn = visibleLSN
        let now = clock.now()
        for condition in batch.conditions {
            let version: LSN? = unsafe try condition.fullKey.withBytes { (key) throws(VarveError) in
                unsafe try Lookup.withLive(
                    key, hash: XXH3.hash64(key), in: pin.state, at: lsn, now: { now }, mode, tables
                ) { (_, version) in version }
            }
            guard version == condition.version else { throw Engine.conditionFailed(condition, found: version) }
        }
        return checked
    }

    func checkConditionsAsync(of batch: borrowing WriteBatch) async throws(VarveError) -> LSN {
        do {
            return try checkConditions(of: batch, .memoryOnly)
        } catch {
            guard error.code == .wouldBlock else { throw error }
        }
        let conditions = batch.conditions
        return try await context.threads.run { () throws(VarveError) in
            var copy = WriteBatch()
            copy.conditions = conditions
            return try self.checkConditions(of: copy, .mayBlock)
        }
    }

    /// Commits a batch whose conditions held at `checked`.
    func commit(
        _ batch: borrowing WriteBatch, _ durability: Durability, checkedAt checked: LSN,
        _ pipeline: CommitPipeline
    ) throws(CommitPipeline.Refusal) -> CommitPipeline.Ticket {
        let conditions = batch.conditions
        return unsafe try pipeline.commit(batch.payload.bytes, count: batch.count, durability) {
            () throws(CommitPipeline.Refusal) in
            if !conditions.isEmpty, hasChanged(conditions, after: checked) { throw .conflict }
        }
    }

    /// Whether any of the keys may have been written after `lsn`, visible or not. Under the commit lock: memory only.
    private func hasChanged(_ conditions: [WriteBatch.Condition], after lsn: LSN) -> Bool {
        let state = keeper.cell.pin().state
        // What was flushed since cannot be asked without the disk.
        if state.version.flushed.lsn > lsn { return true }
        for memtable in [state.active] + state.sealed {
            guard let newest = memtable.largestLSN, newest > lsn else { continue }
            for condition in conditions {
                let changed = unsafe condition.fullKey.withBytes { key in
                    if let written = unsafe memtable.newestLSN(of: key), written > lsn { return true }
                    if let hidden = unsafe memtable.rangeTombstoneLSN(covering: key, at: .max), hidden > lsn {
                        return true
                    }
                    return false
                }
                if changed { return true }
            }
        }
        return false
    }

    private static func conditionFailed(_ condition: WriteBatch.Condition, found: LSN?) -> VarveError {
        func spelled(_ version: LSN?) -> String { version.map { "version \($0)" } ?? "absent" }
        return VarveError(
            .conditionFailed,
            "a key should be \(spelled(condition.version)) and is \(spelled(found)); nothing was written")
    }
}
