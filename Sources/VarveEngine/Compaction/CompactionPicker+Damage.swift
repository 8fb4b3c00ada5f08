/// The choices of a store with tables that cannot be read. They stay where they are: what they hide must not come back, and
/// nobody knows what that is. So does what lies above them and would have to pass; all else goes on.
extension CompactionPicker {
    func isSound(_ file: TableFile, _ situation: Situation) -> Bool { !situation.damaged.contains(file.number) }

    /// `compaction`, unless it would read a damaged table.
    func sound(_ compaction: Compaction, _ situation: Situation) -> Compaction? {
        if situation.damaged.isEmpty { return compaction }
        return compaction.inputs.allSatisfy { isSound($0.file, situation) } ? compaction : nil
    }

    /// The deepest level with a table that can be read.
    func deepestSound(_ version: Version, _ situation: Situation) -> Int? {
        version.levels.indices.last { version.levels[$0].tables.contains { isSound($0, situation) } }
    }

    /// Where the deepest level that can be read has nothing more to give, and what lies above cannot come down to it: the
    /// table that was written longest ago loses entries where it is.
    func evictionRoundDamage(_ version: Version, _ budget: UInt64, _ situation: Situation) -> Compaction? {
        let sound = version.allTables.filter { isSound($0, situation) }
        guard let oldest = sound.min(by: { $0.number < $1.number }),
            let level = version.levels.firstIndex(where: { $0.tables.contains(oldest) })
        else { return nil }
        let bytes = sound.reduce(0) { $0 &+ $1.bytes }
        let excess = Double(version.tableBytes - budget) / Double(max(1, bytes))
        return within(level, [oldest], .eviction(share: min(1, max(CompactionOptions.evictionShare, excess))), version)
    }
}
