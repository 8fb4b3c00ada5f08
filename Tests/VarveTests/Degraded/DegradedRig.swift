import Glibc
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// A cache with room for eight entries in memory on a disk that fills up and fails on command.
struct DegradedRig {
    var rig = CacheRig()
    var files: SimulatedFileSystem { rig.files }
    var options: CacheOptions = {
        var options = CacheOptions(memory: .entries(8), policy: .lru, durability: .synced)
        options.warmRestart = nil
        return options
    }()

    func store(_ degradation: Degradation = .memoryOnly, _ adjust: (inout EngineOptions) -> Void = { _ in })
        async throws -> CacheStore
    {
        try await rig.store { options in
            // The log meets the full disk first: nothing waits for a flush.
            options.memtableBytes = 16 << 20
            options.keepsDegradedMark = degradation == .memoryOnly
            adjust(&options)
        }
    }

    func cache(
        _ degradation: Degradation = .memoryOnly, _ adjust: (inout EngineOptions) -> Void = { _ in }
    ) async throws -> Cache<String, String> {
        try await store(degradation, adjust).cache(named: "c", options)
    }

    /// What is left when the power goes now.
    func crashed(_ seed: UInt64) -> DegradedRig {
        var next = self
        next.rig.files = files.crash(seed: seed)
        return next
    }

    /// Lets the disk have no room, and has the cache notice: this does not fit what the log has allocated.
    func fillDisk(_ cache: Cache<String, String>) async throws {
        files.capacity = files.usedBytes
        try await cache.set(DegradedRig.large, for: "filler")
    }

    static let large = String(repeating: "x", count: 300_000)

    /// Has memory forget what it holds.
    func evictAll(_ cache: Cache<String, String>) async throws {
        for number in 0..<20 { _ = try await cache.value(for: "other \(number)", load: { _ in "other" }) }
    }

    /// The log can no longer be synced.
    func failLog() {
        files.fail(EIO, sticky: true) { $0.operation == .sync && $0.path.contains(".log") }
    }
}

extension Cache {
    var isDegraded: Bool { if case .degraded = health.state { true } else { false } }
    func tryReturn() async -> Bool {
        guard let degraded = store.degraded else { return false }
        return await IOThread.run(name: "test-return") { degraded.tryReturn() }
    }
}

/// What a thread waits for until a test lets it go.
typealias HeldThread = Watched<(isReached: Bool, isOpen: Bool)>

extension CacheStore {
    /// Keeps the store from seeing to its disk by itself until this is open: writers meet first what fails, and saves are
    /// the test's own.
    func unattended() async -> HeldThread {
        let door = HeldThread((isReached: false, isOpen: false))
        warm { _ in
            door.update { $0.isReached = true }
            door.wait { $0.isOpen }
            return .never
        }
        await door.reached { $0.isReached }
        return door
    }
}

/// The code of the error that `body` throws; nil where it throws none.
func code(_ body: () async throws -> Void) async -> VarveError.Code? {
    do {
        try await body()
        return nil
    } catch {
        return (error as? VarveError)?.code
    }
}
