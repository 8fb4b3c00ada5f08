internal import Synchronization
internal import VarveEngine

/// Tells compaction which entries nobody is shown any more, by the drops of tags and the floors of source versions that the
/// store's caches know of: exactly those that reads refuse, so what tags that share a slot hide goes with them. Of a cache that
/// is not open everything stays.
///
/// It belongs to the store and outlives its engines. A drop is known here when its record is visible, not before. One that was
/// made in memory has a number beyond the log's end; the return to the disk has the log pass it, and the degraded mark stands
/// until the record is durable. A floor is known here when its record is on the disk as far as this process can tell: one of
/// which that is in doubt hides, and lets nothing go. Any thread.
final class CacheJudge: InvalidationJudge {
    private struct Known {
        weak var tags: TagRegistry?
        weak var floors: FloorRegistry?
    }
    /// Of a cache that is open.
    private struct Registries {
        let tags: TagRegistry
        let floors: FloorRegistry

        init?(_ known: Known) {
            guard let tags = known.tags, let floors = known.floors else { return nil }
            (self.tags, self.floors) = (tags, floors)
        }

        var counts: Counts { Counts(drops: tags.generation, floors: floors.generation) }
    }
    private struct Counts: Hashable {
        var drops: UInt64 = 0
        var floors: UInt64 = 0
    }
    private struct State {
        /// By namespace. Caches come and go; those that went are left out at the next look.
        var known: [UInt32: Known] = [:]
        /// How much each that had anything knew of at the last look.
        var counts: [UInt32: Counts] = [:]
        var generation: UInt64 = 0
    }
    private let state = Mutex(State())

    /// A cache was opened, and its registries know what the disk does.
    func add(_ tags: TagRegistry, _ floors: FloorRegistry, of namespace: Namespace) {
        state.withLock { state in
            state.known[namespace.number] = Known(tags: tags, floors: floors)
            // The one before may have known of as many.
            state.counts[namespace.number] = nil
        }
    }

    /// How many caches it looks after, those included that went since the last look.
    var count: Int { state.withLock { $0.known.count } }

    /// Of the caches that are open, those that have seen any drop or floor. The references go out of the lock with the caller:
    /// one may be the last.
    private var registries: [UInt32: Registries] {
        let present = state.withLock { state in
            let present = state.known.compactMapValues(Registries.init)
            if present.count < state.known.count { state.known = state.known.filter { present[$0.key] != nil } }
            return present
        }
        return present.filter { $0.value.counts != Counts() }
    }

    /// The generation as of now. 0 where no cache that is open has seen anything.
    private func look() -> UInt64 {
        let counts = registries.mapValues(\.counts)
        return state.withLock { state in
            if counts != state.counts {
                state.counts = counts
                state.generation += 1
            }
            return counts.isEmpty ? 0 : state.generation
        }
    }

    private func registries(of namespace: UInt32) -> Registries? {
        state.withLock { $0.known[namespace].flatMap(Registries.init) }
    }

    var generation: UInt64 { look() }

    var lastInvalidations: [UInt32: LSN] {
        registries.compactMapValues { $0.floors.stored.floors.latest.map { LSN($0) } }
    }

    func invalidation(of entry: JudgedEntry) -> LSN? {
        registries(of: entry.namespace)?.tags.drop(of: entry.tags, since: entry.madeAt).map { LSN($0) }
    }

    func invalidation(of entry: JudgedEntry, under key: RawSpan) -> LSN? {
        registries(of: entry.namespace)?.floors.stored.earliest(hiding: key, entry).map { LSN($0) }
    }

    func makePass() -> any InvalidationJudge {
        let generation = look()
        let present = registries
        let floors = present.mapValues(\.floors.stored)
        return Pass(
            generation: generation, lastInvalidations: floors.compactMapValues { $0.floors.latest.map { LSN($0) } },
            drops: present.mapValues(\.tags.present), floors: floors.filter { !$0.value.floors.isEmpty })
    }

    /// What was known at one moment, asked without a lock.
    private struct Pass: InvalidationJudge {
        let generation: UInt64
        let lastInvalidations: [UInt32: LSN]
        let drops: [UInt32: TagDrops]
        let floors: [UInt32: StoredFloors]

        func invalidation(of entry: JudgedEntry) -> LSN? {
            drops[entry.namespace]?.earliest(of: entry.tags, since: entry.madeAt).map { LSN($0) }
        }

        func invalidation(of entry: JudgedEntry, under key: RawSpan) -> LSN? {
            floors[entry.namespace]?.earliest(hiding: key, entry).map { LSN($0) }
        }
    }
}

extension JudgedEntry {
    /// The version by which a cache's reads judge it.
    fileprivate var madeAt: UInt64 { DiskTier.version(of: version, extensions) }
}

extension StoredFloors {
    fileprivate func earliest(hiding key: RawSpan, _ entry: JudgedEntry) -> UInt64? {
        earliest(hiding: key, sourceVersion: entry.sourceVersion ?? 0, version: entry.madeAt)
    }
}
