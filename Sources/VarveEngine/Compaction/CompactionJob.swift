internal import VarveIO

/// Carries out one compaction that the picker chose: merges its inputs into new tables of the output level.
///
/// A value; `run` is called once, on a thread that may block. It reads its inputs with large reads past the block cache.
/// When it throws (an error, or `.cancelled`) its outputs are removed and nothing has changed. It holds the version, so
/// the inputs stay while it runs.
struct CompactionJob {
    let compaction: Compaction
    /// The version that the compaction was chosen from, or a later one with the same inputs.
    let version: Version
    /// See `RetentionRules`.
    let snapshots: [LSN]
    let horizon: LSN
    let now: Timestamp
    /// Asked only where the compaction makes room, or the store or a namespace is full.
    let policy: (any EvictionPolicy)?
    /// See `RetentionRules`.
    let judge: (any InvalidationJudge)?
    let front: (any FrontTier)?
    let targetBytes: UInt64
    let control: JobControl
    /// Tables of which it is known that they, or parts of them, cannot be read. One is an input only where somebody asked
    /// for just that.
    let unreadable: Set<FileNumber>
    let openTable: (TableFile) throws(VarveError) -> TableReader

    init(
        _ compaction: Compaction, version: Version, snapshots: [LSN], horizon: LSN, now: Timestamp,
        policy: (any EvictionPolicy)? = nil, judge: (any InvalidationJudge)? = nil,
        front: (any FrontTier)? = nil, targetBytes: UInt64, control: JobControl, unreadable: Set<FileNumber> = [],
        openTable: @escaping (TableFile) throws(VarveError) -> TableReader
    ) {
        self.compaction = compaction
        self.version = version
        self.snapshots = snapshots
        self.horizon = horizon
        self.now = now
        self.policy = policy
        self.judge = judge
        self.front = front
        self.targetBytes = targetBytes
        self.control = control
        self.unreadable = unreadable
        self.openTable = openTable
    }

    func run(into outputs: TableOutputs) throws(VarveError) -> RunResult {
        try run(into: outputs, try quotaPlans())
    }

    /// Nil, with nothing written: it would have been for namespaces over their limits, and they have nothing here that
    /// should go.
    func runUnlessVain(into outputs: TableOutputs) throws(VarveError) -> RunResult? {
        let plans = try quotaPlans()
        if case .quota = compaction.reason, !compaction.onlyCarriesDown, plans.allSatisfy(\.isPoor) { return nil }
        return try run(into: outputs, plans)
    }

    private func run(into outputs: TableOutputs, _ plans: [QuotaPlan]) throws(VarveError) -> RunResult {
        let inputs = try openInputs()
        let store = storePass()
        let rules = RetentionRules(
            snapshots: snapshots, horizon: horizon, now: now, tombstones: RangeTombstones(union: inputs.tombstones),
            beneath: try beneath(), judge: judge, front: store == nil ? nil : front)
        let merge = MergingCursor(inputs.sources)
        return try outputs.fill { () throws(VarveError) in
            let writer = RunWriter(
                merge, isFromAbove: inputs.isFromAbove, rules: rules, eviction: evictionPass(plans, store),
                splitter: splitter(), control: control, open: { () throws(VarveError) in try outputs.open() })
            return try writer.run()
        }
    }

    /// The edit that installs the result: inputs out, outputs in, floors raised, all at once.
    func edit(for result: RunResult) -> VersionEdit {
        var edit = compaction.removal
        result.apply(to: &edit, level: compaction.outputLevel)
        return edit
    }

    /// Of the changes in the inputs; nil where no input knows.
    var commitTimes: ClosedRange<Timestamp>? {
        let properties = compaction.inputs.map(\.file.properties)
        guard let first = properties.map(\.smallestCommitTime).min(),
            let last = properties.map(\.largestCommitTime).max(), first <= last
        else { return nil }
        return first...last
    }

    /// Sweeps, and rewrites of what has expired, let go of single entries among many runs: there the filters of the older
    /// ones are asked as well, or each would leave a tombstone.
    private func beneath() throws(VarveError) -> KeysBeneath {
        switch compaction.reason {
        case .sweep, .eviction, .expired, .quota: break
        default: return KeysBeneath(version, compaction)
        }
        var tables: [TableReader] = []
        for file in KeysBeneath.tables(version, compaction) {
            do throws(VarveError) {
                tables.append(try openTable(file))
            } catch {
                // One without a filter may hold any key of its range.
                guard unreadable.contains(file.number) else { throw error }
                return KeysBeneath(version, compaction)
            }
        }
        return KeysBeneath(version, compaction).narrowed(to: tables)
    }

    private struct Inputs {
        var sources: [SourceCursor] = []
        var isFromAbove: [Bool] = []
        var tombstones: [RangeTombstones] = []
    }

    /// Tables of level 0 one by one, a sorted level as one source.
    private func openInputs() throws(VarveError) -> Inputs {
        var inputs = Inputs()
        let isAbove = compaction.upperLevel < compaction.outputLevel
        if compaction.upperLevel == 0 {
            for file in compaction.upper {
                inputs.sources.append(.table(try openTable(file).makeCursor(access: .sequential)))
                inputs.isFromAbove.append(isAbove)
            }
        } else {
            inputs.sources.append(level(compaction.upper))
            inputs.isFromAbove.append(isAbove)
        }
        if !compaction.lower.isEmpty {
            inputs.sources.append(level(compaction.lower))
            inputs.isFromAbove.append(false)
        }
        for file in compaction.upper + compaction.lower where file.properties.rangeTombstoneCount > 0 {
            inputs.tombstones.append(try openTable(file).rangeTombstones)
        }
        return inputs
    }

    private func level(_ files: [TableFile]) -> SourceCursor {
        let tables = Version.Level(files, isSorted: true)
        return .level(
            TableLevelCursor(tables) { (file: TableFile) throws(VarveError) in
                try openTable(file).makeCursor(access: .sequential)
            })
    }

    /// Reads what overfull namespaces have in the inputs once before the merge does.
    private func quotaPlans() throws(VarveError) -> [QuotaPlan] {
        guard let policy, !compaction.quotas.isEmpty else { return [] }
        let inputs = try openInputs()
        let scan = QuotaScan(
            merge: MergingCursor(inputs.sources), readers: RetentionRules.readers(snapshots, horizon),
            tombstones: RangeTombstones(union: inputs.tombstones), now: now, judge: judge, front: front,
            policy: policy, control: control)
        let properties = compaction.inputs.map(\.file.properties)
        var plans: [QuotaPlan] = []
        for goal in compaction.quotas {
            let plan = try scan.plan(
                goal, oldest: properties.map(\.smallestLSN).min() ?? .zero,
                newest: properties.map(\.largestLSN).max() ?? .zero)
            if plan.isPoor { try scan.cool(plan) }
            plans.append(plan)
        }
        return plans
    }

    private func evictionPass(_ plans: [QuotaPlan], _ store: (any EvictionPass)?) -> (any EvictionPass)? {
        guard let policy, !plans.isEmpty else { return store }
        return QuotaPass(plans, policy, store: store)
    }

    private func storePass() -> (any EvictionPass)? {
        guard let policy else { return nil }
        let share: Double
        var kind = EvictionGoal.Kind.sweep
        switch compaction.reason {
        case .eviction(let wanted): share = wanted
        case .sweep(let isFresh, let wanted):
            share = wanted
            if isFresh { kind = .fresh }
        default:
            guard compaction.isAsked else { return nil }
            share = 0
            kind = .entering
        }
        let properties = compaction.inputs.map(\.file.properties)
        return policy.makePass(
            EvictionGoal(
                inputBytes: properties.reduce(0) { $0 &+ $1.rawKeyBytes &+ $1.rawEntryBytes }, share: share,
                oldest: properties.map(\.smallestLSN).min() ?? .zero,
                newest: properties.map(\.largestLSN).max() ?? .zero, kind: kind, storeEntries: version.putCount))
    }

    /// An output may overlap as much of the level beneath as makes its own compaction ten times its size.
    private func splitter() -> OutputSplitter {
        // Runs of level 0 may overlap, so one is not split: it would only make more of them to look into.
        if compaction.outputLevel == 0 { return .never }
        let grandparents = compaction.grandparents.map {
            OutputSplitter.Grandparent(range: KeyRange($0.properties), bytes: $0.bytes)
        }
        let limit = targetBytes.multipliedReportingOverflow(by: 10)
        return OutputSplitter(
            targetBytes: targetBytes, grandparents: grandparents,
            maxOverlapBytes: limit.overflow ? .max : limit.partialValue)
    }
}

extension KeysBeneath {
    /// What lies beneath the inputs of a compaction: every table of deeper levels, and of level 0 (when that is where
    /// they come from) every older table that is not an input.
    init(_ version: Version, _ compaction: Compaction) {
        self.init(
            KeysBeneath.tables(version, compaction).map {
                ($0.properties.smallestKey, $0.properties.largestKey, $0.properties.largestKeyIsExclusive)
            })
    }

    static func tables(_ version: Version, _ compaction: Compaction) -> [TableFile] {
        // Levels between the two are empty where the base level is deeper than 1; if not, they count.
        var tables = (compaction.upperLevel + 1..<version.levels.count)
            .filter { $0 != compaction.outputLevel }.flatMap { version.levels[$0].tables }
        if compaction.upperLevel == 0 {
            let inputs = Set(compaction.upper)
            let newest = compaction.upper.map(\.properties.largestLSN).max() ?? .zero
            tables += version.levels[0].tables.filter {
                !inputs.contains($0) && $0.properties.smallestLSN < newest
            }
        }
        let range = compaction.keyRange
        return tables.filter { table in range?.overlaps(KeyRange(table.properties)) ?? false }
    }
}
