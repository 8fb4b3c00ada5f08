internal import Synchronization
internal import VarveEngine

/// Tells compaction which entries nobody is shown any more, by the drops of tags that the store's caches know of: exactly
/// those that reads refuse, so what tags that share a slot hide goes with them. Of a cache that is not open everything stays.
///
/// It belongs to the store and outlives its engines. A drop is known here when its record is visible, not before. One that was
/// made in memory has a number beyond the log's end; the return to the disk has the log pass it, and the degraded mark stands
/// until the record is durable. Any thread.
final class TagJudge: InvalidationJudge {
    private struct Known {
        weak var registry: TagRegistry?
    }
    private struct State {
        /// By namespace. Caches come and go; those that went are left out at the next look.
        var registries: [UInt32: Known] = [:]
        /// How many drops each that had any knew of at the last look.
        var drops: [UInt32: UInt64] = [:]
        var generation: UInt64 = 0
    }
    private let state = Mutex(State())

    /// A cache was opened, and its registry knows what the disk does.
    func add(_ registry: TagRegistry, of namespace: Namespace) {
        state.withLock { state in
            state.registries[namespace.number] = Known(registry: registry)
            // The one before may have known of as many.
            state.drops[namespace.number] = nil
        }
    }

    /// How many caches it looks after, those included that went since the last look.
    var count: Int { state.withLock { $0.registries.count } }

    /// Of the caches that are open, those that have seen any drop. The references go out of the lock with the caller: one may
    /// be the last.
    private var registries: [UInt32: TagRegistry] {
        let present = state.withLock { state in
            let present = state.registries.compactMapValues(\.registry)
            if present.count < state.registries.count {
                state.registries = state.registries.filter { present[$0.key] != nil }
            }
            return present
        }
        return present.filter { $0.value.generation > 0 }
    }

    var generation: UInt64 {
        let drops = registries.mapValues(\.generation)
        return state.withLock { state in
            if drops != state.drops {
                state.drops = drops
                state.generation += 1
            }
            return state.generation
        }
    }

    func invalidation(of entry: TaggedEntry) -> LSN? {
        let registry = state.withLock { $0.registries[entry.namespace]?.registry }
        let version = DiskTier.version(of: entry.version, entry.extensions)
        return registry?.drop(of: entry.tags, since: version).map { LSN($0) }
    }

    func makePass() -> any InvalidationJudge {
        let generation = generation
        return Pass(generation: generation, drops: registries.mapValues(\.present))
    }

    /// What was known at one moment, asked without a lock.
    private struct Pass: InvalidationJudge {
        let generation: UInt64
        let drops: [UInt32: TagDrops]

        func invalidation(of entry: TaggedEntry) -> LSN? {
            let version = DiskTier.version(of: entry.version, entry.extensions)
            return drops[entry.namespace]?.earliest(of: entry.tags, since: version).map { LSN($0) }
        }
    }
}
