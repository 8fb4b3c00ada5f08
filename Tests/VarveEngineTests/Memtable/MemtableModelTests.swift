import Testing
import VarveTestSupport

@testable import VarveEngine

/// The memtable against a sorted array: reads, seeks and walks, over keys of every shape.
@Suite struct MemtableModelTests {
    private static func fill(
        _ shape: KeyShape, _ count: Int, _ random: inout SplitMix, _ model: ModelledMemtable, from start: Int = 0
    ) {
        for index in start..<start + count {
            let key = shape.key(index, &random)
            let entry = [UInt8](repeating: UInt8(truncatingIfNeeded: index), count: Int(random.next() % 40))
            model.insert(key, entry, random.next() % 8 == 0 ? .delete : .put)
        }
        model.settle()
    }

    @Test(arguments: KeyShape.allCases)
    func walksBothWaysAgreeWithTheModel(_ shape: KeyShape) throws {
        for seed in UInt64(1)...2 {
            var random = SplitMix(seed)
            let model = try ModelledMemtable()
            // Small steps at first, so that every size of the smallest trees is met.
            for step in [1, 62, 1, 1, 64, 200, 1500, 2000] {
                MemtableModelTests.fill(shape, step, &random, model, from: model.records.count)
                let cursor = model.memtable.makeCursor()
                #expect(
                    firstDifference(cursor.forward(), model.records) == nil,
                    "\(shape), seed \(seed), \(model.records.count) records")
                #expect(firstDifference(cursor.backward(), model.records.reversed()) == nil, "\(shape), seed \(seed)")
            }
            #expect(model.memtable.entryCount == model.records.count)
            #expect(model.memtable.keyCount == Set(model.records.map(\.key)).count)
            #expect(model.memtable.largestLSN == model.lsn && model.memtable.smallestLSN == LSN(1))
        }
    }

    @Test(arguments: KeyShape.allCases)
    func pointReadsAgreeWithTheModelAtEverySnapshot(_ shape: KeyShape) throws {
        for seed in UInt64(11)...12 {
            var random = SplitMix(seed)
            let model = try ModelledMemtable(expectedKeys: seed == 11 ? 0 : 3000)
            MemtableModelTests.fill(shape, 4000, &random, model)
            for _ in 0..<2000 {
                let key =
                    random.next() % 2 == 0
                    ? model.records[Int(random.next() % 4000)].key : shape.key(Int(random.next() % 9000), &random)
                let lsn = LSN(random.next() % 4100)
                #expect(model.memtable.lookup(key, at: lsn) == model.get(key, at: lsn), "\(shape), seed \(seed)")
                #expect(model.memtable.newest(key) == model.get(key, at: .max)?.trailer.lsn, "\(shape), seed \(seed)")
            }
        }
    }

    @Test(arguments: KeyShape.allCases)
    func seeksAndZigzagsAgreeWithTheModel(_ shape: KeyShape) throws {
        for seed in UInt64(21)...22 {
            var random = SplitMix(seed)
            let model = try ModelledMemtable()
            MemtableModelTests.fill(shape, 3000, &random, model)
            let cursor = model.memtable.makeCursor()
            for _ in 0..<1500 {
                let known = model.records[Int(random.next() % 3000)]
                var key = random.next() % 3 == 0 ? shape.key(Int(random.next() % 9000), &random) : known.key
                if random.next() % 5 == 0 { key.append(random.byte()) }
                if random.next() % 5 == 0 { key = Array(key.prefix(Int(random.next() % 30))) }
                let trailer = [
                    Trailer.newest, .oldest, known.trailer, Trailer(rawValue: known.trailer.rawValue ^ 0xFF),
                ][
                    Int(random.next() % 4)]
                var index = model.position(key, trailer)
                if random.next() % 2 == 0 {
                    cursor.seek(key, trailer)
                } else {
                    cursor.seekBefore(key, trailer)
                    index -= 1
                }
                for _ in 0..<5 {
                    let expected = model.records.indices.contains(index) ? model.records[index] : nil
                    #expect(cursor.record == expected, "\(shape), seed \(seed), key \(key), \(trailer.rawValue)")
                    if expected == nil { break }
                    if random.next() % 2 == 0 {
                        cursor.next()
                        index += 1
                    } else {
                        cursor.previous()
                        index -= 1
                    }
                }
            }
        }
    }

    @Test func aMixtureOfAllShapesAgreesWithTheModel() throws {
        for seed in UInt64(31)...36 {
            var random = SplitMix(seed)
            let model = try ModelledMemtable()
            for round in 0..<200 {
                let shape = KeyShape.allCases[Int(random.next() % UInt64(KeyShape.allCases.count))]
                MemtableModelTests.fill(shape, 40, &random, model, from: round * 40)
            }
            let cursor = model.memtable.makeCursor()
            #expect(firstDifference(cursor.forward(), model.records) == nil, "seed \(seed)")
            #expect(firstDifference(cursor.backward(), model.records.reversed()) == nil, "seed \(seed)")
            for record in model.records {
                #expect(model.memtable.lookup(record.key, at: record.trailer.lsn) == record, "seed \(seed)")
            }
        }
    }

    @Test func anEmptyMemtableHasNothing() throws {
        let memtable = try Memtable(capacity: 1 << 20)
        let cursor = memtable.makeCursor()
        #expect(cursor.forward().isEmpty && cursor.backward().isEmpty)
        cursor.seek([1], .newest)
        #expect(!cursor.isValid)
        cursor.seekBefore([1], .newest)
        #expect(!cursor.isValid)
        #expect(memtable.isEmpty && memtable.smallestLSN == nil && memtable.largestLSN == nil)
        #expect(memtable.lookup([1], at: .max) == nil && memtable.newest([]) == nil)
    }
}
