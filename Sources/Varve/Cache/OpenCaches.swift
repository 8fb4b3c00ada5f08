internal import Synchronization
internal import VarveEngine

/// The caches that are open in a store: which names are taken, and what closing the store has to end. Any thread.
final class OpenCaches: Sendable {
    /// What the store asks of a cache.
    struct Member: Sendable {
        /// Refuses what comes and returns when nothing is under way on disk.
        let refuse: @Sendable () async -> Void
        /// What is left to be written. Blocks; nothing else of the cache runs any more.
        let finish: @Sendable () -> Void
        /// Tells the disk what it has not got since it took no writes, where it takes them now. Blocks; after `refuse`.
        let save: @Sendable () -> Void
        /// `Cache.ready`.
        let ready: @Sendable (_ share: Double, _ limit: Duration) async -> WarmUpOutcome
    }
    private struct State {
        /// Under its name; the unnamed cache's is nil.
        var names: Set<String?> = []
        var members: [UInt64: Member] = [:]
        var nextID: UInt64 = 0
    }
    private let state = Mutex(State())

    /// Takes a name; false where it is taken.
    func take(_ name: String?) -> Bool { state.withLock { $0.names.insert(name).inserted } }
    func release(_ name: String?) { _ = state.withLock { $0.names.remove(name) } }

    func add(_ member: Member) -> UInt64 {
        state.withLock { state in
            state.nextID += 1
            state.members[state.nextID] = member
            return state.nextID
        }
    }

    /// In the order in which they were opened.
    var all: [Member] { state.withLock { $0.members.sorted { $0.key < $1.key }.map(\.value) } }

    @discardableResult
    func remove(_ id: UInt64) -> Member? { state.withLock { $0.members.removeValue(forKey: id) } }

    /// Takes all out, in the order in which the caches were opened.
    func removeAll() -> [Member] {
        state.withLock { state in
            defer { state.members = [:] }
            return state.members.sorted { $0.key < $1.key }.map(\.value)
        }
    }
}

/// A cache's hold on its name: free again when it is given back, or its cache is gone.
final class NameHold: Sendable {
    private let caches: OpenCaches
    private let name: String?
    private let isHeld = Atomic<Bool>(true)

    /// Nil where another cache has the name.
    init?(_ name: String?, in caches: OpenCaches) {
        guard caches.take(name) else { return nil }
        self.caches = caches
        self.name = name
    }

    deinit { giveBack() }

    func giveBack() {
        if isHeld.exchange(false, ordering: .acquiringAndReleasing) { caches.release(name) }
    }
}
