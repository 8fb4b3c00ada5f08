import Testing
import VarveTestSupport

@testable import VarveEngine

/// Range deletes in a memtable against a plain list of them.
@Suite struct MemtableRangeTombstonesTests {
    @Test func coverageAgreesWithAPlainListAtEverySnapshot() throws {
        for seed in UInt64(1)...4 {
            var random = SplitMix(seed)
            let memtable = try Memtable(capacity: 1 << 20)
            var list: [RangeTombstone] = []
            for number in 1...UInt64(120) {
                let begin = [random.byte() % 40]
                let tombstone = RangeTombstone(begin: begin, end: [begin[0] &+ random.byte() % 9], lsn: LSN(number))
                list.append(tombstone)
                memtable.addRangeTombstone(begin: tombstone.begin, end: tombstone.end, lsn: tombstone.lsn)
                // Sometimes somebody wants them all, which fragments them.
                if random.next() % 20 == 0 {
                    #expect(memtable.rangeTombstones() == RangeTombstones(list), "seed \(seed)")
                }
                let lsn = LSN(random.next() % (number + 2))
                for key in UInt8(0)..<50 {
                    let expected = list.last { $0.lsn <= lsn && $0.begin[0] <= key && key < $0.end[0] }?.lsn
                    let found = unsafe [key].withUnsafeBytes {
                        unsafe memtable.rangeTombstoneLSN(covering: $0, at: lsn)
                    }
                    #expect(found == expected, "seed \(seed), key \(key), at \(lsn)")
                }
            }
            let lsn = LSN(60)
            let expected = RangeTombstones(list.filter { $0.lsn <= lsn })
            #expect(memtable.rangeTombstones(at: lsn) == expected, "seed \(seed)")
            #expect(memtable.rangeTombstoneCount == list.count { !$0.isEmpty })
        }
    }

    @Test func pointRecordsAndCursorsDoNotSeeThem() throws {
        let model = try ModelledMemtable()
        model.insert([5], [1])
        model.memtable.addRangeTombstone(begin: [0], end: [9], lsn: LSN(2))
        #expect(model.memtable.lookup([5], at: .max)?.trailer.lsn == LSN(1))
        #expect(model.memtable.newest([5]) == LSN(1))
        #expect(model.memtable.makeCursor().forward().count == 1)
        #expect(model.memtable.entryCount == 2 && model.memtable.largestLSN == LSN(2))
    }

    @Test func aMemtableOfRangeDeletesAloneIsNotEmpty() throws {
        let memtable = try Memtable(capacity: 1 << 20)
        let before = memtable.approximateBytes
        memtable.addRangeTombstone(begin: [1], end: [2], lsn: LSN(7))
        #expect(!memtable.isEmpty && memtable.smallestLSN == LSN(7) && memtable.approximateBytes > before)
    }

    @Test func anEmptyRangeLeavesOnlyItsLSN() throws {
        let memtable = try Memtable(capacity: 1 << 20)
        memtable.addRangeTombstone(begin: [2], end: [2], lsn: LSN(3))
        #expect(memtable.rangeTombstones().isEmpty && memtable.largestLSN == LSN(3))
    }
}
