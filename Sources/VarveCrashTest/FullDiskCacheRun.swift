import Glibc
import Varve
import VarveEngine
import VarveIO
import VarveTestSupport

/// Fills a real, small file system with a cache that goes on in memory, and demands that it says so, that nothing which was
/// changed shows its old value, that it comes back to disk by itself, and that all this holds after it was opened anew.
struct FullDiskCacheRun {
    /// A folder on a file system that may be filled to the last byte.
    let directory: String

    private static let ballastBytes = 6 << 20
    private static let keys = 500

    /// Blocks until it is done.
    func run() throws -> String {
        let outcome = Watched<Result<String, any Error>?>(nil)
        Task {
            do {
                let text = try await runAsync()
                outcome.update { $0 = .success(text) }
            } catch {
                outcome.update { $0 = .failure(error) }
            }
        }
        outcome.wait { $0 != nil }
        guard let result = outcome.current else { throw Broken("the run did not end") }
        return try result.get()
    }

    private func open() async throws -> Cache<Int, String> {
        var options = CacheOptions(memory: .entries(64), disk: .megabytes(24), durability: .interval)
        options.degradation = .memoryOnly
        options.maximumStall = .seconds(3)
        options.warmRestart = nil
        return try await Cache<Int, String>.open(at: directory + "/cache", options)
    }

    private func isDegraded(_ cache: Cache<Int, String>) -> Bool {
        if case .degraded = cache.health.state { true } else { false }
    }

    private func runAsync() async throws -> String {
        let system = PosixFileSystem()
        let cache = try await open()
        for key in 0..<FullDiskCacheRun.keys { try await cache.set("old", for: key) }
        let ballast = directory + "/ballast"
        let file = try system.open(ballast, .createNew)
        while true {
            // The rest of the disk.
            let size = try file.size()
            let free = try system.freeBytes(directory)
            if free < 1 << 20 { break }
            try file.allocate(size + free / 2)
        }
        var writes = 0
        let value = String(repeating: "x", count: 100_000)
        while !isDegraded(cache) {
            try await cache.set(value, for: -1 - writes)
            writes += 1
            if writes > 10_000 { throw Broken("the disk is full, and the cache has not noticed") }
        }
        for key in 0..<100 { try await cache.set("new", for: key) }
        for key in 100..<200 { try await cache.remove(key) }
        try await check(cache, "while the disk is full")
        let health = "\(cache.health)"
        file.close()
        try system.remove(ballast)
        let deadline = ContinuousClock.now.advanced(by: .seconds(60))
        while isDegraded(cache) {
            guard ContinuousClock.now < deadline else { throw Broken("there is space again, and: \(cache.health)") }
            try await Task.sleep(for: .milliseconds(100))
        }
        try await check(cache, "back on disk")
        guard try await cache.value(for: 300) == "old" else { throw Broken("what was not changed is gone") }
        try await cache.close()
        let again = try await open()
        try await check(again, "opened anew")
        try await again.close()
        return "a cache noticed after \(writes) writes (\(health)), came back by itself, nothing old showed"
    }

    private func check(_ cache: Cache<Int, String>, _ when: String) async throws {
        let found = try await cache.values(for: Array(0..<FullDiskCacheRun.keys))
        for key in 0..<FullDiskCacheRun.keys {
            let value = found[key]
            let isRight = key < 100 ? value != "old" : (key < 200 ? value == nil : value != "new")
            if !isRight { throw Broken("key \(key) is \(value ?? "absent") \(when)") }
        }
    }
}
