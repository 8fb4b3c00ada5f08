/// The numbers that changes in memory get, while the log stands nearly still.
///
/// They lie a reserve beyond the log's end, because the log may still take a few: tries of the disk, and what background work
/// had begun. So whoever has followed the log up to such a number has met what the return to the disk made of the change.
struct MemoryVersions: Sendable {
    /// The first of those beyond the reserve that was made last.
    private var first: UInt64 = 0
    /// The last that was given, here or by an engine whose log may have lost it; 0: none was.
    private(set) var last: UInt64 = 0
    /// Whether `last` was a log's, so that no reserve lies before it.
    private var isPassed = false

    static let reserve: UInt64 = 1 << 18

    /// A log gave numbers up to this one; what takes its place may end before.
    mutating func pass(_ number: UInt64) {
        if number > last { (first, last, isPassed) = (number, number, true) }
    }

    /// `end`: the log's.
    mutating func next(after end: UInt64) -> UInt64 {
        if last <= end || isPassed {
            let end = max(end, last)
            isPassed = false
            first = end + MemoryVersions.reserve + 1
            last = end + MemoryVersions.reserve
        }
        last += 1
        return last
    }

    /// Whether the log may take this number, its next, and who reads it has not passed one that was given.
    func leaves(_ number: UInt64) -> Bool { number < first || number > last }
}
