import Testing
import VarveEngine
import VarveIO
import VarvePolicy
import VarveTestSupport

@testable import Varve

/// Notes of shards so large that what they know takes several records.
struct LargeNotesTests {
    private static let entries = 16 * 34_000

    private func open(_ rig: CacheRig) async throws -> Cache<Int, UInt32> {
        try await rig.store().cache(named: "c", CacheOptions(memory: .entries(LargeNotesTests.entries)))
    }

    /// Fills one shard of sixteen, so that its ghosts are many, as loads do whose results memory alone keeps; returns its
    /// keys.
    @discardableResult
    private func fill(_ cache: Cache<Int, UInt32>, from first: Int = 0, _ count: Int) -> [Int] {
        let own = (0...).lazy.filter { (key: Int) -> Bool in shard(of: key, cache) == 0 }
        let keys = Array(own.prefix(first + count).dropFirst(first))
        for key in keys {
            let hash = cache.memory.hash(key)
            let entry = cache.makeEntry(
                key, hash, 7, version: 1, cost: 0, deadlines: .never, idle: .none, tags: [], sourceVersion: 0,
                traits: [])
            cache.memory.change(hash) { _ = $0.publish(entry, .load, &$1) }
        }
        return keys
    }

    private func shard(of key: Int, _ cache: Cache<Int, UInt32>) -> Int {
        Int(truncatingIfNeeded: cache.memory.hash(key) >> 48) & (cache.memory.shardCount - 1)
    }

    @Test("After a kill the policy knows the frequencies of a shard of more than 33,000 entries")
    func largeShard() async throws {
        let rig = CacheRig()
        let cache = try await open(rig)
        #expect(cache.memory.shardCount == 16)
        let keys = fill(cache, 33_000)
        cache.noteAll()
        let again = try await open(CacheRig(files: rig.files.killProcess(), clock: rig.clock))
        #expect(again.statistics.warmUp?.policiesRestored == 16)
        #expect(again.statistics.warmUp?.notesDamaged == 0)
        let known = keys.filter { key in
            let hash = again.memory.hash(key)
            return again.memory.withShard(hash) { $0.policy.frequency(hash: hash) > 0 || $0.peek(key, hash) != nil }
        }
        #expect(known.count > keys.count * 9 / 10)
        try await again.store.close()
        try await cache.store.close()
    }

    @Test("Notes of a large shard keep their pace, and a kill between two pieces leaves the state before")
    func killedBetween() async throws {
        let rig = CacheRig()
        let cache = try await open(rig)
        let keys = fill(cache, 33_000)
        func piecesWritten() -> UInt64 { cache.statistics.warmUp?.notesWritten ?? 0 }
        cache.noteAll()
        // Something happened: all is due again, and its pieces are written one after the other.
        for key in keys.prefix(1000) { #expect(cache.valueInMemory(for: key) == 7) }
        fill(cache, from: keys.count, 100)
        let before = piecesWritten()
        rig.clock.advance(by: .seconds(11))
        while piecesWritten() == before { try await Task.sleep(for: .milliseconds(2)) }
        let killed = rig.files.killProcess()
        // A piece, and the little that was before it; the next one is not due yet.
        #expect(piecesWritten() - before <= 3)
        let again = try await open(CacheRig(files: killed, clock: rig.clock))
        #expect(again.statistics.warmUp?.policiesRestored == 16)
        #expect(again.statistics.warmUp?.notesDamaged == 0)
        try await again.store.close()
        try await cache.store.close()
    }

    @Test("A long list of keys comes back whole, in its order")
    func longList() throws {
        let keys = (0..<1200).map { number in (0..<1000).map { UInt8(truncatingIfNeeded: number &* $0) } }
        let body = WarmState.list(keys, atMost: WarmUp.listBytes)
        let notes = WarmState(kind: .keys, body: body.body).notes(number: 1, atMost: WarmUp.noteBytes)
        #expect(notes.count == 2)
        var states = WarmStates()
        for note in notes.reversed() { states.take(note) }
        #expect(states.latest().first?.state.keys == keys)
    }

    @Test(
        "A state with a piece missing, damaged or of another state does not count, and the one before it does",
        arguments: 0..<200 as Range<UInt64>)
    func pieces(_ seed: UInt64) throws {
        var random = SplitMix(seed)
        func state() -> WarmState {
            // Most bytes are the same in both, as in what follows one another.
            var body = [UInt8](repeating: 7, count: Int.random(in: 200...500, using: &random))
            body[Int.random(in: 0..<body.count, using: &random)] = UInt8.random(in: 8...255, using: &random)
            return WarmState(kind: .policy, shard: 2, of: 4, body: body)
        }
        let (old, new) = (state(), state())
        let number = UInt64.random(in: 1...1000, using: &random)
        // Numbers of an attempt that was given up are used again.
        let abandoned = state().notes(number: number + 1, atMost: 50)
        var notes = new.notes(number: number + 1, atMost: 50)
        func found(_ later: [WarmNote]) -> [WarmState] {
            var states = WarmStates()
            for note in (old.notes(number: number, atMost: 50) + later).shuffled(using: &random) { states.take(note) }
            return states.latest().map(\.state)
        }
        #expect(found(notes) == [new], "seed \(seed)")
        let index = Int.random(in: 0..<notes.count, using: &random)
        switch Int.random(in: 0..<3, using: &random) {
        case 0: notes.remove(at: index)
        case 1:
            let place = Int.random(in: 0..<notes[index].body.count, using: &random)
            notes[index].body[place] ^= UInt8.random(in: 1...255, using: &random)
        default:
            guard index < abandoned.count else { return }
            notes[index] = abandoned[index]
        }
        let whole = notes == new.notes(number: number + 1, atMost: 50) ? new : old
        #expect(found(notes) == [whole], "seed \(seed)")
    }
}
