import Foundation
import VarveEngine
import VarveIO
import VarveTestSupport

/// What each writer of a real process does, by number, so that parent and child agree on it.
struct KillPlan: Sendable {
    static let writers = 3
    static let keysPerWriter = 60

    let seed: UInt64

    func options() -> EngineOptions {
        var options = EngineOptions()
        options.offersSocket = false
        options.memtableBytes = 128 << 10
        options.logSegmentBytes = seed % 2 == 0 ? 64 << 10 : 256 << 10
        options.compressLog = seed % 3 != 0
        options.compaction.tableBytes = 64 << 10
        options.compaction.baseBytes = 128 << 10
        options.compaction.levelZeroTrigger = 2
        return options
    }

    static func prefix(_ writer: Int) -> [UInt8] { Array("w\(writer):".utf8) }

    /// Batch `number` of a writer: the same in every process.
    func batch(_ writer: Int, _ number: Int) -> (operations: [ModelStore.Operation], durability: Durability) {
        var random = SplitMix(seed &* 1_000_003 &+ UInt64(writer) &* 7_777_777 &+ UInt64(number))
        func key() -> [UInt8] {
            KillPlan.prefix(writer) + Array("key\(random.next() % UInt64(KillPlan.keysPerWriter))".utf8)
        }
        var operations: [ModelStore.Operation] = []
        for part in 0..<(random.next() % 3 == 0 ? 1 + random.next() % 10 : 1) {
            switch random.next() % 20 {
            case 0..<15:
                let length = random.next() % 20 == 0 ? random.next() % 20_000 : random.next() % 300
                let byte = random.byte()
                let value =
                    Array("\(number).\(part)".utf8) + (0..<length).map { byte &+ UInt8(truncatingIfNeeded: $0 / 3) }
                operations.append(.put(key(), .init(value: value)))
            case 15..<19: operations.append(.delete(key()))
            default:
                let (a, b) = (key(), key())
                if a == b {
                    operations.append(.delete(a))
                } else {
                    operations.append(a.lexicographicallyPrecedes(b) ? .deleteRange(a, b) : .deleteRange(b, a))
                }
            }
        }
        return (operations, random.next() % 8 == 0 ? .synced : .interval)
    }
}

/// The process that writes until it is killed. Each acknowledged batch is a line "WRITER NUMBER" on standard output.
struct KillChild {
    let directory: String
    let seed: UInt64
    /// Where each writer goes on, separated by commas.
    let start: String

    func run() throws {
        let plan = KillPlan(seed: seed)
        let engine = try Engine.open(at: directory, plan.options())
        let first = start.split(separator: ",").compactMap { Int($0) }
        let threads = try (0..<KillPlan.writers).map { writer in
            try IOThread(name: "writer") {
                var number = writer < first.count ? first[writer] : 0
                while true {
                    let (operations, durability) = plan.batch(writer, number)
                    do { try Workload.write(operations, to: engine, durability: durability) } catch {
                        CrashReport.say("the child cannot write: \(error)")
                        return
                    }
                    FileHandle.standardOutput.write(Data("\(writer) \(number)\n".utf8))
                    number += 1
                }
            }
        }
        let background = try IOThread(name: "maintenance") {
            var random = SplitMix(plan.seed)
            while true {
                usleep(UInt32(random.next() % 30_000))
                do {
                    if random.next() % 3 == 0 { try engine.compact() } else { try engine.flush() }
                } catch { return CrashReport.say("the child cannot flush: \(error)") }
            }
        }
        for thread in threads + [background] { thread.join() }
    }
}

/// Real processes on a real disk, killed at random moments; whatever they acknowledged must be there.
struct KillRun {
    let report: CrashReport
    let seed: UInt64
    let program: String
    /// Kills of one store before the next begins.
    static let killsPerStore = 8

    /// One store and what its writers have done to it.
    private struct Store {
        let plan: KillPlan
        let directory: TemporaryDirectory
        var states: [StoreState] = Array(repeating: [:], count: KillPlan.writers)
        var next = Array(repeating: 0, count: KillPlan.writers)
        var path: String { directory.path + "/store" }
    }

    func run(kills: Int) {
        var random = SplitMix(seed)
        var store: Store?
        for kill in 0..<kills where !report.hasEnough {
            do {
                if kill % KillRun.killsPerStore == 0 || store == nil {
                    store = Store(plan: KillPlan(seed: random.next()), directory: try TemporaryDirectory())
                }
                guard var current = store else { return }
                let acknowledged = try killOne(current, after: UInt32(random.next() % 120_000))
                report.count(.process)
                try check(&current, acknowledged)
                store = current
            } catch {
                report.add(
                    CrashFailure(
                        mode: .process, seed: seed, call: kill, what: "kill \(kill)", message: "\(error)"))
                store = nil
            }
        }
    }

    /// Lets a child write and kills it some microseconds after its first acknowledgement. Returns, for each writer, how
    /// many batches it acknowledged.
    private func killOne(_ store: Store, after delay: UInt32) throws -> [Int] {
        let child = Process()
        child.executableURL = URL(fileURLWithPath: program)
        child.arguments = [
            "--child-directory", store.path, "--seed", "\(store.plan.seed)",
            "--child-start", store.next.map(String.init).joined(separator: ","),
        ]
        let pipe = Pipe()
        child.standardOutput = pipe
        try child.run()
        var output = pipe.fileHandleForReading.availableData
        let identifier = child.processIdentifier
        let killer = try IOThread(name: "killer") {
            usleep(delay)
            kill(identifier, SIGKILL)
        }
        while true {
            let piece = pipe.fileHandleForReading.availableData
            if piece.isEmpty { break }
            output += piece
        }
        killer.join()
        child.waitUntilExit()
        var acknowledged = store.next
        // The last line may be cut short.
        for line in output.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).dropLast() {
            let words = line.split(separator: UInt8(ascii: " ")).compactMap { Int(String(decoding: $0, as: UTF8.self)) }
            guard words.count == 2, words[0] < KillPlan.writers, words[1] == acknowledged[words[0]] else {
                throw Broken("the child printed nonsense: \(String(decoding: line, as: UTF8.self))")
            }
            acknowledged[words[0]] += 1
        }
        return acknowledged
    }

    private func check(_ store: inout Store, _ acknowledged: [Int]) throws {
        let engine = try Engine.open(at: store.path, store.plan.options())
        for writer in 0..<KillPlan.writers {
            while store.next[writer] < acknowledged[writer] { advance(&store, writer) }
            let page = try engine.page(prefix: KillPlan.prefix(writer), limit: 1 << 20)
            let back = try engine.page(prefix: KillPlan.prefix(writer), limit: 1 << 20, reverse: true)
            guard page.entries.map(\.key) == back.entries.reversed().map(\.key) else {
                throw Broken("a reverse scan finds other keys than a forward one")
            }
            let found = Dictionary(
                uniqueKeysWithValues: page.entries.map { ($0.key, HeldEntry(value: $0.value.bytes)) })
            if found == store.states[writer] { continue }
            // The batch in flight may be there, whole.
            advance(&store, writer)
            guard found == store.states[writer] else {
                throw Broken(
                    "writer \(writer) had acknowledged \(acknowledged[writer]) batches, but the store shows neither "
                        + "that state nor the next (store seed \(store.plan.seed))")
            }
        }
        if let damage = try engine.verify().damage.first { throw Broken("the store is damaged: \(damage)") }
        try engine.close()
    }

    private func advance(_ store: inout Store, _ writer: Int) {
        for operation in store.plan.batch(writer, store.next[writer]).operations {
            StoreHistory.apply(operation, to: &store.states[writer])
        }
        store.next[writer] += 1
    }
}
