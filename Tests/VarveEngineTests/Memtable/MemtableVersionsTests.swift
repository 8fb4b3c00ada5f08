import Testing
import VarveTestSupport

@testable import VarveEngine

/// Many versions of one key: the jump pointers, and cursors among them while more come.
@Suite struct MemtableVersionsTests {
    @Test func everySnapshotOfAKeyWrittenThousandsOfTimesIsRight() throws {
        let model = try ModelledMemtable()
        let key = FullKey.make(.default, [1])
        for index in 0..<5000 { model.insert(key, [UInt8(truncatingIfNeeded: index)]) }
        for lsn in UInt64(0)...5001 {
            let expected = lsn == 0 ? nil : LSN(min(lsn, 5000))
            #expect(model.memtable.lookup(key, at: LSN(lsn))?.trailer.lsn == expected)
        }
        #expect(model.memtable.keyCount == 1 && model.memtable.entryCount == 5000)
        model.settle()
        let cursor = model.memtable.makeCursor()
        #expect(firstDifference(cursor.forward(), model.records) == nil)
        #expect(firstDifference(cursor.backward(), model.records.reversed()) == nil)
    }

    /// The LSNs of one key need not be neighbours, so a snapshot may stand between any two.
    @Test func snapshotsBetweenTwoVersionsSeeTheOlder() throws {
        for seed in UInt64(1)...5 {
            var random = SplitMix(seed)
            let model = try ModelledMemtable()
            for _ in 0..<3000 { model.insert([UInt8(random.next() % 3)], [random.byte()]) }
            model.settle()
            for lsn in UInt64(0)...3001 {
                for key in 0..<3 {
                    let key = [UInt8(key)]
                    #expect(model.memtable.lookup(key, at: LSN(lsn)) == model.get(key, at: LSN(lsn)), "seed \(seed)")
                }
            }
        }
    }

    @Test func aCursorOnAVersionIsNotDisturbedByNewerOnes() throws {
        let model = try ModelledMemtable()
        let key = FullKey.make(.default, [7])
        for _ in 0..<10 { model.insert(key, [1]) }
        let cursor = model.memtable.makeCursor()
        cursor.seek(key, Trailer(seekingAt: LSN(5)))
        #expect(cursor.record?.trailer.lsn == LSN(5))
        for _ in 0..<100 { model.insert(key, [2]) }
        #expect(cursor.record?.entry == [1])
        cursor.next()
        #expect(cursor.record?.trailer.lsn == LSN(4))
        for expected in UInt64(5)...110 {
            cursor.previous()
            #expect(cursor.record?.trailer.lsn == LSN(expected))
        }
        cursor.previous()
        #expect(!cursor.isValid)
    }

    @Test func aDeleteIsAVersionLikeAnyOther() throws {
        let model = try ModelledMemtable()
        model.insert([1, 2], [9])
        model.insert([1, 2], [], .delete)
        #expect(model.memtable.lookup([1, 2], at: LSN(1))?.trailer.kind == .put)
        #expect(model.memtable.lookup([1, 2], at: LSN(2))?.trailer.kind == .delete)
        #expect(model.memtable.newest([1, 2]) == LSN(2))
    }
}
