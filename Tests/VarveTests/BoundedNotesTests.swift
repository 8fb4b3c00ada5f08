import Synchronization
import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// What notes for a warm restart may take on disk, and what of them goes.
struct BoundedNotesTests {
    private func afterKill(_ rig: CacheRig) -> CacheRig { CacheRig(files: rig.files.killProcess(), clock: rig.clock) }

    private func store(_ rig: CacheRig) async throws -> CacheStore {
        try await rig.store { options in
            options.diskBudgetBytes = 16 << 20
            options.stallLimit = .seconds(2)
        }
    }

    /// The records of all notes: names, and bytes with them.
    private func notes(_ engine: Engine) throws -> [(name: [UInt8], bytes: Int)] {
        let iterator = try engine.makeIterator(in: .marks, prefix: Array("warm/".utf8))
        var found: [(name: [UInt8], bytes: Int)] = []
        try iterator.seekToFirst()
        while iterator.isValid {
            found.append((iterator.key, iterator.key.count + iterator.value.count))
            try iterator.next()
        }
        return found
    }

    private func longKey(_ number: Int) -> String { "\(number) " + String(repeating: "k", count: 2000) }

    /// Entries of long keys in memory alone, as of loads that the disk did not take.
    private func publish(_ cache: Cache<String, Int>, _ numbers: Range<Int>) {
        for number in numbers {
            let key = longKey(number)
            let hash = cache.memory.hash(key)
            let entry = cache.makeEntry(
                key, hash, number, version: 1, cost: 0, deadlines: .never, idle: .none, tags: [], sourceVersion: 0,
                traits: [])
            cache.memory.change(hash) { _ = $0.publish(entry, .load, &$1) }
        }
    }

    /// What a cache's notes take where there is more to note than room: no more than its part of the store's bound, and more
    /// than half of what each of its shards may have at a place.
    private func expectPart(_ cache: Cache<String, Int>, of caches: Int, _ what: String) throws {
        let engine = try #require(cache.store.engine)
        let own = try #require(cache.disk).namespace.keyPrefix
        let bytes = try notes(engine).filter { Array($0.name.dropFirst(5).prefix(4)) == own }.reduce(0) {
            $0 + $1.bytes
        }
        let part = (16 << 20) / NoteRoom.part / caches
        #expect(bytes <= part && bytes > part / 4, "\(what): \(bytes) of \(part)")
    }

    @Test("Notes of a large memory over a small disk keep to their share; user data stays and is taken")
    func smallDisk() async throws {
        let rig = CacheRig()
        let store = try await store(rig)
        let data: Cache<Int, String> = try await store.cache(named: "data", CacheOptions(memory: .entries(10)))
        let value = String(repeating: "v", count: 4000)
        for number in 0..<300 { try await data.set(value, for: number) }
        let large: Cache<String, Int> = try await store.cache(named: "large", CacheOptions(memory: .entries(20_000)))
        for round in 0..<3 {
            publish(large, round * 2000..<(round + 2) * 2000)
            large.noteAll()
            // Nothing is noted of the other cache yet.
            try expectPart(large, of: 1, "round \(round)")
        }
        let noted = try #require(large.statistics.warmUp)
        #expect(noted.notesFailed == 0 && noted.keysUnnoted > 1000)
        // Another cache's notes come to lie beside them.
        let second: Cache<String, Int> = try await store.cache(named: "second", CacheOptions(memory: .entries(20_000)))
        for round in 0..<3 {
            publish(second, round * 2000..<(round + 2) * 2000)
            second.noteAll()
            // Of this nothing happened: what it may take has changed.
            large.noteAll()
            if round == 0 { continue }
            try expectPart(second, of: 2, "round \(round)")
            try expectPart(large, of: 2, "round \(round)")
        }
        for number in 300..<600 { try await data.set(value, for: number) }
        for number in 0..<600 { #expect(try await data.value(for: number) == value, "\(number)") }
        // What was hottest as far as there is room.
        let again: Cache<String, Int> = try await self.store(afterKill(rig)).cache(
            named: "large", CacheOptions(memory: .entries(20_000)))
        let statistics = try #require(again.statistics.warmUp)
        let left = try #require(large.statistics.warmUp)
        #expect(statistics.keysNoted > 100 && statistics.keysNoted < 2000, "\(statistics)")
        #expect(statistics.policiesRestored + left.policiesUnnoted == again.memory.shardCount)
        #expect(statistics.notesDamaged == 0)
        try await again.store.close()
        try await store.close()
    }

    @Test("A cache that has no notes takes nothing of the others' share, whatever its name was opened for")
    func divided() async throws {
        let rig = CacheRig()
        let store = try await store(rig)
        var cold = CacheOptions(memory: .entries(100))
        cold.warmRestart = nil
        for number in 0..<15 {
            let cache: Cache<String, Int> = try await store.cache(named: "cold \(number)", cold)
            try await cache.close()
        }
        let large: Cache<String, Int> = try await store.cache(named: "large", CacheOptions(memory: .entries(20_000)))
        publish(large, 0..<2000)
        large.noteAll()
        try expectPart(large, of: 1, "alone")
        try await store.close()
    }

    /// Writes until nothing more is taken, not even the smallest record, until faults are cleared and the store is flushed.
    private func fillLog(_ rig: CacheRig, _ engine: Engine) async {
        rig.files.fail(28, sticky: true) { [.create, .allocate].contains($0.operation) }
        for size in [10_000, 100, 1] {
            var refused: VarveError.Code?
            let value = [UInt8](repeating: 1, count: size)
            while refused == nil { refused = await code { try await engine.put([0], value, durability: .interval) } }
            #expect(refused == .diskFull || refused == .stalled)
        }
    }

    @Test("What could not be removed and has been written over since stays")
    func writtenOver() async throws {
        func open(_ rig: CacheRig) async throws -> Cache<String, Int> {
            let store = try await rig.store { $0.stallLimit = .milliseconds(100) }
            return try await store.cache(named: "c", CacheOptions(memory: .entries(100)))
        }
        let rig = CacheRig()
        let first = try await open(rig)
        for number in 0..<2 {
            publish(first, number * 10..<number * 10 + 10)
            first.noteAll()
        }
        let killed = afterKill(rig)
        let second = try await open(killed)
        let warm = try #require(second.warm)
        await second.ready()
        #expect(second.memory.shardCount == 1)
        publish(second, 20..<30)
        let engine = try #require(second.store.engine)
        await fillLog(killed, engine)
        second.lookAtRoom(warm)
        for part in WarmPart.allCases { second.gather(part, 0, warm) }
        #expect(warm.state.withLock { !$0.stale.isEmpty })
        killed.files.clearFaults()
        // The first ones may tell of what failed before.
        for _ in 0..<20 { if await code({ try await engine.flush() }) == nil { break } }
        for part in WarmPart.allCases { _ = second.writePending(part, 0, warm, atMost: .max) }
        #expect(second.statistics.warmUp?.notesFailed == 0)
        // The next round tries again what failed.
        second.lookAtRoom(warm)
        #expect(warm.state.withLock { $0.stale.isEmpty })
        let third = try await open(afterKill(killed))
        let found = try #require(third.warm).notes.read()
        #expect(found.states.filter { $0.state.kind != .ratio }.map(\.number) == [3, 3])
        #expect(Set(found.keys) == Set((20..<30).map { Array(longKey($0).utf8) }))
        for cache in [first, second, third] { try await cache.store.close() }
    }

    @Test("A cache that is opened without a warm restart leaves no notes, and other caches' stay")
    func switchedOff() async throws {
        let rig = CacheRig()
        let first = try await store(rig)
        for name in ["one", "two"] {
            let cache: Cache<String, Int> = try await first.cache(named: name, CacheOptions(memory: .entries(100)))
            for number in 0..<50 { try await cache.set(number, for: "\(number)") }
            try await cache.close()
        }
        try await first.close()
        let second = try await store(rig)
        let engine = try #require(second.engine)
        let before = try notes(engine).map(\.name)
        var options = CacheOptions(memory: .entries(100))
        options.warmRestart = nil
        let cold: Cache<String, Int> = try await second.cache(named: "one", options)
        let own = try #require(cold.disk).namespace.keyPrefix
        let others = before.filter { Array($0.dropFirst(5).prefix(4)) != own }
        #expect(!others.isEmpty && others.count < before.count)
        #expect(try notes(engine).map(\.name) == others)
        try await second.close()
        let third = try await store(rig)
        let warm: Cache<String, Int> = try await third.cache(named: "one", CacheOptions(memory: .entries(100)))
        #expect(warm.statistics.warmUp?.keysNoted == 0)
        try await third.close()
    }

    @Test("Of a larger state nothing stays once a smaller one is complete in its place")
    func fewerPieces() async throws {
        let rig = CacheRig()
        let cache: Cache<String, Int> = try await rig.store().cache(named: "c", CacheOptions(memory: .entries(900)))
        #expect(cache.memory.shardCount == 1)
        let engine = try #require(cache.store.engine)
        // Two pieces, at both places.
        publish(cache, 0..<800)
        cache.noteAll()
        publish(cache, 800..<850)
        cache.noteAll()
        #expect(try notes(engine).filter { $0.name.last == 1 }.count == 2)
        for number in 0..<850 { try await cache.remove(longKey(number)) }
        for number in 0..<2 {
            publish(cache, number..<number + 9)
            cache.noteAll()
        }
        let names = try notes(engine).map(\.name)
        // The last byte is the piece's.
        #expect(names.allSatisfy { $0.last == 0 }, "\(names.count)")
        let again: Cache<String, Int> = try await afterKill(rig).store().cache(
            named: "c", CacheOptions(memory: .entries(900)))
        let statistics = try #require(again.statistics.warmUp)
        #expect(statistics.keysNoted == 10 && statistics.notesDamaged == 0)
        try await again.store.close()
        try await cache.store.close()
    }

    @Test("Whatever a shard's states are, after each round they keep to its share", arguments: 0..<8 as Range<UInt64>)
    func room(_ seed: UInt64) throws {
        var random = SplitMix(seed)
        var room = NoteRoom()
        let share = Int.random(in: 200_000...1_500_000, using: &random)
        room.share = share
        var disk: [NoteRoom.Place: [Int]] = [:]
        func remove(_ pieces: [NoteRoom.Piece]) {
            for piece in pieces {
                #expect(disk[piece.place]?.count == Int(piece.index) + 1, "seed \(seed)")
                disk[piece.place]?.removeLast()
                room.remove(piece)
            }
        }
        func write(_ state: WarmState, _ number: UInt64) {
            let place = NoteRoom.Place(state.subject, number: number)
            for note in state.notes(number: number, atMost: WarmUp.noteBytes) {
                let index = Int(note.piece.index)
                let rest = disk[place, default: []].dropFirst(index + 1)
                let bytes = note.body.count + NoteRoom.recordBytes
                disk[place, default: []].replaceSubrange(index..., with: [bytes] + rest)
                room.take(note)
                if note.piece.isLast { remove(room.surplus(after: note)) }
            }
        }
        for number in 1...12 as ClosedRange<UInt64> {
            func body(_ count: Int) -> [UInt8] { [UInt8](repeating: UInt8(number), count: count) }
            let policy = WarmState(kind: .policy, body: body(Int.random(in: 0...share, using: &random)))
            let fits = room.fits(policy: policy.body.count)
            if !fits { remove(room.pieces(of: policy.subject)) }
            let wanted = Int.random(in: 0...2 * share, using: &random)
            let keys = min(wanted, room.listBytes(besidePolicy: policy.body.count))
            write(WarmState(kind: .keys, body: body(keys)), number)
            if fits { write(policy, number) }
            #expect(disk.values.joined().reduce(0, +) <= 2 * share, "seed \(seed), round \(number)")
            // No more is left out than a record's bytes.
            let pieces = [keys] + (fits ? [policy.body.count] : [])
            let taken = pieces.reduce(0) { $0 + $1 + NoteRoom.recordBytes * ($1 / WarmUp.noteBytes + 1) }
            #expect(taken <= share, "seed \(seed), round \(number)")
            #expect(keys == wanted || taken >= share - NoteRoom.recordBytes, "seed \(seed), round \(number)")
            #expect(fits == (policy.body.count <= share / 2 - NoteRoom.recordBytes), "seed \(seed), round \(number)")
        }
        // A lower share: what was larger does not stay beside what is written.
        room.share = share / 4
        for number in 13...14 as ClosedRange<UInt64> {
            remove(room.pieces(of: WarmState.Subject(kind: .policy, shard: 0)))
            write(
                WarmState(kind: .keys, body: [UInt8](repeating: 1, count: room.listBytes(besidePolicy: share))), number)
            #expect(disk.values.joined().reduce(0, +) <= share / 2, "seed \(seed), round \(number)")
        }
    }

    @Test("The share is an eighth of the quota and of the store's bound, divided among its caches")
    func share() {
        let mega = 1 << 20
        #expect(NoteRoom.share(disk: nil, caches: 1, quota: nil, shards: 4) == nil)
        #expect(NoteRoom.share(disk: UInt64(64 * mega), caches: 2, quota: nil, shards: 4) == (4 * mega - 1024) / 8)
        #expect(
            NoteRoom.share(disk: UInt64(64 * mega), caches: 2, quota: UInt64(mega), shards: 1) == (128 << 10) / 2 - 512)
        #expect(NoteRoom.share(disk: 1, caches: 0, quota: nil, shards: 16) == 0)
        #expect(NoteRoom.share(disk: .max, caches: 1, quota: nil, shards: 1) ?? 0 > mega)
    }

    @Test("Of a policy at which nobody has looked yet a list of keys leaves half of the share")
    func unknownPolicy() {
        var room = NoteRoom()
        #expect(room.listBytes(besidePolicy: nil) == WarmUp.listBytes)
        room.share = 1 << 20
        #expect(room.listBytes(besidePolicy: nil) == 512 << 10 - NoteRoom.recordBytes)
        #expect(room.listBytes(besidePolicy: nil) == room.listBytes(besidePolicy: 512 << 10 - NoteRoom.recordBytes))
        #expect(room.listBytes(besidePolicy: 0) == 1 << 20 - 2 * NoteRoom.recordBytes)
        // What does not fit takes nothing.
        #expect(room.listBytes(besidePolicy: 1 << 20) == 1 << 20 - 2 * NoteRoom.recordBytes)
    }

    @Test("A round of frequencies is followed by nine times as long without any, one of keys by as long as it took")
    func pace() {
        let second: Int64 = 1_000_000_000
        func rounds(_ part: WarmPart, pieces: Int, until end: Int64) -> [Int64] {
            let states = (0..<pieces).map { number in
                (WarmState(kind: .policy, body: [UInt8](repeating: UInt8(number), count: WarmUp.noteBytes)), UInt64(1))
            }
            var round = WarmRound(part)
            var begins: [Int64] = []
            while round.next < end {
                let now = round.next
                guard round.turn(at: now, shards: 1) == 0 else { break }
                if round.pending.isEmpty {
                    begins.append(now / second)
                    round.pending = PendingNotes(states.map { ($0.0, number: $0.1) }, activity: nil)
                }
                let bytes = round.pending.next()?.body.count ?? 0
                round.end(0, bytes: bytes, at: now, shards: 1, interval: 10 * second)
            }
            return begins
        }
        // 35 MiB at half a mebibyte a second: 70 s, and 630 s of rest.
        #expect(rounds(.frequencies, pieces: 35, until: 1500 * second) == [0, 700, 1400])
        #expect(rounds(.frequencies, pieces: 1, until: 50 * second) == [0, 20, 40])
        #expect(rounds(.keys, pieces: 35, until: 300 * second) == [0, 140, 280])
        #expect(rounds(.keys, pieces: 5, until: 50 * second) == [0, 20, 40])
        for part in WarmPart.allCases { #expect(rounds(part, pieces: 0, until: 25 * second) == [0, 10, 20]) }
    }

    @Test(
        "Whatever rounds write, they keep to the rate and the rest of their part",
        arguments: 1...8 as ClosedRange<UInt64>)
    func rates(seed: UInt64) {
        var random = SplitMix(course: seed)
        let second: Int64 = 1_000_000_000
        for part in WarmPart.allCases {
            let shards = Int.random(in: 1...16, using: &random)
            let largest = Int.random(in: 1...4 * WarmUp.noteBytes, using: &random)
            var round = WarmRound(part)
            var written: Int64 = 0
            for _ in 0..<500 {
                let now = round.next
                // By the beginning of another round all that was written had its time, and its rest.
                let times: Int64 = part == .keys ? 2 : 10
                let needed = Double(written) * Double(times) / Double(512 << 10) * 1e9
                if round.shard == nil { #expect(Double(now) >= needed - 1e6, "seed \(seed), \(part)") }
                guard let shard = round.turn(at: now, shards: shards) else {
                    Issue.record("seed \(seed), \(part): no turn")
                    return
                }
                if round.pending.isEmpty {
                    let body = [UInt8](repeating: 0, count: Int.random(in: 0...largest, using: &random))
                    round.pending = PendingNotes([(WarmState(kind: .policy, body: body), 1)], activity: nil)
                }
                let bytes = Int64(round.pending.next()?.body.count ?? 0)
                written += bytes
                round.end(shard, bytes: Int(bytes), at: now, shards: shards, interval: 10 * second)
                #expect(round.next - now >= bytes * second / (512 << 10), "seed \(seed), \(part)")
            }
            #expect(written > 0, "seed \(seed), \(part)")
        }
    }
}
