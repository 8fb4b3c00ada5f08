internal import VarveIO

/// What the cache facade needs beyond the public surface.
extension Engine {
    /// The LSN as of which a reader that starts now reads.
    package var visible: LSN { visibleLSN }

    /// Returns once everything that is in the log is visible, what waits for its sync too; throws where that cannot be.
    package func settle() async throws(VarveError) {
        if let log = writing?.log, visibleLSN < log.appendedLSN { try await log.sync() }
    }

    /// Whether what a reader would find under a key has expired, as far as memory tells without waiting.
    package func hasExpired(_ key: RawSpan, in namespace: Namespace) -> Bool {
        guard !isClosed, key.byteCount <= Limits.keyBytes else { return false }
        let found = unsafe try? FullKey.withFullKey(namespace.id, key) { (full) throws(VarveError) in
            let pin = keeper.cell.pin()
            let hit = unsafe try Lookup.newest(
                full, hash: XXH3.hash64(full), in: pin.state, at: visibleLSN, .memoryOnly, tables)
            guard let hit, hit.trailer.kind == .put, let view = unsafe try? EntryView(hit.entry) else { return false }
            let hasExpired = view.usableUntil != .max && view.isExpired(at: clock.now())
            try hit.table?.confirm()
            return hasExpired
        }
        // What cannot be read now tells nothing; the read itself has said so already.
        return found ?? false
    }

    /// A seed for hashes of keys that outlive a restart: the store's own, so that nobody can choose colliding keys ahead.
    package var hashSeed: UInt64 {
        let identity = versions.state.identity.storeID
        return XXH3.seed(identity.high, identity.low)
    }

    /// Whether a write that asks for no sync would be taken without waiting for background work.
    package var takesWritesAtOnce: Bool { !isClosed && health.failure == nil && gate.current == .none }

    /// Whether a write would get in without waiting for a flush, and there is room on disk for a segment of the log. Blocks.
    package var hasRoomForWrites: Bool {
        guard !isClosed, health.failure == nil, keeper.sealedCount < options.sealedMemtables else { return false }
        if case .stop = gate.current { return false }
        // Small writes fit what the log has allocated even where the next segment would not.
        let free = try? context.files.freeBytes(directory)
        return (free ?? .max) >= UInt64(options.logSegmentBytes)
    }

    /// What stopped writes for good, and what background work met last and will try again.
    package var troubles: (failure: VarveError?, passing: VarveError?) {
        (health.failure ?? writing?.log.failure, health.passing)
    }
}

extension Namespace {
    /// Where the drops of tags are kept: a namespace of the store's own, beside the data.
    package static let tagDrops = Namespace(name: "tag drops", id: .tagEpochs)

    /// What caches note for their next start, beside the data.
    package static let marks = Namespace(name: "marks", id: .marks)

    /// The bytes by which the store tells this key space from others; they lead the keys of what is kept about it.
    package var keyPrefix: [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: id.rawValue >> (24 - 8 * UInt32($0))) }
    }
}
