/// What a hit in memory may cost: less than a dictionary within an actor, at most three times a plain dictionary behind a
/// mutex on one thread, and less than that one on several, since there the cache's shards tell.
enum HitBars {
    /// - Parameter costs: nanoseconds of a read by contender: `actor`, `mutex`, and what begins with `cache`.
    /// - Returns: a sentence for each that is missed.
    static func missed(_ costs: [String: Double], threads: Int) -> [String] {
        var missed: [String] = []
        for (name, cost) in costs.sorted(by: { $0.key < $1.key }) where name.hasPrefix("cache") {
            for (other, bar) in [("actor", 1), ("mutex", threads == 1 ? 3 : 1)] {
                guard let base = costs[other], cost > base * Double(bar) else { continue }
                missed.append("\(name) costs \(cost / base) of \(other), at most \(bar) is to be reached")
            }
        }
        return missed
    }
}
