import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// Copies of another process's cache, on courses that a seed draws.
struct CopyTests {
    @Test(
        "Held against the list of what the owner has, while it writes, goes away, and goes on in memory",
        .timeLimit(.minutes(15)), arguments: 1...12 as ClosedRange<UInt64>)
    func follows(seed: UInt64) async throws {
        var run = try await CopyRun(seed)
        try await run.run()
    }

    @Test(
        "Reads of an owner that stands still end, whoever asks, on two threads; no answer is another's afterwards",
        .timeLimit(.minutes(15)), arguments: 1...5 as ClosedRange<UInt64>)
    func standsStill(seed: UInt64) async throws {
        var random = SplitMix(course: seed)
        let rig = CacheRig.withSocket()
        func open() async throws -> CacheStore {
            try await rig.store { options in
                options.offersSocket = true
                options.blockCacheBytes = 0
            }
        }
        let first = try await open()
        let owner = try await first.cache(named: "c", of: String.self, to: Int.self)
        for number in 0..<200 { try await owner.set(number, for: "\(number)") }
        try await first.engine?.flush()
        try await first.close()
        let store = try await open()
        let isHeld = Watched(false)
        rig.files.observe { call in
            if call.operation == .read, call.path.hasSuffix(".sst") { isHeld.wait { !$0 } }
        }
        let clocks = [ThreadsClock(), ThreadsClock()]
        func remote(_ timeout: Duration, _ clock: ThreadsClock) -> RemoteCache<String, Int> {
            RemoteCache(storeAt: rig.path, named: "c", coding: .own, timeout: timeout, rig.files, clock: clock)
        }
        let patient = remote(.seconds(600), clocks[0])
        let hasty = remote(.milliseconds(20 + Int(random.next() % 60)), clocks[1])
        for round in 1...3 {
            let name = "seed \(seed), round \(round)"
            for (answer, number) in await ask(patient, count: 1 + Int(random.next() % 60), &random, cancelling: false) {
                #expect(answer == .value(number), "\(name), key \(number)")
            }
            isHeld.update { $0 = true }
            rig.files.dropCaches()
            // So few that the connections which are given up for them are no more than the owner takes.
            for (answer, number) in await ask(hasty, count: 3 + Int(random.next() % 20), &random, cancelling: true) {
                let isRight = [.failed(.timedOut), .failed(.cancelled)].contains(answer)
                #expect(isRight, "\(name), key \(number): \(answer)")
            }
            isHeld.update { $0 = false }
            // A machine under load may keep one waiting for longer than it has patience.
            for (answer, number) in await ask(hasty, count: 8, &random, cancelling: false) {
                #expect([.value(number), .failed(.timedOut)].contains(answer), "\(name), key \(number): \(answer)")
            }
        }
        for clock in clocks { #expect(clock.threads <= 2, "seed \(seed)") }
        try await store.close()
    }

    private enum Answer: Hashable, Sendable {
        case value(Int?)
        case failed(VarveError.Code)
    }

    /// Many tasks that ask at once, some of which are cancelled; each with its answer and what it asked for.
    private func ask(
        _ remote: RemoteCache<String, Int>, count: Int, _ random: inout SplitMix, cancelling: Bool
    ) async -> [(Answer, Int)] {
        var asking: [(Task<Answer, Never>, Int)] = []
        for _ in 0..<count {
            let number = Int(random.next() % 200)
            let task = Task {
                do throws(VarveError) { return Answer.value(try await remote.value(for: "\(number)")) } catch {
                    return .failed(error.code)
                }
            }
            if cancelling, random.next() % 4 == 0 { task.cancel() }
            asking.append((task, number))
        }
        var answers: [(Answer, Int)] = []
        for (task, number) in asking { answers.append((await task.value, number)) }
        return answers
    }
}
