/// Chooses the next work on tables. Pure: a version, the time and the space taken go in, an action comes out; carrying
/// it out is `CompactionLoop`'s. One compaction runs at a time, so nothing that is being compacted needs avoiding.
///
/// In this order: tables that go whole because they have expired; level 0; the level furthest above its target; tables
/// of which much has expired or is invalidated; eviction when the store takes more than its budget lets tables have,
/// or a namespace more than its own limit; old tombstones.
struct CompactionPicker: Sendable {
    let options: CompactionOptions

    /// What the choice depends on beside the version.
    struct Situation: Sendable {
        /// The store clock.
        var now: Timestamp
        /// The last commit time: what the age of tombstones counts from.
        var commitTime: Timestamp
        /// Bytes that tables may take; nil: no budget.
        var tableBudget: UInt64?
        /// Entries that tables may hold; nil: any number.
        var entryBudget: UInt64?
        /// Where the last compaction of each level ended, so that a level is gone through in turn.
        var cursors: [[UInt8]]
        /// Tables that a sweep or a merge of runs has written since the store was opened, or that were there then.
        var swept: Set<FileNumber> = []
        /// Sweeps in a row, since something was flushed last, that let hardly anything go.
        var poorSweeps = 0
        /// See `EvictionPolicy`.
        var prefersFresh = false
        /// Tables that cannot be read: no compaction that nobody asked for has one among its inputs.
        var damaged: Set<FileNumber> = []
        /// Nothing is being written: what waits for more of its kind waits no longer, where it is worth its while.
        var isIdle = false
        /// What namespaces may take, and how far the passes over them are.
        var limits: [NamespaceID: NamespaceLimit] = [:]
        var quotaProgress: [NamespaceID: QuotaProgress] = [:]
        /// Of each table the share of its bytes, in 0...1, that goes when it is rewritten, because it was
        /// invalidated.
        var invalidated: [FileNumber: Double] = [:]

        /// How much of its budgets the store takes.
        func occupancy(of version: Version) -> Double {
            var share = 0.0
            if let tableBudget { share = Double(version.tableBytes) / Double(max(1, tableBudget)) }
            if let entryBudget { share = max(share, Double(version.putCount) / Double(max(1, entryBudget))) }
            return share
        }
    }

    func pick(_ version: Version, _ situation: Situation) -> CompactionAction {
        let isInRuns = options.runs > 0
        let action = isInRuns ? pickForRuns(version, situation) : pickForLevels(version, situation)
        guard case .compact(var compaction) = action else { return action }
        compaction.isAsked =
            !isInRuns && compaction.outputLevel == version.levels.count - 1
            && compaction.upperLevel < compaction.outputLevel && situation.occupancy(of: version) > 1
        addQuotas(to: &compaction, version, situation)
        return .compact(compaction)
    }

    private func pickForLevels(_ version: Version, _ situation: Situation) -> CompactionAction {
        if let drop = expiredWhole(version, situation) { return .drop(drop) }
        let targets = LevelTargets(version, running: [], options: options)
        if isLevelZeroDue(version, targets, situation) {
            if let compaction = sound(levelZero(version), situation) { return .compact(compaction) }
            if let compaction = merge(version, situation, above: options.levelZeroLimit) { return .compact(compaction) }
        }
        if let action = overfull(version, targets, situation) { return action }
        if let compaction = expiredHeavy(version, situation) { return .compact(compaction) }
        if let compaction = eviction(version, situation) { return .compact(compaction) }
        if let compaction = quota(version, situation) { return .compact(compaction) }
        if let compaction = tombstones(version, targets, situation) { return .compact(compaction) }
        return .none
    }

    // MARK: Expired

    /// Tables whose every put has expired and that nothing older needs: an edit alone removes them.
    func expiredWhole(_ version: Version, _ situation: Situation) -> TableDrop? {
        var tables: [LeveledTable] = []
        for (level, content) in version.levels.enumerated() {
            for file in content.tables {
                let properties = file.properties
                // A floor must be raised for each source version that goes, and a compaction does that.
                guard properties.putCount > 0, properties.latestUsableUntil <= situation.now,
                    properties.rangeTombstoneCount == 0, properties.sourceVersionCount == 0,
                    !version.hasOlder(than: properties.smallestLSN, at: level, overlapping: KeyRange(properties))
                else { continue }
                tables.append(LeveledTable(level: level, file: file))
            }
        }
        return tables.isEmpty ? nil : TableDrop(tables: tables)
    }

    /// About how many bytes of the tables have expired.
    static func expiredBytes(_ version: Version, at now: Timestamp) -> UInt64 {
        version.allTables.reduce(0) { $0 &+ UInt64(Double($1.bytes) * $1.properties.expiredShare(at: now)) }
    }

    /// The share of a table's bytes that goes by rule when it is rewritten. What is expired and invalidated counts twice.
    private static func goneShare(of file: TableFile, _ situation: Situation) -> Double {
        min(1, file.properties.expiredShare(at: situation.now) + (situation.invalidated[file.number] ?? 0))
    }

    /// The table with the most bytes that are expired or invalidated, once these near the bound on the store as a whole.
    func expiredHeavy(_ version: Version, _ situation: Situation) -> Compaction? {
        // What cannot be read is not rewritten either, so it is in no sum.
        var (total, all) = (0.0, 0.0)
        var best: (level: Int, file: TableFile, bytes: Double)?
        for (level, content) in version.levels.enumerated() {
            for file in content.tables where isSound(file, situation) {
                let bytes = Double(file.bytes) * CompactionPicker.goneShare(of: file, situation)
                all += Double(file.bytes)
                total += bytes
                if bytes > best?.bytes ?? 0 { best = (level, file, bytes) }
            }
        }
        guard let best, total > options.expiredShare * CompactionOptions.expiredSlack * all else { return nil }
        // In the last level expired entries go where they are; above it they may hide something, and go down.
        let here = within(best.level, [best.file], .expired, version)
        if best.level == 0 { return options.runs > 0 ? here : sound(levelZero(version), situation) ?? here }
        if best.level == version.levels.count - 1 { return here }
        return sound(down(best.level, [best.file], .expired, version), situation) ?? here
    }

    // MARK: Levels

    private func isLevelZeroDue(_ version: Version, _ targets: LevelTargets, _ situation: Situation) -> Bool {
        let level = version.levels[0]
        if situation.isIdle, isWorthSettling(level, version.levels[targets.baseLevel]) { return true }
        guard level.tables.count >= options.levelZeroTrigger else { return false }
        if level.tables.count >= options.levelZeroLimit { return true }
        // A merge rewrites the base level: wait for more where it is far larger.
        return Double(level.bytes) >= CompactionOptions.costShare * Double(version.levels[targets.baseLevel].bytes)
    }

    /// Whether an idle store brings level 0 down, though it could wait: where it may hide much of the base level, or holds
    /// range tombstones.
    private func isWorthSettling(_ level: Version.Level, _ base: Version.Level) -> Bool {
        if level.tables.contains(where: { $0.properties.rangeTombstoneCount > 0 }) { return true }
        return level.tables.count > 1 && Double(level.bytes) >= CompactionOptions.idleShare * Double(base.bytes)
    }

    /// Of level 0 all goes, since its tables overlap.
    func levelZero(_ version: Version, reason: Compaction.Reason = .levelZero) -> Compaction {
        let targets = LevelTargets(version, running: [], options: options)
        let upper = version.levels[0].tables
        let lower = KeyRange(spanning: upper).map { version.tables(in: targets.baseLevel, overlapping: $0) } ?? []
        return make(reason, upper, 0, Array(lower), targets.baseLevel, version)
    }

    /// The level that is furthest above its target gives a table to the level beneath.
    func overfull(
        _ version: Version, _ targets: LevelTargets, _ situation: Situation
    ) -> CompactionAction? {
        let last = version.levels.count - 1
        let scores = (targets.baseLevel..<max(targets.baseLevel, last)).map {
            ($0, targets.score(of: $0, bytes: version.levels[$0].bytes))
        }
        for (level, _) in scores.filter({ $0.1 > 1 }).sorted(by: { $0.1 > $1.1 }) {
            let tables = version.levels[level].tables
            let after = situation.cursors[level]
            let start = tables.firstIndex { after.lexicographicallyPrecedes($0.properties.smallestKey) } ?? 0
            for file in [tables[start...], tables[..<start]].joined() {
                guard let compaction = sound(down(level, [file], .levelSize, version), situation) else { continue }
                if compaction.lower.isEmpty, isMovable(file, to: level + 1) {
                    return .move(TableMove(tables: [LeveledTable(level: level, file: file)], outputLevel: level + 1))
                }
                return .compact(compaction)
            }
        }
        return nil
    }

    /// A table that holds tombstones is rewritten on its way down, so that they can go.
    private func isMovable(_ file: TableFile, to level: Int) -> Bool {
        file.properties.rangeTombstoneCount == 0 && (level < Limits.levels - 1 || file.properties.deleteCount == 0)
            && level - 1 >= options.uncompressedLevels
    }

    // MARK: Space

    /// A rewrite of part of the last level that drops what the eviction policy can best do without.
    private func eviction(_ version: Version, _ situation: Situation) -> Compaction? {
        guard version.tableBytes > 0, situation.occupancy(of: version) > 1 else { return nil }
        let budget = situation.evictionTarget(of: version)
        guard let level = deepestSound(version, situation) else { return nil }
        let tables = version.levels[level].tables
        // What that level has left may be what cannot go, and what lies above never comes down to it.
        let isPoor = situation.poorSweeps >= CompactionOptions.poorSweeps
        if !situation.damaged.isEmpty, level == 0 || isPoor { return evictionRoundDamage(version, budget, situation) }
        // What stands above the last level comes down first: eviction decides there.
        if level == 0 { return levelZeroEviction(version, budget) }
        let after = situation.cursors[level]
        let places = tables.indices.filter { isSound(tables[$0], situation) }
        guard
            let start = places.first(where: { after.lexicographicallyPrecedes(tables[$0].properties.smallestKey) })
                ?? places.first
        else { return nil }
        var inputs: [TableFile] = []
        var bytes: UInt64 = 0
        for file in tables[start...] {
            // Neighbours only: outputs must not span a table that is left out.
            guard inputs.isEmpty || (isSound(file, situation) && bytes &+ file.bytes <= options.compactionBytes / 4)
            else { break }
            inputs.append(file)
            bytes &+= file.bytes
        }
        let excess = Double(version.tableBytes - budget) / Double(max(1, version.levels[level].bytes))
        let share = min(1, max(CompactionOptions.evictionShare, excess))
        return within(level, inputs, .eviction(share: share), version)
    }

    private func levelZeroEviction(_ version: Version, _ budget: UInt64) -> Compaction {
        let share = Double(version.tableBytes - budget) / Double(version.tableBytes)
        return make(
            .eviction(share: min(1, max(CompactionOptions.evictionShare, share))), version.levels[0].tables, 0, [],
            version.levels.count - 1, version)
    }

    /// The oldest table whose tombstones have waited long enough.
    private func tombstones(
        _ version: Version, _ targets: LevelTargets, _ situation: Situation
    ) -> Compaction? {
        let last = version.levels.count - 1
        var best: (level: Int, file: TableFile)?
        for level in 1...last {
            for file in version.levels[level].tables {
                let properties = file.properties
                guard properties.rangeTombstoneCount > 0 || properties.deleteCount > properties.putCount,
                    situation.isIdle || properties.largestCommitTime < situation.commitTime &- options.tombstoneAge
                else { continue }
                // In the last level only a snapshot can have kept it; it goes with the next rewrite.
                guard level < last, isSound(file, situation),
                    situation.damaged.isEmpty || sound(down(level, [file], .tombstones, version), situation) != nil
                else { continue }
                if best.map({ properties.largestCommitTime < $0.file.properties.largestCommitTime }) ?? true {
                    best = (level, file)
                }
            }
        }
        return best.map { down($0.level, [$0.file], .tombstones, version) }
    }

    // MARK: Asked for

    /// Steps that bring everything in [begin, end) down to the last level, one for each level that holds some of it;
    /// nil once it is done. Ends with a rewrite of the last level, so that what can be forgotten is.
    func manual(_ version: Version, from level: Int, _ range: KeyRange?) -> Compaction? {
        let last = version.levels.count - 1
        func touched(_ level: Int) -> [TableFile] {
            range.map { Array(version.tables(in: level, overlapping: $0)) } ?? version.levels[level].tables
        }
        if level == 0 {
            // Tables of level 0 overlap: the newer may not pass the older, so all go.
            guard !touched(0).isEmpty else { return nil }
            let upper = version.levels[0].tables
            let output = (1..<last).first { !version.levels[$0].tables.isEmpty } ?? last
            let lower = KeyRange(spanning: upper).map { version.tables(in: output, overlapping: $0) } ?? []
            return make(.manual, upper, 0, Array(lower), output, version)
        }
        let upper = touched(level)
        guard !upper.isEmpty else { return nil }
        return level == last ? within(last, upper, .manual, version) : down(level, upper, .manual, version)
    }

    // MARK: Making one

    func down(
        _ level: Int, _ upper: [TableFile], _ reason: Compaction.Reason, _ version: Version
    ) -> Compaction {
        let lower = KeyRange(spanning: upper).map { version.tables(in: level + 1, overlapping: $0) } ?? []
        return make(reason, upper, level, Array(lower), level + 1, version)
    }

    func within(
        _ level: Int, _ files: [TableFile], _ reason: Compaction.Reason, _ version: Version
    ) -> Compaction {
        make(reason, files, level, [], level, version)
    }

    func make(
        _ reason: Compaction.Reason, _ upper: [TableFile], _ upperLevel: Int, _ lower: [TableFile], _ output: Int,
        _ version: Version
    ) -> Compaction {
        let range = KeyRange(spanning: upper + lower)
        let beneath = range.map { version.hasTables(below: output, overlapping: $0) } ?? false
        let grandparents =
            output + 1 < version.levels.count
            ? range.map { Array(version.tables(in: output + 1, overlapping: $0)) } ?? [] : []
        return Compaction(
            reason: reason, upper: upper, upperLevel: upperLevel, lower: lower, outputLevel: output,
            isBottommost: !beneath, grandparents: grandparents)
    }
}
