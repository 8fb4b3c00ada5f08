import Testing
import VarveTestSupport

@testable import VarveEngine

/// Room: asked for, promised, used up, and reported.
@Suite struct MemtableCapacityTests {
    @Test(arguments: [KeyShape.decimal, .ascending, .nested, .hot, .random])
    func aFullMemtableRefusesAndKeepsWhatItHas(_ shape: KeyShape) throws {
        var random = SplitMix(5)
        let model = try ModelledMemtable(capacity: 2 << 20)
        var count = 0
        while model.insert(shape.key(count, &random), [UInt8](repeating: 3, count: 300)) { count += 1 }
        #expect(count > 1000)
        #expect(model.memtable.approximateBytes <= model.memtable.capacity)
        #expect(!model.insert([1], [UInt8](repeating: 1, count: 1 << 20)))
        #expect(model.memtable.entryCount == count)
        model.settle()
        #expect(firstDifference(model.memtable.makeCursor().forward(), model.records) == nil)
    }

    @Test(arguments: KeyShape.allCases)
    func whatHasRoomSaysFits(_ shape: KeyShape) throws {
        for seed in UInt64(1)...3 {
            var random = SplitMix(seed)
            let batch = (0..<2000).map { index in
                (shape.key(index, &random), [UInt8](repeating: 1, count: Int(random.next() % 200)))
            }
            let bytes = batch.reduce(0) { $0 + $1.0.count + $1.1.count }
            let model = try ModelledMemtable(
                capacity: Memtable.worstCaseBytes(records: batch.count, bytes: bytes))
            #expect(model.memtable.hasRoom(records: batch.count, bytes: bytes), "a fresh one takes its own bound")
            for (key, entry) in batch { #expect(model.insert(key, entry), "\(shape), seed \(seed)") }
        }
    }

    @Test func hasRoomIsHonestToTheEnd() throws {
        var random = SplitMix(9)
        let model = try ModelledMemtable(capacity: 8 << 20)
        while model.memtable.hasRoom(records: 50, bytes: 50 * 320) {
            for _ in 0..<50 {
                let shape = KeyShape.allCases[Int(random.next() % UInt64(KeyShape.allCases.count))]
                let key = Array(shape.key(Int(random.next() % 100_000), &random).prefix(200))
                #expect(model.insert(key, [UInt8](repeating: 1, count: 120)))
            }
        }
        #expect(model.memtable.entryCount > 3000)
    }

    @Test func bytesGrowWithWhatIsPutIn() throws {
        let model = try ModelledMemtable()
        let before = model.memtable.approximateBytes
        for index in 0..<10_000 { model.insert(KeyShape.decimal.padded(index), [UInt8](repeating: 1, count: 100)) }
        let grown = model.memtable.approximateBytes - before
        #expect(grown >= 10_000 * 120, "less than was put in")
        #expect(grown <= 10_000 * 260, "more than twice of it: \(grown)")
    }

    @Test func largeKeysAndEntriesAreKeptWhole() throws {
        let model = try ModelledMemtable(capacity: 160 << 20)
        let longest = [UInt8](repeating: 0xEE, count: Limits.fullKeyBytes)
        model.insert(longest, [UInt8](repeating: 5, count: 64 << 20))
        model.insert(Array(longest.dropLast()), [])
        model.insert(longest, [UInt8](repeating: 6, count: 64 << 20))
        #expect(model.memtable.lookup(longest, at: LSN(1))?.entry.count == 64 << 20)
        #expect(model.memtable.lookup(longest, at: LSN(3))?.entry.last == 6)
        #expect(model.memtable.makeCursor().forward().map(\.trailer.lsn) == [LSN(2), LSN(3), LSN(1)])
        #expect(model.memtable.approximateBytes > 128 << 20)
    }

    @Test func anExpectedNumberOfKeysSavesTheSmallerTables() throws {
        let hinted = try ModelledMemtable(expectedKeys: 20_000)
        let grown = try ModelledMemtable()
        for index in 0..<20_000 {
            hinted.insert(KeyShape.decimal.padded(index), [1])
            grown.insert(KeyShape.decimal.padded(index), [1])
        }
        #expect(hinted.memtable.approximateBytes < grown.memtable.approximateBytes)
    }
}

extension KeyShape {
    fileprivate func padded(_ index: Int) -> [UInt8] { FullKey.make(.default, KeyShape.digits(index * 2)) }
}
