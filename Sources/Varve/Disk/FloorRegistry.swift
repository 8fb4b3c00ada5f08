internal import Synchronization
internal import VarveEngine

/// The floors of source versions of one cache's namespace, as they hold for who reads and writes now. Raised by one at a time.
///
/// It belongs to the store where that may go on in memory, so it outlives the cache and the engine. Any thread.
final class FloorRegistry: Sendable {
    private struct State {
        var floors = PrefixFloors()
        /// As the disk has them, as far as this process can tell.
        var stored = StoredFloors()
        /// Whether one is just being raised.
        var isPending = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }
    private let state = Mutex(State())
    /// Most caches never have any: then a read looks at one flag.
    private let hasAny = Atomic<Bool>(false)
    /// How often `stored` has changed.
    private let changes = Atomic<UInt64>(0)

    /// Takes in what the disk has of it. Blocks.
    func load(_ namespace: Namespace, from engine: Engine) throws(VarveError) {
        // What holds here already may lie beyond what the disk has taken.
        guard present.isEmpty, let stored = try engine.get(namespace.keyPrefix, in: .sourceFloors) else { return }
        note(try PrefixFloors(reading: stored.bytes, writtenAt: stored.version.rawValue), isStored: true)
    }

    var present: PrefixFloors { hasAny.load(ordering: .acquiring) ? state.withLock { $0.floors } : PrefixFloors() }

    /// Those that compaction goes by. After the kill of a process the record that was found may
    /// be in the kernel's memory alone; so a compaction has the log synced before what it let go by them is gone.
    var stored: StoredFloors { generation > 0 ? state.withLock { $0.stored } : StoredFloors() }

    /// Whether the disk may lack some that hold here.
    var isInDoubt: Bool { hasAny.load(ordering: .acquiring) && state.withLock { $0.floors != $0.stored.floors } }

    /// Grows whenever `stored` changes: who sees that by whatever way finds it counted here.
    var generation: UInt64 { changes.load(ordering: .acquiring) }

    func hides(_ key: RawSpan, sourceVersion: UInt64, version: UInt64) -> Bool {
        guard hasAny.load(ordering: .acquiring) else { return false }
        return present.hides(key, sourceVersion: sourceVersion, version: version)
    }

    func floor(over key: RawSpan) -> UInt64 { hasAny.load(ordering: .acquiring) ? present.floor(over: key) : 0 }

    func raisedLast(over key: RawSpan) -> UInt64 {
        hasAny.load(ordering: .acquiring) ? present.raisedLast(over: key) : 0
    }

    // MARK: Raising

    /// Waits for the turn to raise a floor, which `end` gives back, and tells those that stand.
    func begin() async -> PrefixFloors {
        while true {
            let mine: PrefixFloors? = state.withLock { state in
                if state.isPending { return nil }
                state.isPending = true
                return state.floors
            }
            if let mine { return mine }
            await settled()
        }
    }

    /// Whoever raised one, or did not after all, has noted that before.
    func end() {
        let waiting = state.withLock { state in
            state.isPending = false
            defer { state.waiting = [] }
            return state.waiting
        }
        for waiter in waiting { waiter.resume() }
    }

    /// Whether one is just being raised: readers see what it hides, and what is written may be found to be hidden.
    var isPending: Bool { state.withLock { $0.isPending } }

    /// Returns once none is being raised that was when it was called.
    func settled() async {
        await withCheckedContinuation { continuation in
            let waits = state.withLock { state in
                if state.isPending { state.waiting.append(continuation) }
                return state.isPending
            }
            if !waits { continuation.resume() }
        }
    }

    /// What was noted last stands on the disk by now.
    func noteStored() { note(present, isStored: true) }

    /// These hold from now on. Within a turn, or before anybody asks. `isStored`: so says a record that was
    /// synced, or found when the store was opened.
    func note(_ floors: PrefixFloors, isStored: Bool) {
        state.withLock { state in
            state.floors = floors
            guard isStored else { return }
            state.stored.note(floors)
            changes.add(1, ordering: .releasing)
        }
        if !floors.isEmpty { hasAny.store(true, ordering: .releasing) }
    }
}
