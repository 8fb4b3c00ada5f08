internal import VarveIO

/// Writes sealed memtables into one table of level 0.
///
/// Versions that no reader can tell from newer ones go already here; tombstones all stay, since tables beneath may hold
/// what they hide. The caller syncs the log up to the memtables' last LSN before it installs the edit: a table must not
/// know more than the log. Memtables stay readable meanwhile.
///
/// A value; `run` is called once, on a thread that may block. When it throws, nothing is left.
struct FlushJob {
    /// Neighbours in age; nothing else of their LSNs is elsewhere. Newest first.
    let memtables: [Memtable]
    /// See `RetentionRules`.
    let snapshots: [LSN]
    let horizon: LSN
    let now: Timestamp
    let control: JobControl

    init(memtables: [Memtable], snapshots: [LSN], horizon: LSN, now: Timestamp, control: JobControl) {
        self.memtables = memtables
        self.snapshots = snapshots
        self.horizon = horizon
        self.now = now
        self.control = control
    }

    func run(into outputs: TableOutputs) throws(VarveError) -> RunResult {
        let rules = RetentionRules(
            snapshots: snapshots, horizon: horizon, now: now,
            tombstones: RangeTombstones(union: memtables.map { $0.rangeTombstones() }), beneath: .everything)
        let merge = MergingCursor(memtables.map { .memtable($0.makeCursor()) })
        return try outputs.fill { () throws(VarveError) in
            let writer = RunWriter(
                merge, isFromAbove: memtables.map { _ in true }, rules: rules, splitter: .never, control: control,
                open: { () throws(VarveError) in try outputs.open() })
            return try writer.run()
        }
    }
}

extension RunResult {
    /// Adds what the job made to the edit that installs it.
    func apply(to edit: inout VersionEdit, level: Int) {
        for table in tables { edit.add(table.number, table.properties, level: level) }
        edit.floors += floors
    }
}
