import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// An opening that fails when threads run already.
struct LateFailureTests {
    /// A thread of the log holds the file system, so one that is gone has no such thread.
    private final class Held {
        weak var files: SimulatedFileSystem?
    }

    private func threaded(_ store: ReviewStore) -> EngineOptions { store.options { $0.usesThreads = true } }

    @Test(
        "nothing is left running, whichever call fails", arguments: ["LOCK", "MANIFEST"], [false, true])
    func nothingRuns(_ name: String, isAsync: Bool) async throws {
        let store = ReviewStore()
        let held = Held()
        try await fail(store, held, name, isAsync: isAsync)
        #expect(held.files == nil)
    }

    private func fail(_ store: ReviewStore, _ held: Held, _ name: String, isAsync: Bool) async throws {
        let files = try create(store)
        held.files = files
        // The first write of either file is of the time before the log is opened, the second of the time after.
        let calls = Watched(0)
        files.fail(5, sticky: true) { call in
            guard call.operation == .write, call.path.contains(name) else { return false }
            return calls.update { calls in
                calls += 1
                return calls > (name == "LOCK" ? 1 : 2)
            }
        }
        var failed = false
        if isAsync {
            do {
                _ = try await Engine.openFollower(at: ReviewStore.path, threaded(store), fileSystem: files)
            } catch {
                failed = true
            }
        } else {
            failed = failsBlocking(threaded(store), files)
        }
        #expect(failed)
        files.clearFaults()
        // The lock is free, and nothing of the failed opening is left that could write.
        try check(store, files)
    }

    /// A store under which power was lost: who opens it to follow marks it as a copy after the log is open.
    private func create(_ store: ReviewStore) throws -> SimulatedFileSystem {
        let disk = SimulatedFileSystem()
        let source = try store.open(disk)
        try source.put([1], [1], durability: .synced)
        let files = disk.crash(seed: 1)
        store.clock.reboot()
        return files
    }

    private func check(_ store: ReviewStore, _ files: SimulatedFileSystem) throws {
        let again = try store.open(files)
        #expect(try again.get([1]) != nil)
        try again.close()
    }

    private func failsBlocking(_ options: EngineOptions, _ files: SimulatedFileSystem) -> Bool {
        (try? Engine.openFollower(at: ReviewStore.path, options, fileSystem: files)) == nil
    }
}
