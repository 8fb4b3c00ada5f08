import Foundation

/// Zipf-distributed ranks in [0, count), rank 0 the hottest: the approximation without rejection of Gray et al. 1994,
/// as YCSB has it.
struct Zipf: Sendable {
    private let count: UInt64
    private let alpha: Double
    private let eta: Double
    private let half: Double
    /// The sum of 1 / i^theta over all ranks.
    let zetan: Double

    init(_ count: UInt64, theta: Double = 0.99) {
        precondition(count > 0, "a distribution over nothing has no ranks")
        self.count = count
        var sum = 0.0
        for rank in 1...count { sum += 1 / pow(Double(rank), theta) }
        zetan = sum
        half = pow(0.5, theta)
        alpha = 1 / (1 - theta)
        eta = (1 - pow(2 / Double(count), 1 - theta)) / (1 - (1 + half) / sum)
    }

    /// The rank that a uniform number in [0, 1) stands for.
    func callAsFunction(_ unit: Double) -> UInt64 {
        let scaled = unit * zetan
        if scaled < 1 { return 0 }
        if scaled < 1 + half { return 1 }
        let rank = UInt64(Double(count) * pow(eta * unit - eta + 1, alpha))
        return min(rank, count - 1)
    }
}
