import Testing
import VarveEngine

@testable import Varve

/// What is hidden of the disk stays hidden, whatever the bounds of the record.
struct DiskShadowTests {
    private func key(_ number: Int) -> [UInt8] { Array("key \(number)".utf8) }

    @Test("Keys and ranges are hidden, others are not")
    func hides() {
        let shadow = DiskShadow(.default)
        #expect(!shadow.hides(key(1)))
        shadow.hide(key(1), sourceVersion: nil)
        shadow.hide(key(2), sourceVersion: 5)
        shadow.hide(key(2), sourceVersion: 3)
        shadow.hide(KeyInterval(begin: [0x70], end: [0x71]))
        #expect(shadow.hides(key(1)) && shadow.hides(key(2)) && !shadow.hides(key(3)))
        #expect(shadow.hides([0x70, 0xFF]) && !shadow.hides([0x71]) && !shadow.hides([0x6F, 0xFF]))
        #expect(shadow.sourceVersion(of: key(2)) == 5 && shadow.sourceVersion(of: key(1)) == 0)
        #expect(shadow.count == 3)
        shadow.reset()
        #expect(!shadow.hides(key(1)) && shadow.changes.isEmpty)
    }

    @Test("Beyond the bound everything is hidden, and source versions are still known as far as they fit")
    func bounded() {
        let shadow = DiskShadow(.default, limit: 10_000)
        shadow.hide(key(1), sourceVersion: 9)
        for number in 2..<1000 { shadow.hide(key(number), sourceVersion: nil) }
        #expect(shadow.changes.hidesAll && shadow.hides(key(5000)))
        #expect(shadow.sourceVersion(of: key(1)) == 9 && shadow.count < 10)
        for number in 0..<1000 { shadow.hide(key(number), sourceVersion: 7) }
        #expect(shadow.changes.hidesAll && shadow.count < 1000)
    }

    @Test("Too many ranges, a range of all, and too many tags hide everything")
    func others() {
        let ranges = DiskShadow(.default)
        for number in 0..<300 { ranges.hide(KeyInterval(begin: key(number), end: key(number) + [0])) }
        #expect(ranges.changes.hidesAll && ranges.changes.ranges.isEmpty)
        let all = DiskShadow(.default)
        all.hide(KeyInterval(begin: [], end: nil))
        #expect(all.changes.hidesAll)
        let tags = DiskShadow(.default)
        for tag in 0..<5000 as Range<UInt64> { tags.hide(tag: tag, at: tag) }
        #expect(tags.changes.hidesAll && tags.changes.tags[1] == 1)
    }

    @Test("The disk is tried after one second, then after twice as long each time, a minute at most")
    func retries() {
        var schedule = RetrySchedule()
        let second: Int64 = 1_000_000_000
        schedule.begin(at: 0)
        #expect(!schedule.isDue(at: second - 1) && schedule.isDue(at: second))
        schedule.tried(at: second)
        #expect(!schedule.isDue(at: 3 * second - 1) && schedule.isDue(at: 3 * second))
        for _ in 0..<10 { schedule.tried(at: 0) }
        #expect(!schedule.isDue(at: 60 * second - 1) && schedule.isDue(at: 60 * second))
        // Soon after: as long as before. Much later: as at first.
        schedule.begin(at: 100 * second)
        #expect(!schedule.isDue(at: 159 * second) && schedule.isDue(at: 160 * second))
        schedule.begin(at: 1000 * second)
        #expect(schedule.isDue(at: 1001 * second))
    }
}
