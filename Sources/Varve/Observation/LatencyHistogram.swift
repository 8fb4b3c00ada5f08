internal import Synchronization
internal import VarveIO

/// How long something took, how often: counts in buckets whose width is an eighth of their octave, so that a percentile
/// is right within 12.5 %. Histograms of one thing add up, over time and over processes.
public struct LatencyHistogram: Hashable, Sendable {
    /// Trimmed at both ends: the bucket of the first count, and the counts from there.
    private var first = 0
    private var counts: [UInt64] = []
    /// Of all that was counted.
    private(set) var sumNanoseconds: UInt64 = 0

    /// Nothing counted.
    public init() {}

    init(_ count: (Int) -> UInt64, sumNanoseconds: UInt64) {
        let all = (0..<LatencyBuckets.count).map(count)
        guard let first = all.firstIndex(where: { $0 > 0 }), let last = all.lastIndex(where: { $0 > 0 }) else { return }
        self.first = first
        counts = Array(all[first...last])
        self.sumNanoseconds = sumNanoseconds
    }

    /// How many were counted.
    public var count: UInt64 { counts.reduce(0, &+) }

    /// The mean of what was counted; zero where nothing was.
    public var mean: Duration {
        let count = count
        return .nanoseconds(count == 0 ? 0 : Int64(clamping: sumNanoseconds / count))
    }

    /// The time within which this share of them, in 0...1, was done: the upper end of a bucket. Zero where nothing was
    /// counted.
    public func percentile(_ share: Double) -> Duration {
        let wanted = UInt64((Double(count) * min(1, max(0, share))).rounded(.up))
        var seen: UInt64 = 0
        for (index, number) in counts.enumerated() {
            seen &+= number
            if seen >= max(1, wanted) { return .nanoseconds(LatencyBuckets.end(of: first + index)) }
        }
        return .zero
    }

    /// What both counted, together.
    public static func + (a: LatencyHistogram, b: LatencyHistogram) -> LatencyHistogram {
        LatencyHistogram({ a[$0] &+ b[$0] }, sumNanoseconds: a.sumNanoseconds &+ b.sumNanoseconds)
    }

    /// What came on top of an earlier state of the same histogram.
    func since(_ earlier: LatencyHistogram) -> LatencyHistogram {
        LatencyHistogram({ self[$0] &- earlier[$0] }, sumNanoseconds: sumNanoseconds &- earlier.sumNanoseconds)
    }

    /// The buckets with something in them: a time in the middle of each, and the count.
    func forEach(_ body: (_ nanoseconds: Int64, _ count: UInt64) -> Void) {
        for (index, number) in counts.enumerated() where number > 0 {
            let bucket = first + index
            let begin = bucket == 0 ? 0 : LatencyBuckets.end(of: bucket - 1)
            body((begin + LatencyBuckets.end(of: bucket)) / 2, number)
        }
    }

    private subscript(_ bucket: Int) -> UInt64 {
        counts.indices.contains(bucket - first) ? counts[bucket - first] : 0
    }
}

/// Which times share a bucket: eight buckets an octave from 256 ns to 275 s; the first and last take what is beyond.
private enum LatencyBuckets {
    static let lowestBit = 8
    static let count = 240

    static func index(_ nanoseconds: Int64) -> Int {
        let time = UInt64(max(1 << Int64(lowestBit), nanoseconds))
        let octave = 63 - time.leadingZeroBitCount
        let eighth = Int(truncatingIfNeeded: time >> UInt64(octave - 3)) & 7
        return min(count - 1, (octave - lowestBit) * 8 + eighth)
    }

    /// The first time that is beyond the bucket.
    static func end(of index: Int) -> Int64 {
        (Int64(index & 7) + 9) << Int64(index >> 3 + lowestBit - 3)
    }
}

/// Counts times into buckets. Any thread: two atomic additions for each.
final class LatencyRecorder: Sendable {
    private let buckets: [240 of Atomic<UInt64>]
    private let sum = Atomic<UInt64>(0)

    init() { buckets = InlineArray { _ in Atomic(0) } }

    func add(_ nanoseconds: Int64) {
        buckets[LatencyBuckets.index(nanoseconds)].add(1, ordering: .relaxed)
        sum.add(UInt64(max(0, nanoseconds)), ordering: .relaxed)
    }

    func add(since began: Int64) { add(Latencies.now() &- began) }

    var histogram: LatencyHistogram {
        LatencyHistogram({ buckets[$0].load(ordering: .relaxed) }, sumNanoseconds: sum.load(ordering: .relaxed))
    }
}

/// What a cache times: everything that goes beyond memory, which takes microseconds where the two looks at the clock take
/// some fifty nanoseconds.
@usableFromInline
final class Latencies: Sendable {
    let diskRead = LatencyRecorder()
    let load = LatencyRecorder()
    let write = LatencyRecorder()

    /// Nanoseconds of a clock that only moves on; real time even where a store's clock is turned by hand.
    @usableFromInline
    static func now() -> Int64 { KernelClock.monotonicNanoseconds }
}
