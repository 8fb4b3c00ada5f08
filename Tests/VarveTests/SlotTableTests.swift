import Testing
import VarvePolicy
import VarveTestSupport

@testable import Varve

/// What finds an entry's slot: against a dictionary, and what it says of where values lie against where they are.
struct SlotTableTests {
    /// Few homes, so that runs are long, wrap around the end and are closed up when something leaves.
    @Test(arguments: 0..<20 as Range<UInt64>)
    func findsWhatIsThereAndNothingElse(_ seed: UInt64) {
        var random = SplitMix(seed)
        var table = SlotTable()
        var model: [Int: (hash: UInt64, object: UInt)] = [:]
        for step in 0..<3000 {
            let slot = Int.random(in: 0..<200, using: &random)
            let object = UInt.random(in: 0...9999, using: &random)
            if let present = model[slot] {
                if Bool.random(using: &random) {
                    table.move(present.hash, slot: slot, object: object)
                    model[slot] = (present.hash, object)
                } else {
                    table.remove(present.hash, slot: slot)
                    model[slot] = nil
                }
            } else {
                let home = (UInt64.random(in: 0..<6, using: &random) &- 3) & 0xFFFFF
                let hash = home | UInt64.random(in: 0..<4, using: &random) << 20
                table.insert(hash, slot: slot, object: object)
                model[slot] = (hash, object)
            }
            #expect(table.count == model.count, "seed \(seed), step \(step)")
            guard step % 20 == 0 else { continue }
            for (slot, present) in model {
                #expect(table.find(present.hash) { $0 == slot } == slot, "seed \(seed), step \(step)")
            }
            // A hash that is none of those above.
            #expect(table.find(77 << 20) { _ in true } == nil, "seed \(seed), step \(step)")
            let places = table.places.filter { $0.word != 0 }
            let told = Dictionary(
                uniqueKeysWithValues: places.map { (Int(truncatingIfNeeded: $0.word & 0xFFFF_FFFF) - 1, $0.object) })
            #expect(told == model.mapValues(\.object), "seed \(seed), step \(step)")
        }
    }

    /// A value that is one reference.
    private final class Object: Sendable {}

    private func entry<Value: Sendable>(_ key: Int, _ value: Value?, _ version: UInt64) -> MemoryEntry<Int, Value> {
        MemoryEntry(
            key: key, value: value, hash: UInt64(key), version: version,
            deadlines: Deadlines(usableUntil: .max, freshUntil: .max), weight: 1, traits: [])
    }

    private func told<Value: Sendable>(_ values: [Value?]) -> [UInt] {
        var shard = MemoryShard<Int, Value>(
            policy: MemoryPolicy(.lru, capacity: 100, expectedEntries: 100), expectedEntries: 100, isAuthority: true,
            now: 0)
        return values.enumerated().map { index, value in
            var gone = Discarded<Int, Value>()
            #expect(shard.publish(entry(1, value, UInt64(index + 1)), .write, &gone))
            return shard.table.places.first { $0.word != 0 }?.object ?? 1
        }
    }

    /// What comes into a slot that another entry has left has its own.
    @Test func aPlaceOfAnotherEntryHasItsValue() {
        var shard = MemoryShard<Int, Object>(
            policy: MemoryPolicy(.lru, capacity: 1, expectedEntries: 1), expectedEntries: 1, isAuthority: true, now: 0)
        let objects = [Object(), Object(), Object()]
        for (index, object) in objects.enumerated() {
            var gone = Discarded<Int, Object>()
            #expect(shard.publish(entry(index, object, UInt64(index + 1)), .write, &gone))
            let told = shard.table.places.filter { $0.word != 0 }.map(\.object)
            #expect(told == [UInt(bitPattern: ObjectIdentifier(object))])
        }
    }

    @Test func aPlaceFollowsTheValueOfItsEntry() {
        let objects = [Object(), Object()]
        let addresses = objects.map { UInt(bitPattern: ObjectIdentifier($0)) }
        #expect(told([objects[0], objects[1], nil, objects[0]]) == [addresses[0], addresses[1], 0, addresses[0]])
        #expect(told([1, 2]) == [0, 0])
        #expect(told(["a string that is too long for its own words"]) == [0])
    }
}
