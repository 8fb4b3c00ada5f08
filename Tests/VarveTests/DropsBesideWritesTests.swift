import Dispatch
import Synchronization
import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// Drops of tags that cover a write whose caller has not been told of it yet.
struct DropsBesideWritesTests {
    /// Runs a task's jobs until it is told to hold them; then they wait.
    private final class HoldingExecutor: TaskExecutor {
        private struct State {
            var isOpen = false
            var held: [UnownedJob] = []
        }
        private let state = Mutex(State())
        private let queue = DispatchQueue(label: "holding")
        private let ran = DispatchSemaphore(value: 0)
        private let isToHold: @Sendable () -> Bool

        init(once isToHold: @escaping @Sendable () -> Bool) { self.isToHold = isToHold }

        var isHolding: Bool { state.withLock { !$0.held.isEmpty } }

        /// Returns once a job has run up to where it waits.
        func waitForJob() {
            ran.wait()
            ran.signal()
        }

        func enqueue(_ job: consuming ExecutorJob) {
            let job = UnownedJob(job)
            let isHeld = state.withLock { state in
                if state.isOpen || !isToHold() { return false }
                state.held.append(job)
                return true
            }
            if !isHeld { run(job) }
        }

        func open() {
            let held = state.withLock { state in
                state.isOpen = true
                defer { state.held = [] }
                return state.held
            }
            for job in held { run(job) }
        }

        private func run(_ job: UnownedJob) {
            queue.async {
                unsafe job.runSynchronously(on: self.asUnownedTaskExecutor())
                self.ran.signal()
            }
        }
    }

    /// Who else is at a key that Swift calls equal, when everything else begins.
    enum Neighbour: CaseIterable, Sendable {
        case none, otherSpelling
    }

    private let key = "\u{e9}"
    private let otherSpelling = "e\u{301}"
    /// One shard: they meet there.
    private let options = CacheOptions(memory: .entries(8))

    /// Writes 2, tagged, over whatever is there. When this returns the disk's readers see it, and its writer knows nothing yet.
    private func heldWrite(
        _ rig: CacheRig, _ cache: Cache<String, Int>
    ) async throws -> (executor: HoldingExecutor, task: Task<EntryVersion, any Error>) {
        let disk = try #require(cache.disk)
        let before = disk.visible
        let executor = HoldingExecutor { disk.visible > before }
        // The sync that makes the write visible begins when its writer waits for it.
        rig.files.observe { if $0.operation == .sync, disk.visible == before { executor.waitForJob() } }
        let task = Task(executorPreference: executor) {
            try await cache.set(2, for: key, EntryOptions(tags: ["t"], durability: .synced))
        }
        while !executor.isHolding { await Task.yield() }
        return (executor, task)
    }

    @Test(
        "What was in memory before a write is not served after a tag drop that covers the write",
        arguments: Neighbour.allCases)
    func memory(_ neighbour: Neighbour) async throws {
        let rig = CacheRig()
        let cache = try await rig.cache(.disk, Int.self, options)
        try await cache.set(1, for: key)
        let door = Door()
        let other = neighbour == .none ? nil : await cache.hangingLoad(otherSpelling, of: 9, behind: door)
        let write = try await heldWrite(rig, cache)
        #expect(try await cache.value(for: key) == 1)
        try await cache.remove(taggedWith: "t")
        #expect(try await cache.value(for: key) == nil)
        write.executor.open()
        _ = try await write.task.value
        #expect(try await cache.value(for: key) == nil)
        await door.open()
        #expect(try await other?.value == (neighbour == .none ? nil : 9))
        try await cache.close()
    }

    @Test(
        "A load that began before a write is not for who comes after a tag drop that covers the write",
        arguments: Neighbour.allCases)
    func load(_ neighbour: Neighbour) async throws {
        let rig = CacheRig()
        let cache = try await rig.cache(.disk, Int.self, options)
        let door = Door()
        let other = neighbour == .none ? nil : await cache.hangingLoad(otherSpelling, of: 9, behind: door)
        let early = await cache.hangingLoad(key, of: 1, behind: door)
        let write = try await heldWrite(rig, cache)
        try await cache.remove(taggedWith: "t")
        let late = await cache.lateLoad(key, of: 3)
        #expect(cache.statistics.loadsShared == 0)
        await door.open()
        #expect(try await early.value == 1)
        #expect(try await late.value == 3)
        #expect(try await other?.value == (neighbour == .none ? nil : 9))
        write.executor.open()
        _ = try await write.task.value
        #expect(try await cache.value(for: key) != 1)
        try await cache.close()
    }
}
