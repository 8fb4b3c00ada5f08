/// When the disk is tried again: after a second, then twice as long each time, up to a minute. A disk that refuses again
/// soon after it took everything back is given as long as before.
struct RetrySchedule: Sendable {
    private var next: Int64 = 0
    private var interval: Int64 = 0

    static let shortest: Int64 = 1_000_000_000
    static let longest: Int64 = 60_000_000_000

    /// A first try was refused, or another one.
    mutating func refused(at now: Int64) {
        if interval == 0 { begin(at: now) } else { tried(at: now) }
    }

    mutating func begin(at now: Int64) {
        if interval == 0 || now &- next > RetrySchedule.longest { interval = RetrySchedule.shortest }
        next = now &+ interval
    }

    func isDue(at now: Int64) -> Bool { now >= next }

    /// The disk was tried, in vain or not.
    mutating func tried(at now: Int64) {
        interval = min(RetrySchedule.longest, interval * 2)
        next = now &+ interval
    }
}
