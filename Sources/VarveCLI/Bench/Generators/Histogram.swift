import Foundation

/// Latencies in nanoseconds: 32 linear buckets for each power of two, so a quantile is right within 3 %.
struct Histogram: Sendable {
    private var buckets = [UInt64](repeating: 0, count: 64 * 32)
    private(set) var count: UInt64 = 0
    private(set) var sum: UInt64 = 0
    private(set) var max: UInt64 = 0

    @inline(__always)
    mutating func add(_ nanoseconds: UInt64) {
        buckets[Histogram.bucket(nanoseconds)] &+= 1
        count &+= 1
        sum &+= nanoseconds
        if nanoseconds > max { max = nanoseconds }
    }

    mutating func merge(_ other: Histogram) {
        for index in buckets.indices { buckets[index] &+= other.buckets[index] }
        count &+= other.count
        sum &+= other.sum
        max = Swift.max(max, other.max)
    }

    var mean: Double { count == 0 ? 0 : Double(sum) / Double(count) }

    /// The middle of the bucket in which the given share of all values is reached, in nanoseconds.
    func quantile(_ share: Double) -> Double {
        guard count > 0 else { return 0 }
        let needed = Swift.max(1, UInt64((share * Double(count)).rounded(.up)))
        var seen: UInt64 = 0
        for (index, entries) in buckets.enumerated() {
            seen += entries
            if seen >= needed { return Histogram.middle(index) }
        }
        return Double(max)
    }

    @inline(__always)
    private static func bucket(_ value: UInt64) -> Int {
        if value < 64 { return Int(value) }
        let exponent = 63 - value.leadingZeroBitCount
        return (exponent - 5) * 32 + Int(value >> UInt64(exponent - 5))
    }

    private static func middle(_ bucket: Int) -> Double {
        if bucket < 64 { return Double(bucket) }
        let exponent = bucket / 32 + 4
        return (Double(bucket % 32 + 32) + 0.5) * Double((1 as UInt64) << UInt64(exponent - 5))
    }
}
