import Foundation
import Glibc
import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// Tasks that follow a store on a course that a seed draws: cancelled while they wait for the log, and while they think of
/// what they were told; the reads of entries beside them, while the log that they read stands still; and the store's end.
struct FeedEnds {
    /// What a task has of its feed.
    private struct Seen: Sendable {
        var told: [Told] = []
        /// It asks for no more before it is let go.
        var isThinking = false
        var isLetGo = false
        var end: VarveError.Code?
        var isOver = false
    }

    private struct Follower {
        let name: String
        let start: UInt64
        let seen: Watched<Seen>
        let task: Task<Void, Never>
    }

    private let seed: UInt64
    private var random: SplitMix
    private let files = SimulatedFileSystem()
    private var engine: Engine?
    /// Where the first of them begins.
    private let origin: ChangeCursor
    private var written: [Told] = []
    private var followers: [Follower] = []
    private var step = 0
    /// Which threads read the log, and which tables.
    private let readers = Watched<(log: Set<String>, tables: Set<String>)>((log: [], tables: []))
    private let log = Watched((isHeld: false, arrivals: 0))

    init(_ seed: UInt64) async throws {
        self.seed = seed
        random = SplitMix(course: seed)
        var options = Fixture.options(threads: true)
        options.blockCacheBytes = 0
        // What feeds have not read yet stays in the log.
        options.memtableBytes = 16 << 20
        let first = try Fixture.store(files, options)
        try Fixture.fill(first, 0..<400)
        try await first.flush()
        try await first.close()
        let store = try Fixture.store(files, options)
        (engine, origin) = (store, store.changeCursor)
        files.observe { [readers, log] call in
            guard [.open, .read].contains(call.operation) else { return }
            if call.path.hasSuffix(".sst") { readers.update { _ = $0.tables.insert(FeedEnds.threadName()) } }
            guard call.path.hasSuffix(".log") else { return }
            readers.update { _ = $0.log.insert(FeedEnds.threadName()) }
            log.update { $0.arrivals += 1 }
            log.wait { !$0.isHeld }
        }
    }

    private static func threadName() -> String {
        let name = try? String(contentsOfFile: "/proc/thread-self/comm", encoding: .utf8)
        return name?.trimmingCharacters(in: .newlines) ?? "unknown"
    }

    private var name: String { "seed \(seed), step \(step)" }
    private mutating func draw(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }

    mutating func run() async throws {
        for number in 1...50 {
            step = number
            switch draw(12) {
            case 0..<4: try await write()
            case 4..<7: try await follow()
            case 7: followers.randomElement(using: &random)?.seen.update { $0.isLetGo = true }
            case 8..<11 where !followers.isEmpty: await cancel()
            case 11: try await holdLog()
            default: break
            }
        }
        try await endStore()
        let readers = readers.current
        #expect(readers.log.allSatisfy { !$0.hasPrefix("varve-read") }, "seed \(seed): \(readers.log) read the log")
    }

    private mutating func write() async throws {
        let engine = try #require(engine)
        for _ in 0..<(draw(3) == 0 ? 50 : 1 + draw(3)) {
            var batch = WriteBatch()
            var changes: [(key: [UInt8], kind: Told.Kind)] = []
            for _ in 0...draw(4) {
                let key = bytes("written \(draw(100))")
                if draw(6) == 0 {
                    try batch.delete(key)
                    changes.append((key, .delete))
                } else {
                    let value = [UInt8](repeating: random.byte(), count: draw(3000))
                    try batch.put(key, value)
                    changes.append((key, .put(value)))
                }
            }
            let last = try await engine.write(batch, durability: draw(8) == 0 ? .synced : .interval).rawValue
            let first = last - UInt64(changes.count) + 1
            for (index, one) in changes.enumerated() {
                written.append(Told(first + UInt64(index), one.key, one.kind))
            }
        }
    }

    // MARK: Followers

    private mutating func follow(fromNow: Bool? = nil) async throws {
        let engine = try #require(engine)
        let fromNow = fromNow ?? (draw(2) == 0)
        let start = fromNow ? engine.changeCursor : origin
        let feed = try engine.changes(since: start)
        let thinksAfter = draw(3) == 0 ? 0 : 1 + draw(100)
        let seen = Watched(Seen())
        let task = Task {
            var count = 0
            do throws(VarveError) {
                for try await change in feed {
                    count += 1
                    seen.update { $0.told.append(Told(change)) }
                    guard count == thinksAfter else { continue }
                    seen.update { $0.isThinking = true }
                    await seen.reached { $0.isLetGo }
                    seen.update { $0.isThinking = false }
                }
            } catch {
                seen.update { $0.end = error.code }
            }
            seen.update { $0.isOver = true }
        }
        let name = "\(name), a feed from \(start.lsn)"
        followers.append(Follower(name: name, start: start.lsn.rawValue, seen: seen, task: task))
    }

    /// One that thinks has the rest of what was read ahead before it, and is told none of it.
    private mutating func cancel() async {
        func thinks(_ follower: Follower) -> Bool {
            let seen = follower.seen.current
            return seen.isThinking && !seen.isLetGo
        }
        // As many numbers are drawn whoever thinks just now, so that the course is the seed's.
        let (wantsOne, which, other) = (draw(2) == 0, draw(1000), draw(followers.count))
        let thinking = followers.indices.filter { thinks(followers[$0]) }
        let follower = followers.remove(at: wantsOne && !thinking.isEmpty ? thinking[which % thinking.count] : other)
        let isThinking = thinks(follower)
        follower.task.cancel()
        let told = follower.seen.current.told.count
        // One change may be in the hands of a task that runs.
        await expectEnd(of: follower, .cancelled, atMost: isThinking ? told : told + 1)
    }

    private func expectEnd(of follower: Follower, _ code: VarveError.Code, atMost: Int = .max) async {
        follower.seen.update { $0.isLetGo = true }
        while !follower.seen.current.isOver, !Task.isCancelled { await Task.yield() }
        let seen = follower.seen.current
        #expect(seen.end == code, "\(name), \(follower.name)")
        #expect(seen.told.count <= atMost, "\(name), \(follower.name): it tells more after it was cancelled")
        let isRight = seen.told.elementsEqual(written.drop { $0.lsn <= follower.start }.prefix(seen.told.count))
        #expect(isRight, "\(name), \(follower.name): it tells something else")
    }

    // MARK: Reads beside them

    /// More feeds than there are threads for them wait for the log; entries are read from tables meanwhile.
    private mutating func holdLog() async throws {
        try await readEntries()
        let tables = readers.current.tables
        #expect(tables.allSatisfy { !$0.hasPrefix("varve-feed") }, "\(name): \(tables) read tables")
        // They would wait for what is held below.
        if tables.contains(where: { $0.hasPrefix("varve-feed") }) { return }
        log.update { $0 = (isHeld: true, arrivals: 0) }
        defer { log.update { $0.isHeld = false } }
        for _ in 0..<3 { try await follow(fromNow: false) }
        await log.reached { $0.arrivals >= 2 }
        try await readEntries()
    }

    private mutating func readEntries() async throws {
        let engine = try #require(engine)
        files.dropCaches()
        for _ in 0..<4 {
            let number = draw(400)
            let found = try await engine.get(Fixture.key(number))
            #expect(found?.bytes == Fixture.value(number, 0), "\(name)")
        }
        #expect(!readers.current.tables.isEmpty, "\(name): no table was read")
    }

    // MARK: The end

    private mutating func endStore() async throws {
        step += 1
        switch draw(3) {
        case 0:
            try await engine?.close()
            await expectEnds(.closed)
        case 1:
            files.fail(EIO, sticky: true) { $0.operation == .sync && $0.path.contains(".log") }
            let engine = engine
            await #expect(throws: VarveError.self) { try await engine?.put([1], [], durability: .synced) }
            await expectEnds(.failedStop)
            try? await engine?.close()
        default:
            // No feed keeps it open.
            engine = nil
            await expectEnds(.closed)
        }
    }

    private func expectEnds(_ code: VarveError.Code) async {
        for follower in followers { await expectEnd(of: follower, code) }
    }
}
