/// What a compaction should make one namespace lose that takes more than its own limit.
struct QuotaGoal: Hashable, Sendable {
    let namespace: NamespaceID
    /// Of what it has in the inputs, in 0...1.
    let share: Double
    /// How much of what it has at all lies in the inputs, in 0...1.
    var part = 1.0
    /// Whether entries are what it has too much of; else bytes.
    let countsEntries: Bool
    /// Whether what was read goes as well, where the rest does not suffice.
    var isForced = false
}

/// How far the passes over one namespace are.
struct QuotaProgress: Hashable, Sendable {
    /// Where the last pass over a level ended, and the last run that was gone through: the next begins behind it.
    var cursor: [UInt8] = []
    var lastRun: FileNumber = 0
    /// How often a pass over a table found hardly anything to let go: once, and it is tried again when all have been; twice,
    /// and there is nothing but what has to stay.
    var poor: [FileNumber: Int] = [:]
    /// Passes for which the tier in front of the store is not asked: what it called used left nothing to let go.
    var rest = 0
    static let restPasses = 32

    /// Whether a pass has taken off `namespace` about what makes one worth its while: of entries, or of bytes as they lie on
    /// disk, which shrink less evenly.
    static func madeRoom(for namespace: NamespaceID, _ compaction: Compaction, _ outputs: [TableFile]) -> Bool {
        let (before, after) = (NamespaceUse(compaction.inputs.map(\.file))[namespace], NamespaceUse(outputs)[namespace])
        func fell(_ before: UInt64, _ after: UInt64) -> Bool {
            after < before && Double(after) <= (1 - QuotaPlan.worth / 2) * Double(before)
        }
        return fell(before.entries, after.entries) || fell(before.bytes, after.bytes)
    }

    /// Notes how a pass over `inputs` went. `outputs`: what took their place, if anything did.
    mutating func note(_ inputs: [TableFile], outputs: [TableFile]?, madeRoom: Bool) {
        if madeRoom {
            poor = poor.filter { $0.value > 1 }
            return
        }
        guard let outputs else {
            for table in inputs { poor[table.number, default: 0] += 1 }
            return
        }
        let tries = inputs.map { poor[$0.number] ?? 0 }.max() ?? 0
        for table in outputs { poor[table.number] = tries + 1 }
    }
}

/// The choices for namespaces that take more than their own limit. Each pass goes through tables that hold some of one, where
/// they are, and lets only such namespaces lose entries: the oldest that were not read, a quarter of what is there, and more
/// where more has to go. Whatever else carries entries to the bottom makes use of the occasion.
extension CompactionPicker {
    /// Those above their limits and by how much, the worst first.
    func overfull(
        _ version: Version, _ situation: Situation
    ) -> [(namespace: NamespaceID, goal: QuotaGoal, occupancy: Double)] {
        guard !situation.limits.isEmpty else { return [] }
        let use = version.namespaceUse
        return situation.limits.compactMap { namespace, limit in
            let use = use[namespace]
            let occupancy = limit.occupancy(use)
            guard occupancy > 1 else { return nil }
            let goal = QuotaGoal(
                namespace: namespace, share: max(CompactionOptions.evictionShare, 1 - 1 / occupancy),
                countsEntries: limit.countsEntries(use))
            return (namespace, goal, occupancy)
        }.sorted { ($0.occupancy, $1.namespace) > ($1.occupancy, $0.namespace) }
    }

    /// A pass for the namespace that is furthest above its limit.
    func quota(_ version: Version, _ situation: Situation) -> Compaction? {
        for (namespace, _, _) in overfull(version, situation) {
            if let compaction = pass(over: namespace, version, situation) { return compaction }
        }
        return nil
    }

    /// Gives a compaction that ends at the bottom what overfull namespaces should lose in it.
    func addQuotas(to compaction: inout Compaction, _ version: Version, _ situation: Situation) {
        let isWithinRuns = options.runs > 0 && compaction.outputLevel == 0
        // Where damage keeps tables from going down they lose entries where they are.
        let staysAbove = !situation.damaged.isEmpty && compaction.upperLevel == compaction.outputLevel
        guard
            compaction.isBottommost || isWithinRuns || staysAbove || compaction.outputLevel == version.levels.count - 1
        else {
            return
        }
        let present = NamespaceUse(compaction.upper + compaction.lower)
        let all = version.namespaceUse
        compaction.quotas = overfull(version, situation).compactMap { namespace, goal, _ in
            guard let held = present.of[namespace] else { return nil }
            var goal = goal
            goal.part =
                goal.countsEntries
                ? Double(held.entries) / Double(max(1, all[namespace].entries))
                : Double(held.bytes) / Double(max(1, all[namespace].bytes))
            // Only a pass of its own, and only where none of its tables has anything else to give.
            goal.isForced =
                compaction.reason == .quota(namespace)
                && !compaction.inputs.contains { tries(of: $0.file, namespace, situation) == 0 }
            return goal
        }
    }

    private func tries(of file: TableFile, _ namespace: NamespaceID, _ situation: Situation) -> Int {
        situation.quotaProgress[namespace]?.poor[file.number] ?? 0
    }

    private func pass(over namespace: NamespaceID, _ version: Version, _ situation: Situation) -> Compaction? {
        func holds(_ file: TableFile) -> Bool {
            guard isSound(file, situation) else { return false }
            return file.properties.namespaceShares?.contains { $0.namespace == namespace && $0.putCount > 0 } ?? false
        }
        // Whatever its level, a table that was not tried comes before one that would have to be forced.
        let held = version.allTables.filter(holds)
        guard let least = held.map({ tries(of: $0, namespace, situation) }).min(), least < 2 else { return nil }
        let due = Set(held.filter { tries(of: $0, namespace, situation) == least })
        guard let level = version.levels.lastIndex(where: { !due.isDisjoint(with: $0.tables) }) else { return nil }
        let tables = version.levels[level].tables
        let progress = situation.quotaProgress[namespace] ?? QuotaProgress()
        if level == 0 {
            let whole = options.runs > 0 ? nil : sound(levelZero(version, reason: .quota(namespace)), situation)
            if let whole { return whole }
            // The queue of runs is in the order of their numbers.
            let queue = tables.filter(due.contains).sorted { $0.number < $1.number }
            guard let run = queue.first(where: { $0.number > progress.lastRun }) ?? queue.first else { return nil }
            return within(0, [run], .quota(namespace), version)
        }
        let places = tables.indices.filter { due.contains(tables[$0]) }
        let next = places.first { progress.cursor.lexicographicallyPrecedes(tables[$0].properties.smallestKey) }
        guard let start = next ?? places.first else { return nil }
        var inputs: [TableFile] = []
        var bytes: UInt64 = 0
        for file in tables[start...] {
            // Neighbours only: outputs must not span a table that is left out.
            guard inputs.isEmpty || (holds(file) && bytes &+ file.bytes <= options.compactionBytes / 4) else { break }
            inputs.append(file)
            bytes &+= file.bytes
        }
        // Above the bottom they may hide something, and go down to where it is.
        let rewrite = within(level, inputs, .quota(namespace), version)
        if rewrite.isBottommost || level == version.levels.count - 1 { return rewrite }
        return sound(down(level, [tables[start]], .quota(namespace), version), situation) ?? rewrite
    }
}
