import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// Limits are checked at the door: what is beyond them is refused with nothing written.
@Suite struct LimitTests {
    @Test func keysAndValues() throws {
        let engine = try Fixture.store()
        let longest = [UInt8](repeating: 1, count: Limits.keyBytes)
        try engine.put(longest, [1])
        try engine.put([], [2])
        #expect(try engine.get(longest)?.bytes == [1])
        #expect(try engine.get([])?.bytes == [2])
        let before = engine.position
        #expect(code { try engine.put(longest + [1], [1]) } == .limitExceeded)
        #expect(code { try engine.delete(longest + [1]) } == .limitExceeded)
        #expect(code { _ = try engine.get(longest + [1]) } == .limitExceeded)
        #expect(code { try engine.deleteRange(from: [], to: longest + [1]) } == .limitExceeded)
        let fields = EntryFields(extensions: [EntryExtension(tag: 1, bytes: [UInt8](repeating: 0, count: 70_000))])
        #expect(code { try engine.put([1], [1], fields) } == .limitExceeded)
        #expect(
            code { try engine.put([1], [1], EntryFields(tags: [UInt64](repeating: 1, count: 4097))) } == .limitExceeded)
        #expect(engine.position == before)
        try engine.flush()
        #expect(try engine.get(longest)?.bytes == [1])
        #expect(try engine.get([])?.bytes == [2])
        try engine.close()
    }

    @Test("A value at the limit is kept; one byte more is refused, and the batch holds what it held")
    func largeValue() throws {
        let engine = try Fixture.store()
        let value = [UInt8](repeating: 7, count: Limits.valueBytes)
        try engine.put([1], value)
        #expect(try engine.get([1])?.bytes.count == value.count)
        #expect(code { try engine.put([2], value + [1]) } == .limitExceeded)
        var batch = WriteBatch()
        try batch.put([3], [3])
        var refused = false
        do { try batch.put([2], value + [1]) } catch { refused = error.code == .limitExceeded }
        #expect(refused && batch.count == 1)
        try batch.put([4], value)
        // Two of them and the rest are above what one batch may hold.
        refused = false
        do { try batch.put([5], value) } catch { refused = error.code == .limitExceeded }
        #expect(refused && batch.count == 2)
        try engine.write(batch)
        #expect(try engine.get([3])?.bytes == [3])
        try engine.compact()
        #expect(try engine.get([4])?.bytes.count == value.count)
        try engine.close()
    }

    @Test("An operation beyond a batch's limit is refused, and the batch holds what it held")
    func records() throws {
        var batch = WriteBatch(recordLimit: 4)
        try batch.put([1], [1])
        try batch.delete([2])
        try batch.deleteRange(from: [3], to: [4])
        try batch.putEntry(fullKey: FullKey.make(.default, [5]), entry: [0, 5])
        let size = batch.byteCount
        var refusals: [VarveError.Code] = []
        do { try batch.put([6], [6]) } catch { refusals.append(error.code) }
        do { try batch.delete([6]) } catch { refusals.append(error.code) }
        do { try batch.deleteRange(from: [6], to: nil) } catch { refusals.append(error.code) }
        do { try batch.putEntry(fullKey: FullKey.make(.default, [6]), entry: [0, 6]) } catch {
            refusals.append(error.code)
        }
        #expect(refusals == [.limitExceeded, .limitExceeded, .limitExceeded, .limitExceeded])
        #expect(batch.count == 4 && batch.byteCount == size)
        batch.removeAll()
        try batch.put([6], [6])
        let engine = try Fixture.store()
        try engine.write(batch)
        #expect(try Fixture.contents(engine) == [[6]: [6]])
        try engine.close()
    }

    @Test func options() {
        func refused(_ change: (inout EngineOptions) -> Void) -> Bool {
            var options = EngineOptions()
            change(&options)
            return code { _ = try Engine.open(at: "/store", options, fileSystem: SimulatedFileSystem()) }
                == .invalidArgument
        }
        #expect(refused { $0.durability = .interval(.zero) })
        #expect(refused { $0.memtableBytes = 1 })
        #expect(refused { $0.sealedMemtables = 0 })
        #expect(refused { $0.logSegmentBytes = 1 })
        #expect(refused { $0.logRetentionBytes = 1 })
        #expect(refused { $0.blockCacheBytes = -1 })
        #expect(refused { $0.diskBudgetBytes = 1 })
        #expect(refused { $0.backgroundBytesPerSecond = 1 })
        #expect(refused { $0.stallLimit = .zero })
        #expect(refused { $0.compaction.levelZeroTrigger = 0 })
        #expect(refused { $0.compaction.levelMultiplier = 1 })
        #expect(refused { $0.compaction.tableBytes = 0 })
        #expect(refused { $0.compaction.expiredShare = -1 })
        #expect(refused { $0.table.blockBytes = 1 })
        #expect(refused { $0.table.filterBitsPerKey = 99 })
        #expect(refused { $0.table.writeBufferBytes = -1 })
    }
}
