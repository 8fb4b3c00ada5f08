internal import Synchronization
import Testing
import VarveTestSupport

@testable import VarveEngine

/// Readers on other threads while the one writer inserts; run it under the thread sanitizer.
@Suite struct MemtableConcurrencyTests {
    /// What the writer has finished, as the engine would publish it.
    private final class Shared: Sendable {
        let memtable: Memtable
        let visible = Atomic<UInt64>(0)
        let isDone = Atomic<Bool>(false)
        let faults = Mutex<[String]>([])

        init(_ memtable: Memtable) { self.memtable = memtable }

        func check(_ holds: Bool, _ what: @autoclosure () -> String) {
            if !holds {
                let text = what()
                faults.withLock { if $0.count < 5 { $0.append(text) } }
            }
        }
    }

    private static let total = 30_000
    private static let keys = 9000

    /// Record `number` (from 1) as a function of seed and number alone, so that readers can tell what must be there.
    private static func key(_ seed: UInt64, _ number: UInt64) -> [UInt8] {
        var random = SplitMix(seed &+ number)
        let pick = Int(random.next() % UInt64(keys))
        switch seed % 3 {
        case 0: return FullKey.make(.default, KeyShape.digits(pick * 2))
        case 1: return FullKey.make(.default, KeyShape.digits(Int(number)))
        default: return [UInt8(pick % 5)] + [UInt8](repeating: 9, count: pick % 30) + KeyShape.digits(pick).suffix(4)
        }
    }
    private static func entry(_ number: UInt64) -> [UInt8] {
        [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 4 + Int(number % 50))
    }

    private static func write(_ seed: UInt64, _ shared: Shared) {
        for number in 1...UInt64(total) {
            let (key, entry) = (key(seed, number), entry(number))
            let done = unsafe key.withUnsafeBytes { key in
                unsafe entry.withUnsafeBytes {
                    unsafe shared.memtable.insert(key: key, trailer: Trailer(LSN(number), .put), entry: $0)
                }
            }
            shared.check(done, "no room at \(number)")
            if number % 500 == 0 {
                let begin = FullKey.make(NamespaceID(rawValue: 900), [UInt8(number / 500)])
                shared.memtable.addRangeTombstone(begin: begin, end: begin + [1], lsn: LSN(number))
            }
            shared.visible.store(number, ordering: .releasing)
        }
        shared.isDone.store(true, ordering: .releasing)
    }

    /// Everything visible is found by a point read at its own LSN, with its bytes.
    private static func read(_ seed: UInt64, _ shared: Shared) {
        var random = SplitMix(seed ^ 0xABCD)
        while !shared.isDone.load(ordering: .acquiring) {
            let visible = shared.visible.load(ordering: .acquiring)
            guard visible > 0 else { continue }
            let number = 1 + random.next() % visible
            let key = key(seed, number)
            let hit = shared.memtable.lookup(key, at: LSN(number))
            shared.check(hit?.trailer.lsn == LSN(number), "seed \(seed): record \(number) of \(visible) is not found")
            shared.check(hit?.entry == entry(number), "seed \(seed): record \(number) has other bytes")
            let covered = unsafe FullKey.make(NamespaceID(rawValue: 900), [UInt8(number / 500)]).withUnsafeBytes {
                unsafe shared.memtable.rangeTombstoneLSN(covering: $0, at: LSN(number))
            }
            shared.check(
                covered == (number < 500 ? nil : LSN(number / 500 * 500)), "seed \(seed): tombstone at \(number)")
        }
    }

    /// A walk is in order, right in its bytes, and holds every record that was visible when its cursor was made.
    private static func walk(_ seed: UInt64, _ shared: Shared, isForward: Bool) {
        var isLast = false
        while !isLast {
            isLast = shared.isDone.load(ordering: .acquiring)
            let visible = shared.visible.load(ordering: .acquiring)
            let cursor = shared.memtable.makeCursor()
            var seen: UInt64 = 0
            var last: ModelRecord?
            if isForward { cursor.seekToFirst() } else { cursor.seekToLast() }
            while let record = cursor.record {
                let number = record.trailer.lsn.rawValue
                if number <= visible { seen += 1 }
                shared.check(record.entry == entry(number), "seed \(seed): record \(number) has other bytes")
                if let last {
                    let (first, second) = isForward ? (last, record) : (record, last)
                    shared.check(
                        ModelRecord.precedes(first, second.key, second.trailer), "seed \(seed): \(first) \(second)")
                }
                last = record
                if isForward { cursor.next() } else { cursor.previous() }
            }
            shared.check(seen == visible, "seed \(seed): a walk met \(seen) of \(visible) visible records")
        }
    }

    @Test(arguments: [3, 4, 5] as [UInt64])
    func readersAgreeWithWhatWasVisibleWhileTheWriterInserts(seed: UInt64) throws {
        let shared = Shared(try Memtable(capacity: 64 << 20))
        // Threads of their own: the readers go on until the writer is done, which tasks would keep from its thread.
        let crew = Crew()
        try crew.start { MemtableConcurrencyTests.walk(seed, shared, isForward: true) }
        try crew.start { MemtableConcurrencyTests.write(seed, shared) }
        try crew.start { MemtableConcurrencyTests.read(seed, shared) }
        try crew.start { MemtableConcurrencyTests.walk(seed, shared, isForward: false) }
        try crew.join()
        #expect(shared.faults.withLock { $0 } == [])
        #expect(shared.memtable.entryCount == MemtableConcurrencyTests.total + MemtableConcurrencyTests.total / 500)
    }
}
