import Foundation
import Testing

@testable import VarveCLI

/// `varve replay` counts what anybody can count by hand on a small trace, and says what is wrong with a bad one.
@Suite struct ReplayTests {
    private static let base = ["replay", "-"]

    private func bytes(_ ids: some Sequence<UInt64>) -> [UInt8] {
        ids.flatMap { id in (0..<8).map { UInt8(truncatingIfNeeded: id >> ($0 * 8)) } }
    }

    private func replay(_ ids: some Sequence<UInt64>, _ flags: [String]) throws -> [String: Double] {
        let outcome = try Binary.run(ReplayTests.base + flags + ["--json"], input: bytes(ids))
        #expect(outcome.status == 0, "\(outcome.errors)")
        let object = try JSONSerialization.jsonObject(with: Data(outcome.output))
        return try #require(object as? [String: NSNumber]).mapValues(\.doubleValue)
    }

    @Test(arguments: [("lru", 2.0), ("fifo", 1.0)])
    func policiesAreTold(_ policy: String, _ hits: Double) throws {
        // At the third id of its own, LRU forgets 2, which was not used since, and FIFO forgets 1, which came first.
        let counts = try replay([1, 2, 1, 3, 1], ["--memory-entries", "2", "--policy", policy])
        #expect(
            counts == [
                "requests": 5, "hits": hits, "hitRatio": hits / 5, "memoryHits": hits, "diskHits": 0, "diskWrites": 0,
            ])
    }

    @Test(arguments: ["fifo", "lru", "lfu", "s3-fifo", "w-tinylfu", "adaptive", "LRU", "s3fifo", "W-TinyLFU"])
    func whatFitsIsMissedOnce(_ policy: String) throws {
        let ids: [UInt64] = [0, .max, 1 << 63, 0x0102_0304_0506_0708, 5]
        let counts = try replay(ids + ids + ids, ["--memory-entries", "5", "--policy", policy])
        #expect(counts["hits"] == 10)
    }

    @Test func theTextSaysTheSame() throws {
        let outcome = try Binary.run(ReplayTests.base + ["--memory-entries", "1"], input: bytes([7, 7, 7, 7]))
        #expect(
            outcome.text == "requests 4\nhits 3\nhitRatio 0.75\nmemoryHits 3\ndiskHits 0\ndiskWrites 0\n")
    }

    @Test func aLongTraceComesThroughAFileAsThroughAPipe() throws {
        let scratch = try Binary.Scratch()
        let input = bytes((0..<100_000).map { $0 % 50 })
        try Data(input).write(to: URL(fileURLWithPath: scratch.path + "/trace"))
        let file = try Binary.run(["replay", scratch.path + "/trace", "--memory-entries", "50", "--json"])
        let pipe = try Binary.run(ReplayTests.base + ["--memory-entries", "50", "--json"], input: input)
        #expect(file.status == 0)
        #expect(file.text == pipe.text)
        #expect(file.text.contains("\"hits\": 99950"))
    }

    @Test func memoryNeverHoldsMoreThanItMay() throws {
        // A loop of one id more than fits has no hit under FIFO, however the entries lie over shards.
        let counts = try replay((0..<30_003).map { $0 % 10_001 }, ["--memory-entries", "5000", "--policy", "fifo"])
        #expect(counts["hits"] == 0)
    }

    @Test func theDiskAnswersWhatMemoryForgot() throws {
        let scratch = try Binary.Scratch()
        let ids = Array(1...100 as ClosedRange<UInt64>)
        let counts = try replay(
            ids + ids, ["--memory-entries", "10", "--disk-entries", "1000", "--policy", "lru", "--dir", scratch.path])
        // A loop of a hundred: memory of ten has forgotten each when it comes again, the disk has room for all.
        #expect(
            counts == [
                "requests": 200, "hits": 100, "hitRatio": 0.5, "memoryHits": 0, "diskHits": 100, "diskWrites": 100,
            ])
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path).isEmpty)
    }

    @Test func theDiskHoldsNoMoreThanItMay() throws {
        // Of ten thousand ids that come in a loop, at most what both hold can be found again.
        let counts = try replay((0..<30_000).map { $0 % 10_000 }, ["--memory-entries", "10", "--disk-entries", "1000"])
        #expect(try #require(counts["hits"]) <= 2 * 1010)
    }

    @Test(arguments: [SIGINT, SIGTERM])
    func aSignalLeavesNothingBehind(_ number: Int32) throws {
        let scratch = try Binary.Scratch()
        let running = try RunningBinary(
            ReplayTests.base + ["--memory-entries", "10", "--disk-entries", "1000", "--dir", scratch.path])
        func left() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: scratch.path) }
        func hasStore() -> Bool {
            let path = (try? left().first).map { scratch.path + "/" + $0 + "/CURRENT" }
            return path.map { FileManager.default.fileExists(atPath: $0) } ?? false
        }
        #expect(running.wait(until: hasStore))
        running.send(number)
        #expect(running.waitForEnd() == number)
        #expect(try left().isEmpty)
    }

    // MARK: Mistakes

    @Test(arguments: [
        [], ["--memory-entries", "0"], ["--memory-entries", "-3"], ["--memory-entries", "many"],
        ["--memory-entries", "5", "--policy", "best"], ["--memory-entries", "5", "--disk-entries", "0"],
        ["--memory-entries", "5", "--dir", "/tmp"], ["--memory-entries", "5", "more"],
    ])
    func wrongFlagsExitWith64(_ flags: [String]) throws {
        let outcome = try Binary.run(ReplayTests.base + flags, input: bytes([1]))
        #expect(outcome.status == 64, "\(flags): \(outcome.errors)")
        #expect(!outcome.errors.isEmpty)
        #expect(outcome.output.isEmpty)
    }

    @Test(arguments: ["1", "31"])
    func aDiskTooSmallIsRefusedByItsFlag(_ count: String) throws {
        let flags = ["--memory-entries", "5", "--disk-entries", count]
        let outcome = try Binary.run(ReplayTests.base + flags, input: bytes([1]))
        #expect(outcome.status == 64, "\(outcome.errors)")
        #expect(outcome.errors.contains("--disk-entries") && outcome.errors.contains("at least 32: the disk"))
    }

    @Test(arguments: [(0, "empty"), (1, "truncated"), (8001, "truncated"), (800_007, "truncated")])
    func aBadTraceIsNamed(_ count: Int, _ word: String) throws {
        let scratch = try Binary.Scratch()
        let input = [UInt8](repeating: 1, count: count)
        let path = scratch.path + "/trace"
        try Data(input).write(to: URL(fileURLWithPath: path))
        let file = try Binary.run(["replay", path, "--memory-entries", "5"])
        let pipe = try Binary.run(ReplayTests.base + ["--memory-entries", "5"], input: input)
        for (outcome, name) in [(file, path), (pipe, "standard input")] {
            #expect(outcome.status == 64)
            #expect(outcome.errors.contains(name) && outcome.errors.contains(word), "\(outcome.errors)")
            #expect(outcome.output.isEmpty)
        }
    }

    @Test func aMissingFileIsNamed() throws {
        let outcome = try Binary.run(["replay", "/nonexistent/trace", "--memory-entries", "5"])
        #expect(outcome.status == 64)
        #expect(outcome.errors.contains("/nonexistent/trace"))
    }
}
