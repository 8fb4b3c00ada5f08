/// What a process takes at one moment of a soak.
struct SoakSample: Sendable {
    var operations: UInt64 = 0
    var seconds = 0.0
    var anonymousKibibytes: UInt64 = 0
    /// Of the folder, and of the tables and log in it that the store has in use.
    var diskBytes: UInt64 = 0
    var storeBytes: UInt64 = 0
    var files = 0
    var descriptors = 0
    var threads = 0
    var memoryEntries = 0
    var memoryWeight = 0
}

/// Whether something grows for as long as a cache is used: the last quarter of a soak is held against its second quarter.
/// The first quarter, in which everything fills up, does not count.
enum SoakVerdict {
    /// What the last quarter may be above the second one: a tenth of it, and something for chance.
    private struct Measure: Sendable {
        let name: String
        let slack: Double
        let value: @Sendable (SoakSample) -> Double
    }

    private static let measures = [
        Measure(name: "anonymous memory (KiB)", slack: 8192) { Double($0.anonymousKibibytes) },
        Measure(name: "files", slack: 16) { Double($0.files) },
        Measure(name: "open descriptors", slack: 8) { Double($0.descriptors) },
        Measure(name: "threads", slack: 4) { Double($0.threads) },
    ]

    /// What a sample has beyond a bound, in a sentence each, the worst of all samples; empty: nothing.
    static func breaches(in samples: [SoakSample], memoryBytes: Int, diskBytes: Int) -> [String] {
        var found: [String] = []
        // Nothing is pinned, so memory's limit holds at any moment.
        let memory = samples.map(\.memoryWeight).max() ?? 0
        if memory > memoryBytes { found.append("memory held \(memory) bytes of \(memoryBytes)") }
        // The disk's is kept in the background: what was written in the last moments may lie above it.
        let store = samples.map(\.storeBytes).max() ?? 0
        if store > UInt64(diskBytes + diskBytes / 8) { found.append("the store held \(store) bytes of \(diskBytes)") }
        // For a moment a compaction's inputs lie in the folder beside its outputs.
        let folder = samples.map(\.diskBytes).max() ?? 0
        if folder > UInt64(diskBytes + diskBytes / 2) {
            found.append("the folder held \(folder) bytes of \(diskBytes)")
        }
        return found
    }

    /// What a soak was to be judged by and never met, in a sentence each; empty: it met everything.
    static func unmet(evictions: UInt64, expired: UInt64, diskEvictions: UInt64) -> [String] {
        let met = [("left memory", evictions), ("expired", expired), ("left the disk", diskEvictions)]
        return met.filter { $0.1 == 0 }.map { "nothing \($0.0): too few operations to tell" }
    }

    /// What grew, in a sentence each; empty: nothing did. The disk is bounded, and judged by that.
    static func growth(in samples: [SoakSample]) -> [String] {
        let quarter = samples.count / 4
        guard quarter > 0 else { return ["too few samples to tell"] }
        return measures.compactMap { measure in
            func mean(_ part: ArraySlice<SoakSample>) -> Double {
                part.reduce(0) { $0 + measure.value($1) } / Double(part.count)
            }
            let early = mean(samples[quarter..<2 * quarter])
            let late = mean(samples.suffix(quarter))
            guard late > early * 1.1 + measure.slack else { return nil }
            return "\(measure.name) grew from \(Int(early)) to \(Int(late))"
        }
    }
}
