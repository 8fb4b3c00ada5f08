/// The choices for a store that keeps its tables as runs (`CompactionOptions.runs`).
///
/// The runs are a queue by file number: what was written last has the highest, be it a flush, a sweep or a merge. Over
/// the budget the lowest is swept. In the order of LSNs, which reads go by, a table stays where it was.
extension CompactionPicker {
    func pickForRuns(_ version: Version, _ situation: Situation) -> CompactionAction {
        if let drop = expiredWhole(version, situation) { return .drop(drop) }
        let targets = LevelTargets(version, running: [], options: options)
        if let action = overfull(version, targets, situation) { return action }
        if let compaction = expiredHeavy(version, situation) { return .compact(compaction) }
        if situation.occupancy(of: version) > 1, let compaction = sweep(version, situation) {
            return .compact(compaction)
        }
        if let compaction = quota(version, situation) { return .compact(compaction) }
        let most = max(4, options.runs * CompactionOptions.runSlack)
        if let compaction = merge(version, situation, above: most) { return .compact(compaction) }
        return .none
    }

    /// The table that was written longest ago, with neighbours that are next in the queue, as long as together they
    /// should come out no larger than a run: so sweeps do not leave ever smaller tables.
    private func sweep(_ version: Version, _ situation: Situation) -> Compaction? {
        let total = version.putCount
        let share = situation.poorSweeps < CompactionOptions.poorSweeps ? 0 : CompactionOptions.sweepShare
        var isFresh = false
        var candidates = version.allTables.filter { isSound($0, situation) }
        if situation.prefersFresh {
            let fresh = version.levels[0].tables.filter {
                isSound($0, situation) && !situation.swept.contains($0.number)
            }
            let entries = fresh.reduce(0) { $0 &+ $1.properties.putCount }
            isFresh = Double(entries) > CompactionOptions.freshShare * Double(total)
            let rest = candidates.filter { situation.swept.contains($0.number) }
            candidates = isFresh || rest.isEmpty ? fresh : rest
        }
        guard let first = candidates.min(by: { $0.number < $1.number }),
            let level = version.levels.firstIndex(where: { $0.tables.contains(first) })
        else { return nil }
        guard level == 0 else { return within(level, [first], .sweep(isFresh: false, share: share), version) }
        let run = max(1, total / UInt64(max(1, options.runs)))
        var queue = candidates.sorted { $0.number < $1.number }.dropFirst()
        let runs = version.levels[0].tables
        guard let place = runs.firstIndex(of: first) else { return nil }
        var (low, high) = (place, place)
        var entries = first.properties.putCount
        while let next = queue.popFirst(), entries &+ next.properties.putCount <= 2 * run {
            // Neighbours only: the order of LSNs must hold.
            if high + 1 < runs.count, runs[high + 1] == next {
                high += 1
            } else if low > 0, runs[low - 1] == next {
                low -= 1
            } else {
                break
            }
            entries &+= next.properties.putCount
        }
        return within(0, Array(runs[low...high]), .sweep(isFresh: isFresh, share: share), version)
    }

    /// Four neighbours that are the cheapest to make one, once there are far too many runs; two, where damaged ones lie
    /// between them.
    func merge(_ version: Version, _ situation: Situation, above most: Int) -> Compaction? {
        let runs = version.levels[0].tables
        guard runs.count(where: { isSound($0, situation) }) > most else { return nil }
        for width in [4, 2] where width <= runs.count {
            let places = (0...runs.count - width).filter {
                runs[$0..<$0 + width].allSatisfy { isSound($0, situation) }
            }
            let cheapest = places.min { bytes(runs[$0..<$0 + width]) < bytes(runs[$1..<$1 + width]) }
            if let cheapest { return within(0, Array(runs[cheapest..<cheapest + width]), .withinLevelZero, version) }
        }
        return nil
    }

    private func bytes(_ tables: ArraySlice<TableFile>) -> UInt64 { tables.reduce(0) { $0 &+ $1.bytes } }
}

extension CompactionPicker.Situation {
    /// Bytes of tables at which the budget that is exceeded the most would be kept.
    func evictionTarget(of version: Version) -> UInt64 {
        UInt64(Double(version.tableBytes) / max(1, occupancy(of: version)))
    }
}

extension Version {
    /// Puts in all tables: entries, and versions that newer ones hide.
    var putCount: UInt64 {
        levels.reduce(0) { $1.tables.reduce($0) { $0 &+ $1.properties.putCount } }
    }
}
