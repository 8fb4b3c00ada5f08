import Testing

@testable import VarvePolicy

/// What was read from a slower tier comes in to a full memory where such reads pay off, and else seldom.
struct ReadAdmissionTests {
    /// How many of so many reads are let in.
    private func admitted(_ trial: ReadAdmission.Trial, of count: Int, _ reads: inout ReadAdmission) -> Int {
        var admitted = 0
        for _ in 0..<count where reads.admits(trial) { admitted += 1 }
        return admitted
    }

    /// Of sixteen hundred.
    private func isSixteenth(_ count: Int) -> Bool { (70...130).contains(count) }

    @Test func oneOfSixteenIsTriedUntilEnoughWereHit() {
        var reads = ReadAdmission()
        for _ in 0..<ReadAdmission.memory * 2 { reads.note(.new, wasHit: false) }
        #expect(isSixteenth(admitted(.new, of: 1600, &reads)))
        #expect(admitted(.late, of: 100, &reads) == 100, "the kinds are judged apart")
        #expect(admitted(.none, of: 100, &reads) == 100)
        // What five hundred failures have cost, fewer successes make good.
        for _ in 0..<ReadAdmission.memory / ReadAdmission.weightOfHit + 1 { reads.note(.new, wasHit: true) }
        #expect(admitted(.new, of: 1600, &reads) == 1600)
    }

    @Test("A quarter is the bar", arguments: [(hits: 3, of: 10), (hits: 2, of: 10)])
    func bar(_ rate: (hits: Int, of: Int)) {
        var reads = ReadAdmission()
        for _ in 0..<1000 { for turn in 0..<rate.of { reads.note(.late, wasHit: turn < rate.hits) } }
        #expect((admitted(.late, of: 100, &reads) == 100) == (rate.hits * 4 >= rate.of))
    }

    /// A full memory of keys that are read all the time, and beside them one read after the other of a slower tier.
    private struct Course {
        static let popular = 90 as UInt64
        private var next = 0 as UInt64
        var driver = Driver(.adaptive, capacity: 100)

        init() { for key in 0..<100 as Range<UInt64> { driver.request(key) } }

        /// Reads keys, each twice in a row if `again`, and tells how many were let in at the first of them.
        mutating func read(_ keys: some Sequence<UInt64>, again: Bool) -> Int {
            var admitted = 0
            for key in keys {
                for _ in 0..<9 {
                    driver.request(next)
                    next = (next + 1) % Course.popular
                }
                if driver.read(1000 + key) { admitted += 1 }
                if again, driver.keys.contains(1000 + key) { driver.read(1000 + key) }
            }
            return admitted
        }
    }

    @Test func newKeysComeInWhereTheyAreReadAgain() {
        var course = Course()
        _ = course.read(0..<1000, again: false)
        #expect(isSixteenth(course.read(1000..<2600, again: false)))
        _ = course.read(2600..<8000, again: true)
        #expect(course.read(8000..<9600, again: true) == 1600)
        _ = course.read(9600..<12_000, again: false)
        #expect(isSixteenth(course.read(12_000..<13_600, again: false)))
    }

    /// Three hundred keys in turn: they are remembered when they come back, and what is in is used sooner.
    @Test func lateOnesComeInWhereTheyAreReadAgain() {
        var course = Course()
        func turns(_ count: UInt64) -> [UInt64] { (0..<count * 300).map { $0 % 300 } }
        _ = course.read(turns(5), again: false)
        #expect(course.read(turns(5), again: false) < 1500 / 8)
        _ = course.read(turns(20), again: true)
        #expect(course.read(turns(5), again: true) == 1500)
    }

    @Test("Reads in pairs, of which one pays off", arguments: [0, 1] as [UInt64])
    func pairs(_ first: UInt64) {
        var course = Course()
        _ = course.read(0..<1000 + first, again: false)
        for pair in 1000..<5000 as Range<UInt64> {
            _ = course.read([pair * 2], again: false)
            _ = course.read([pair * 2 + 1], again: true)
        }
        let last = (5000..<5100 as Range<UInt64>).map { course.read([$0 * 2], again: false) }
        #expect(last.allSatisfy { $0 == 1 }, "half of the trials pay off")
    }

    @Test func newAndLateOnesAreJudgedApart() {
        var course = Course()
        let turns = (0..<3000 as Range<UInt64>).map { $0 % 300 }
        _ = course.read(turns, again: true)
        _ = course.read(1000..<3000, again: false)
        // The three hundred are forgotten by now, and new themselves, but the first time.
        _ = course.read(turns.prefix(300), again: false)
        #expect(course.read(turns.prefix(300), again: false) > 200)
        #expect(course.read(4000..<4160, again: false) < 40)
    }

    @Test func whatIsHeavierThanTheCapacityNeverComesIn() {
        var policy = MemoryPolicy(.adaptive, capacity: 100, expectedEntries: 10)
        #expect((0..<100 as Range<UInt64>).allSatisfy { !policy.admitsRead(hash: $0, weight: 101) })
    }

    @Test func whatComesBackSoonIsNotOnTrial() {
        var course = Course()
        _ = course.read(0..<1000, again: false)
        // One that was refused, and is asked for once more.
        let refused = (1000..<1020 as Range<UInt64>).filter { course.read([$0], again: false) == 0 }
        #expect(refused.count >= 18)
        #expect(refused.suffix(3).allSatisfy { course.read([$0], again: false) == 1 })
    }

    @Test func whereThereIsRoomEverythingComesIn() {
        var driver = Driver(.adaptive, capacity: 100)
        for key in 0..<100 as Range<UInt64> { driver.read(key) }
        #expect(driver.policy.count == 100)
        // Not one of them is read again.
        for key in 100..<3000 as Range<UInt64> { driver.read(key) }
        driver.policy.capacity = 200
        for key in 3000..<3100 as Range<UInt64> { driver.read(key) }
        #expect(driver.policy.count == 200)
    }
}
