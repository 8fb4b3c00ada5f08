import Synchronization
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// Caches on a simulated disk and a clock that tests turn.
struct CacheRig {
    static let path = "/cache"
    var files = SimulatedFileSystem()
    var clock = ManualClock()
    var observation = CacheObservation()
    /// Of its own where the store has a socket: the socket's name follows from it, and the folder of sockets is real.
    var path = CacheRig.path

    static func withSocket() -> CacheRig {
        var rig = CacheRig()
        rig.path += "-\(UInt64.random(in: 0 ... .max))"
        return rig
    }

    func store(_ adjust: (inout EngineOptions) -> Void = { _ in }) async throws -> CacheStore {
        var options = EngineOptions()
        options.clock = clock
        options.offersSocket = false
        options.idleSpan = nil
        options.memtableBytes = 256 << 10
        options.logSegmentBytes = 256 << 10
        adjust(&options)
        return try await CacheStore.open(at: path, options, fileSystem: files, observation: observation)
    }

    /// A store that is as full as the test tells this policy.
    func store(evictingBy eviction: S3FIFOEviction) async throws -> CacheStore {
        try await store {
            $0.diskBudgetBytes = 64 << 20
            // The engine would tell the policy how full it is.
            $0.usesThreads = false
            $0.eviction = eviction
        }
    }

    /// The two places where truth may live: every promise is tested on both.
    enum Home: CaseIterable, Sendable {
        case memory, disk
    }

    func cache<Value: CacheValue>(
        _ home: Home, _ values: Value.Type = Value.self, _ options: CacheOptions = CacheOptions()
    ) async throws -> Cache<String, Value> {
        switch home {
        case .memory: try CacheStore.inMemory(clock: clock).cacheInMemory(options)
        case .disk: try await store().cache(named: "test", coding: .own, options, ownsStore: true)
        }
    }
}

/// A door that tasks wait at until it is opened.
actor Door {
    private var isOpen = false
    private var waiting: [CheckedContinuation<Void, Never>] = []
    private(set) var arrivals = 0

    func pass() async {
        arrivals += 1
        if isOpen { return }
        await withCheckedContinuation { waiting.append($0) }
    }

    func open() {
        isOpen = true
        for waiter in waiting { waiter.resume() }
        waiting = []
    }

    /// Returns once so many have come to the door.
    func arrived(_ count: Int) async {
        while arrivals < count { await Task.yield() }
    }
}

actor Tally {
    private(set) var count = 0
    func add() { count += 1 }
}

extension Cache where Key == String, Value == Int {
    /// A load by one who comes now. When this returns it has asked the source, or joined a load that is under way.
    func lateLoad(_ key: String, of value: Int) async -> Task<Int?, any Error> {
        let shared = statistics.loadsShared
        let hasAsked = Mutex(false)
        let task = Task<Int?, any Error> {
            try await self.value(for: key) { _ in
                hasAsked.withLock { $0 = true }
                return value
            }
        }
        while !hasAsked.withLock({ $0 }), statistics.loadsShared == shared { await Task.yield() }
        return task
    }

    /// A load of the key whose source answers once the door is open. It has asked when this returns.
    func hangingLoad(_ key: String, of value: Int, behind door: Door) async -> Task<Int?, any Error> {
        let arrivals = await door.arrivals
        let task = Task<Int?, any Error> {
            try await self.value(for: key) { _ in
                await door.pass()
                return value
            }
        }
        await door.arrived(arrivals + 1)
        return task
    }

    /// From here on who comes begins a load of his own beside the one under way, as where the value of that one is over
    /// before it is stored. Nothing outdates either of them.
    func partLoad(_ key: String) { memory.withShard(memory.hash(key)) { $0.loads[key] = nil } }
}
