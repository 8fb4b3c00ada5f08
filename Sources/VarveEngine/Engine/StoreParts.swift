internal import VarveIO

/// What background work needs of the store. A value of references; every member is safe on any thread.
struct StoreParts: Sendable {
    let files: any FileSystem
    let directory: String
    let options: EngineOptions
    let versions: VersionSet
    let keeper: ReadStateKeeper
    let log: LogWriter
    let snapshots: SnapshotRegistry
    let clock: StoreClock
    let health: Health
    let tables: TableSource
    let limiter: RateLimiter
    let accounts: NamespaceAccounts
    /// Seals the active memtable where it is a quarter full or more; whether it did.
    let sealIfLarge: @Sendable () -> Bool
    /// The LSN that a reader who starts now sees.
    let visibleLSN: @Sendable () -> LSN

    /// The tables that a job writes.
    func outputs(commitTimes: ClosedRange<Timestamp>?) -> TableOutputs {
        TableOutputs(
            fileSystem: files, directory: directory, options: options.table, commitTimes: commitTimes,
            takeNumber: { versions.takeFileNumber() })
    }

    /// Makes an edit durable and shows the version that it makes to readers.
    func install(_ edit: VersionEdit) throws(VarveError) {
        try versions.logAndApply(edit)
        keeper.versionChanged()
    }

    /// The same for what a job made. Where the disk was full the edit is not there, and the job's tables are in the way;
    /// after any other failure the edit may be on disk, and they must stay.
    func install(_ edit: VersionEdit, made result: RunResult) throws(VarveError) {
        do {
            try install(edit)
        } catch {
            if error.code == .diskFull { discard(result) }
            throw error
        }
    }

    /// Has what a job made deleted: no edit names it.
    func discard(_ result: RunResult) {
        for table in result.tables {
            versions.obsolete.add(.table(table.number), bytes: table.properties.fileBytes)
        }
    }

    func clockState() -> StoreClockState {
        var state = versions.state.clock
        state.reading = max(state.reading, clock.now())
        return state
    }
}
