import Foundation

/// `cache_restart`: what a service's hit ratio does when its process is killed. Three processes serve the same requests
/// in turn: one until its cache is full and steady, then SIGKILL; one that opens what it left (warm); one that begins with
/// nothing (cold). Memory has room for a tenth of the records, the disk for half, which is full of what is asked
/// for less when the traffic begins; the source takes 2 ms.
struct CacheRestartWorkload: Sendable {
    enum Phase: String, Codable, Sendable, CaseIterable { case before, warm, cold }

    let options: BenchOptions
    let folder: BenchFolder
    /// The arguments that make a child serve one phase in the folder.
    let childArguments: @Sendable (Phase) -> [String]

    func run(_ report: (ResultLine) throws -> Void) throws {
        var seen: [Phase: [TrafficSlice]] = [:]
        for phase in Phase.allCases {
            if phase != .warm { try folder.removeStore() }
            seen[phase] = try play(phase, report)
        }
        try folder.removeStore()
        let summary = CacheRestartSummary(seen)
        try report(summary.line(options))
        if let missed = summary.missed { throw BenchFailure("cache_restart: " + missed) }
    }

    /// Runs a child until it has killed itself, and hands on what it says meanwhile.
    private func play(_ phase: Phase, _ report: (ResultLine) throws -> Void) throws -> [TrafficSlice] {
        let child = Process()
        child.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        child.arguments = childArguments(phase)
        let output = Pipe()
        child.standardOutput = output
        try child.run()
        defer { if child.isRunning { kill(child.processIdentifier, SIGKILL) } }
        var slices: [TrafficSlice] = []
        var pending = Data()
        while let data = try output.fileHandleForReading.read(upToCount: 4096), !data.isEmpty {
            pending += data
            while let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
                let slice = try JSONDecoder().decode(TrafficSlice.self, from: Data(pending[..<end]))
                pending = Data(pending[(end + 1)...])
                slices.append(slice)
                try report(line(phase, slice))
            }
        }
        child.waitUntilExit()
        guard child.terminationReason == .uncaughtSignal, child.terminationStatus == SIGKILL, !slices.isEmpty else {
            throw BenchFailure("cache_restart: the process that should have been killed ended otherwise (\(phase))")
        }
        return slices
    }

    private func line(_ phase: Phase, _ slice: TrafficSlice) -> ResultLine {
        var line = ResultLine()
        line.add("workload", "cache_restart")
        line.add("phase", phase.rawValue)
        line.add("secs", slice.seconds)
        line.add("open_ms", slice.openMilliseconds)
        line.add("ops", slice.requests)
        line.add("hit_ratio", slice.hitRatio)
        line.add("memory_hit_ratio", slice.memoryHitRatio)
        line.add("mean_us", slice.meanMicroseconds)
        line.add("p99_us", slice.p99Microseconds)
        return line
    }
}

/// What the three processes of `cache_restart` say when laid beside each other.
struct CacheRestartSummary {
    /// Over the last quarter of the first process.
    let hitRatioBefore: Double
    let memoryHitRatioBefore: Double
    /// Seconds from opening until 95 % of the earlier ratio are reached; nil: not reached.
    let warm, warmMemory, cold, coldMemory: Double?
    /// Of fewer requests no ratio is taken.
    private static let enoughRequests: UInt64 = 100
    private let isTelling: Bool

    init(_ seen: [CacheRestartWorkload.Phase: [TrafficSlice]]) {
        let steady = seen[.before, default: []].suffix(max(1, seen[.before, default: []].count / 4))
        let requests = Double(max(1, steady.reduce(0) { $0 + $1.requests }))
        let ratio = Double(steady.reduce(0) { $0 + $1.hits }) / requests
        let memoryRatio = Double(steady.reduce(0) { $0 + $1.memoryHits }) / requests
        (hitRatioBefore, memoryHitRatioBefore) = (ratio, memoryRatio)
        isTelling = steady.contains { $0.requests >= Self.enoughRequests } && ratio > 0 && memoryRatio > 0
        func first(_ phase: CacheRestartWorkload.Phase, _ isReached: (TrafficSlice) -> Bool) -> Double? {
            seen[phase]?.first { $0.requests >= Self.enoughRequests && isReached($0) }?.seconds
        }
        warm = first(.warm) { $0.hitRatio >= 0.95 * ratio }
        warmMemory = first(.warm) { $0.memoryHitRatio >= 0.95 * memoryRatio }
        cold = first(.cold) { $0.hitRatio >= 0.95 * ratio }
        coldMemory = first(.cold) { $0.memoryHitRatio >= 0.95 * memoryRatio }
    }

    /// What the warm start missed: to reach 95 % of the earlier ratios in ten seconds, and before a cold one; nil: nothing.
    var missed: String? {
        if !isTelling { return "there were too few requests or hits before the kill to tell" }
        for (name, warm, cold) in [("hit ratio", warm, cold), ("hit ratio of memory", warmMemory, coldMemory)] {
            guard let warm, warm <= 10 else {
                return "the warm start did not reach 95 % of the earlier \(name) in 10 s"
            }
            if let cold, cold <= warm {
                return "a cold start reached 95 % of the earlier \(name) no later than the warm one"
            }
        }
        return nil
    }

    func line(_ options: BenchOptions) -> ResultLine {
        var line = ResultLine()
        line.add("workload", "cache_restart")
        line.add("phase", "summary")
        line.add("n", options.records)
        line.add("v", options.valueLength)
        line.add("rate", options.rate)
        line.add("hit_ratio_before", hitRatioBefore)
        line.add("memory_hit_ratio_before", memoryHitRatioBefore)
        // A time that was not reached is left out.
        for (name, time) in [
            ("warm_95_s", warm), ("warm_memory_95_s", warmMemory), ("cold_95_s", cold),
            ("cold_memory_95_s", coldMemory),
        ] {
            if let time { line.add(name, time) }
        }
        return line
    }
}
