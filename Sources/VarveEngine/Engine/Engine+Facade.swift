internal import VarveIO

/// What the cache facade needs beyond the public surface.
extension Engine {
    /// The LSN as of which a reader that starts now reads.
    package var visible: LSN { visibleLSN }

    /// Returns once everything that is in the log is visible, what waits for its sync too; throws where that cannot be.
    package func settle() async throws(VarveError) {
        if let log = writing?.log, visibleLSN < log.appendedLSN { try await log.sync() }
    }

    /// What a reader has of a key, told apart as caches count it.
    package enum EntryProbe: Sendable {
        case entry(StoredEntry)
        case absent, expired
        /// The disk would have to be asked.
        case wouldBlock
    }

    /// What a reader has of a key, as far as memory tells without waiting.
    package func probe(_ key: RawSpan, in namespace: Namespace) throws(VarveError) -> EntryProbe {
        do throws(VarveError) {
            return EntryProbe(try liveEntry(key, namespace.id, nil, .memoryOnly))
        } catch {
            guard error.code == .wouldBlock else { throw error }
            return .wouldBlock
        }
    }

    /// The same after reading on a thread of the engine's own.
    package func read(_ key: [UInt8], in namespace: Namespace) async throws(VarveError) -> EntryProbe {
        try await context.threads.run { () throws(VarveError) in
            EntryProbe(unsafe try self.liveEntry(key.span.bytes, namespace.id, nil, .mayBlock))
        }
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

    /// What is wrong with a store.
    package struct Troubles: Sendable {
        /// What stopped writes for good.
        package var failure: VarveError?
        /// What background work met last and will try again.
        package var passing: VarveError?
        /// A table that cannot be read, round which compactions go.
        package var damage: VarveError?

        package init(failure: VarveError? = nil, passing: VarveError? = nil, damage: VarveError? = nil) {
            self.failure = failure
            self.passing = passing
            self.damage = damage
        }
    }

    package var troubles: Troubles {
        Troubles(failure: health.failure ?? writing?.log.failure, passing: health.passing, damage: health.damage)
    }
}

extension Namespace {
    /// Where the drops of tags are kept: a namespace of the store's own, beside the data.
    package static let tagDrops = Namespace(name: "tag drops", id: .tagEpochs)

    /// Where it is kept below which source versions a cache shows nothing any more, in one record for each namespace: a
    /// namespace of the store's own, beside the data.
    package static let sourceFloors = Namespace(name: "source floors", id: .sourceFloors)

    /// What caches note for their next start, beside the data.
    package static let marks = Namespace(name: "marks", id: .marks)

    /// What the store knows it by, for good.
    package var number: UInt32 { id.rawValue }

    /// The bytes by which the store tells this key space from others; they lead the keys of what is kept about it.
    package var keyPrefix: [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: id.rawValue >> (24 - 8 * UInt32($0))) }
    }
}

extension Engine.EntryProbe {
    fileprivate init(_ live: consuming Lookup.Live<StoredEntry>) {
        switch consume live {
        case .entry(let entry): self = .entry(entry)
        case .absent: self = .absent
        case .expired: self = .expired
        }
    }
}
