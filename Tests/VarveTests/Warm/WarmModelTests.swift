import Synchronization
import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// What the article on restarting warm promises, held against a model of what was noted last: two caches of one store are
/// written and read, noted whole and in part, killed and closed, opened with a warm restart, with another limit, and without.
struct WarmModelTests {
    @Test("Small caches", arguments: 1...12 as ClosedRange<UInt64>)
    func small(seed: UInt64) async throws {
        var run = try await WarmRun(seed: seed, entries: 40, keyBytes: 8)
        try await run.run(steps: 50)
    }

    @Test("Caches whose notes are written in pieces", arguments: 1...4 as ClosedRange<UInt64>)
    func pieces(seed: UInt64) async throws {
        var run = try await WarmRun(seed: seed, entries: 150, keyBytes: 9000)
        try await run.run(steps: 14)
    }
}

/// Reads on the store's own thread wait here while it is shut: the warm-up's do.
private final class WarmGate: Sendable {
    private let state = Monitor((isOpen: true, isReached: false))

    func shut() { state.withLock { $0 = (false, false) } }
    func open() {
        state.withLock { $0.isOpen = true }
        state.notifyAll()
    }
    var isReached: Bool { state.withLock { $0.isReached } }

    func pass() {
        guard IOThread.isOnOne else { return }
        state.withLock { $0.isReached = true }
        state.wait { $0.isOpen ? () : nil }
    }
}

private struct WarmRun {
    /// One cache of the store, and what is known of it.
    private struct Side {
        let name: String
        var cache: Cache<String, Int>
        /// What its disk has; more keys than its memory has room for.
        var values: [String: Int] = [:]
        /// The tag that an entry was written with.
        var tagged: [String: String] = [:]
        /// The keys of the last note that was complete.
        var noted: Set<String> = []
        /// The number of that note.
        var number: UInt64 = 0
        /// Whether it was opened with a warm restart.
        var isWarm = true
        var limit: Int
    }

    private let seed: UInt64
    private let entries: Int
    private let keyBytes: Int
    private var random: SplitMix
    private var rig = CacheRig()
    private var store: CacheStore
    private var sides: [Side] = []
    private let gate = WarmGate()
    private var lastValue = 0
    private var place = ""

    init(seed: UInt64, entries: Int, keyBytes: Int) async throws {
        (self.seed, self.entries, self.keyBytes) = (seed, entries, keyBytes)
        random = SplitMix(course: seed)
        store = try await rig.store()
        for name in ["one", "two"] {
            let cache = try await open(name, limit: entries, isWarm: true)
            sides.append(Side(name: name, cache: cache, limit: entries))
        }
        for side in sides.indices {
            for number in 0..<2 * entries { try await set(side, key(number)) }
        }
    }

    private func open(_ name: String, limit: Int, isWarm: Bool) async throws -> Cache<String, Int> {
        let kinds = EvictionPolicyKind.allCases
        var options = CacheOptions(memory: .entries(limit), policy: kinds[Int(seed) % kinds.count])
        // The clock stands still, so nothing is noted but what is asked for.
        options.warmRestart = isWarm ? WarmRestart(time: .seconds(3600)) : nil
        let gate = gate
        let coding = ValueCoding<Int>(
            encode: { $0.cacheBytes() },
            decode: { bytes in
                gate.pass()
                return try Int(cacheBytes: bytes)
            }, cost: { _ in 8 })
        return try await store.cache(named: name, coding: coding, options, ownsStore: false)
    }

    private mutating func draw(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }
    private func key(_ number: Int) -> String { "\(number) " + String(repeating: "k", count: keyBytes) }
    /// Half of the reads go to a tenth of the keys.
    private mutating func anyKey() -> String { key(draw(2) == 0 ? draw(entries / 5) : draw(2 * entries)) }

    mutating func run(steps: Int) async throws {
        for step in 0..<steps {
            let side = draw(2)
            place = "seed \(seed), step \(step), \(sides[side].name)"
            switch draw(20) {
            case ..<12: try await use(side)
            case ..<15: note(side)
            case ..<17: noteInPart(side)
            default: try await beginAnew()
            }
        }
        try await store.close()
    }

    // MARK: Traffic

    private mutating func set(_ side: Int, _ key: String) async throws {
        lastValue += 1
        let tags = draw(4) == 0 ? ["t\(draw(5))"] : []
        try await sides[side].cache.set(lastValue, for: key, EntryOptions(tags: tags))
        sides[side].values[key] = lastValue
        sides[side].tagged[key] = tags.first
    }

    private mutating func use(_ side: Int) async throws {
        for _ in 0..<entries / 2 {
            let key = anyKey()
            switch draw(12) {
            case 0: try await set(side, key)
            case 1:
                try await sides[side].cache.remove(key)
                sides[side].values[key] = nil
            default: try await read(side, key)
            }
        }
        if draw(4) > 0 { return }
        let tag = "t\(draw(5))"
        try await sides[side].cache.remove(taggedWith: tag)
        for (key, own) in sides[side].tagged where own == tag { sides[side].values[key] = nil }
        // What carries it leaves memory by itself: not between a look at memory and its note.
        await store.maintained()
    }

    private func read(_ side: Int, _ key: String) async throws {
        let found = try await sides[side].cache.value(for: key)
        #expect(found == sides[side].values[key], "\(place): \(key.prefix(6))")
    }

    private func held(_ cache: Cache<String, Int>) -> Set<String> {
        cache.memory.withShard(at: 0) { shard in
            var keys: Set<String> = []
            shard.forEach { keys.insert($0.key) }
            return keys
        }
    }

    // MARK: Notes

    private mutating func note(_ side: Int) {
        let keys = held(sides[side].cache)
        sides[side].cache.noteAll()
        takeUpNote(side, keys)
        guard sides[side].isWarm else { return }
        #expect(sides[side].noted == keys, "\(place): what was noted")
    }

    /// A process that dies may leave some pieces of a note.
    private mutating func noteInPart(_ side: Int) {
        let cache = sides[side].cache
        guard let warm = cache.warm else { return }
        let keys = held(cache)
        for part in WarmPart.allCases where draw(3) > 0 {
            cache.gather(part, 0, warm)
            // The hit ratio, a piece with it, or all of them.
            _ = cache.writePending(part, 0, warm, atMost: [1, 200, 1_100_000][draw(3)])
        }
        takeUpNote(side, keys)
    }

    /// The keys that memory had count once the last piece of them is on disk.
    private mutating func takeUpNote(_ side: Int, _ keys: Set<String>) {
        let subject = WarmState.Subject(kind: .keys, shard: 0)
        guard let warm = sides[side].cache.warm,
            let written = warm.state.withLock({ $0.written[subject] }), written.number != sides[side].number
        else { return }
        (sides[side].number, sides[side].noted) = (written.number, keys)
    }

    // MARK: Ends and beginnings

    private mutating func beginAnew() async throws {
        if draw(2) == 0 {
            for side in sides.indices { note(side) }
            try await store.close()
        } else {
            for side in sides.indices where draw(2) == 0 { noteInPart(side) }
            // Whatever the process does after that is lost with it.
            let files = rig.files.killProcess()
            try await store.close()
            rig.files = files
        }
        store = try await rig.store()
        for side in sides.indices {
            let wasWarm = sides[side].isWarm
            sides[side].isWarm = draw(4) > 0
            sides[side].limit = [entries, entries, entries / 2, 2 * entries][draw(4)]
            // What is there was noted while there was one.
            if !wasWarm { #expect(sides[side].noted.isEmpty, "\(place)") }
            try await reopen(side)
        }
    }

    private mutating func reopen(_ side: Int) async throws {
        let place = "\(place), \(sides[side].name) anew"
        let (isWarm, noted) = (sides[side].isWarm, sides[side].noted)
        let coming = noted.filter { sides[side].values[$0] != nil }
        gate.shut()
        defer { gate.open() }
        let cache = try await open(sides[side].name, limit: sides[side].limit, isWarm: isWarm)
        sides[side].cache = cache
        guard isWarm else {
            gate.open()
            (sides[side].noted, sides[side].number) = ([], 0)
            #expect(try names(cache).isEmpty, "\(place): notes that nobody wants")
            #expect(await cache.ready(share: 2) == .done)
            #expect(held(cache).isEmpty, "\(place): what no note told of")
            return
        }
        #expect(cache.statistics.warmUp?.keysNoted == noted.count, "\(place): another note than the last one")
        // The warm-up stands still, and nobody waits for it.
        if !coming.isEmpty {
            while !gate.isReached, cache.statistics.warmUp?.isDone == false { await Task.yield() }
            #expect(gate.isReached, "\(place): the warm-up read nothing")
        }
        var wanted: Set<String> = []
        for _ in 0..<draw(10) {
            let key = anyKey()
            try await read(side, key)
            if sides[side].values[key] != nil { wanted.insert(key) }
        }
        if draw(2) == 0 {
            let key = anyKey()
            try await set(side, key)
            wanted.insert(key)
        }
        #expect(held(cache) == wanted, "\(place): memory before the warm-up")
        gate.open()
        #expect(await cache.ready(share: 2, atMost: .seconds(3600)) == .done)
        let statistics = try #require(cache.statistics.warmUp)
        #expect(cache.statistics.evictions == 0, "\(place): the warm-up evicted something")
        let now = held(cache)
        #expect(now.isSuperset(of: wanted) && now.isSubset(of: coming.union(wanted)), "\(place)")
        #expect(now.count == min(sides[side].limit, coming.union(wanted).count), "\(place): \(statistics)")
        for key in now { #expect(cache.valueInMemory(for: key) == sides[side].values[key], "\(place)") }
        let subject = WarmState.Subject(kind: .keys, shard: 0)
        sides[side].number = cache.warm?.state.withLock { $0.written[subject]?.number } ?? 0
    }

    /// Under which notes of a cache lie.
    private func names(_ cache: Cache<String, Int>) throws -> [[UInt8]] {
        guard let disk = cache.disk else { return [] }
        return try WarmNotes(engines: disk.engines, namespace: disk.namespace).names()
    }
}
