import CVarveAllocations
import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// What the record of an entry tells of itself.
struct EntryRecordTests {
    @Test("A record is a line of the processor's cache")
    func line() {
        #expect(MemoryLayout<EntryRecord>.size <= 64)
        #expect(MemoryLayout<EntryRecord>.stride == 64)
    }

    /// A rule of any kind: whole milliseconds or not, with a limit or without, from nanoseconds to centuries.
    private func rule(_ random: inout SplitMix, at now: Int64) -> IdleRule {
        let unit: Int64 = [1, 777_777, 1_000_000, 1_000_000_000, 86_400_000_000_000][Int(random.next() % 5)]
        let span = max(1, Int64(random.next() % 10_000) * unit)
        let limit: Int64 = random.next() % 2 == 0 ? .max : now + span / 2 * Int64(random.next() % 4) + 1
        return IdleRule(span: span, limit: limit)
    }

    @Test("Reads move the deadline by the rule, and the disk is told where it misses a quarter", arguments: 1...8)
    func reads(seed: UInt64) {
        var random = SplitMix(seed)
        var told = 0
        for round in 0..<2000 {
            var now = Int64(random.next() % 2_000_000_000) * 1_000_000_000 + Int64(random.next() % 1_000_000_000)
            let rule = rule(&random, at: now)
            var (until, stored) = (rule.deadline(readAt: now), rule.deadline(readAt: now))
            var record = EntryRecord(
                hash: 1, version: 1, deadlines: Deadlines(usableUntil: until, freshUntil: .max), idle: rule,
                loadNanoseconds: 0, tags: round % 3 == 0 ? [7] : [], sourceVersion: 0, weight: 1, traits: .onDisk)
            for _ in 0..<10 {
                now += rule.span / 150 * Int64(random.next() % 100)
                until = max(until, rule.deadline(readAt: now))
                let isBehind = until - stored > rule.span / 4
                let place = "seed \(seed), round \(round), rule \(rule)"
                #expect(record.noteRead(at: now) == isBehind, "\(place)")
                #expect(record.deadlines.usableUntil == until, "\(place)")
                #expect(record.isAhead == isBehind, "\(place)")
                if isBehind { told += 1 }
                switch random.next() % 6 {
                case 2:
                    // Memory alone holds it for a while, as a load brought it.
                    let number = random.next()
                    record.setLoad(number)
                    #expect(record.load == number, "\(place)")
                    stored = until
                    record.traits.remove(.isLoadAlone)
                    record.settleStored(until: until)
                    #expect(record.load == 0, "\(place)")
                case 0:
                    stored = until
                    record.storedUntil = until
                case 1:
                    stored = until
                    record.settleStored(until: until)
                default: break
                }
                #expect(record.storedUntil == stored, "\(place)")
                #expect(record.idle == rule, "\(place)")
            }
        }
        #expect(told > 100, "seed \(seed): the disk was told too rarely to say anything")
    }

    @Test("Which load brought an entry takes no room where reads do not move it", arguments: [[], [7 as UInt64]])
    func load(tags: [UInt64]) {
        var record = EntryRecord(
            hash: 1, version: 1, deadlines: .never, idle: .none, loadNanoseconds: 5, tags: tags, sourceVersion: 0,
            weight: 1, traits: [])
        let before = varve_allocations_of_this_thread()
        record.setLoad(1 << 32 | 5)
        let count = varve_allocations_of_this_thread() - before
        if varve_allocations_are_counted() { #expect(count == 0) }
        #expect(record.load == 1 << 32 | 5)
        record.setLoad(.max)
        #expect(record.load == .max)
        #expect(record.noteRead(at: 5) == false && record.deadlines == .never && record.tags == tags)
        record.traits.remove(.isLoadAlone)
        #expect(record.load == 0)
    }
}
