/// Work on tables, chosen by `CompactionPicker`. A value: choosing it has changed nothing yet.
enum CompactionAction: Sendable {
    /// Nothing needs doing now.
    case none
    /// Tables whose every entry has expired, or hides nothing: they go by an edit alone.
    case drop(TableDrop)
    /// Tables that change their level by an edit alone.
    case move(TableMove)
    case compact(Compaction)

    /// Whether it is chosen only where too little has expired, or is invalidated, to be worth a rewrite.
    var comesAfterExpired: Bool {
        switch self {
        case .none: true
        case .drop, .move: false
        case .compact(let compaction):
            switch compaction.reason {
            case .eviction, .sweep, .quota, .tombstones: true
            case .levelZero, .withinLevelZero, .levelSize, .expired, .manual: false
            }
        }
    }
}

struct TableDrop: Sendable {
    let tables: [LeveledTable]
    var edit: VersionEdit {
        var edit = VersionEdit()
        for table in tables { edit.remove(table.file.number, level: table.level) }
        return edit
    }
}

struct TableMove: Sendable {
    let tables: [LeveledTable]
    let outputLevel: Int
    var edit: VersionEdit {
        var edit = VersionEdit()
        for table in tables {
            edit.remove(table.file.number, level: table.level)
            edit.add(table.file.number, table.file.properties, level: outputLevel)
        }
        return edit
    }
}

/// A table and the level it is in.
struct LeveledTable: Hashable, Sendable {
    let level: Int
    let file: TableFile
}

/// Inputs that are merged into new tables of one level, in one version edit.
struct Compaction: Sendable {
    enum Reason: Hashable, Sendable {
        /// Level 0 is merged into the base level.
        case levelZero
        /// Tables of level 0 are merged into one, because the base level is busy or far larger.
        case withinLevelZero
        /// A level is above its target.
        case levelSize
        /// Much of the table has expired, or carries dropped tags.
        case expired
        /// The table holds tombstones that should reach what they hide.
        case tombstones
        /// The store is over its disk budget: entries of the last level go, by the eviction policy, until about this
        /// share of the input's bytes is dropped.
        case eviction(share: Double)
        /// The store is over its budget: tables are rewritten where they are, and what the policy can do without goes.
        /// `isFresh`: none of them was swept before. `share`: what should go at least, however much was read.
        case sweep(isFresh: Bool, share: Double)
        /// This namespace is over its own limit.
        case quota(NamespaceID)
        /// Asked for.
        case manual
    }

    let reason: Reason
    /// Tables of the upper input level, in that level's order.
    let upper: [TableFile]
    let upperLevel: Int
    /// Tables of `outputLevel` that overlap them, in order. Empty where the upper level is the output level.
    let lower: [TableFile]
    let outputLevel: Int
    /// Whether no table outside the inputs is older than them and shares their keys: then tombstones that hide nothing
    /// any more may go (by the dropping rule, key by key).
    let isBottommost: Bool
    /// Where outputs should end, so that none overlaps too much of the level beneath: smallest keys of its tables, with
    /// their sizes. Empty beneath the last level.
    let grandparents: [TableFile]
    /// The store is full, and this carries entries into the last level: the policy may refuse them.
    var isAsked = false
    /// What namespaces that are over their own limits should lose.
    var quotas: [QuotaGoal] = []

    /// A pass over a namespace that lets nothing go yet: it brings tables nearer to where that can be decided.
    var onlyCarriesDown: Bool { quotas.isEmpty && upperLevel < outputLevel }

    var inputs: [LeveledTable] {
        upper.map { LeveledTable(level: upperLevel, file: $0) }
            + lower.map { LeveledTable(level: outputLevel, file: $0) }
    }
    var inputBytes: UInt64 { (upper + lower).reduce(0) { $0 &+ $1.bytes } }
    /// What the outputs may take while the inputs are still there.
    var outputBytesEstimate: UInt64 { inputBytes }
    /// Every key of inputs and outputs.
    var keyRange: KeyRange? { KeyRange(spanning: upper + lower) }

    /// An edit that removes the inputs; the job adds its outputs and floors.
    var removal: VersionEdit {
        var edit = VersionEdit()
        for table in inputs { edit.remove(table.file.number, level: table.level) }
        return edit
    }
}
