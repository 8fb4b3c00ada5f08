internal import VarveIO

/// What an opening found and made, for the engine to wire.
struct EngineParts {
    let context: StoreContext
    let role: Engine.Role
    let lock: StoreLock
    let versions: VersionSet
    let tables: TableSource
    let clock: StoreClock
    /// Nil for a reader.
    let log: LogWriter?
    let catalog: LogCatalog
    let accounts: NamespaceAccounts
    let feedGate: FeedGate
    /// Where the log ends.
    let position: LogPosition
    let lastCommitTime: Timestamp
    let cut: RecoveryCut?
    /// A writer's, where there is one.
    let mark: DegradedMark?
    /// The degraded mark as it was found set.
    let marked: DegradedMarkFile.Mark?
}

/// What every part needs and none changes.
struct StoreContext: Sendable {
    let files: any FileSystem
    let directory: String
    let options: EngineOptions
    /// Where reads that may wait for the disk run, so that the cooperative pool never does.
    let threads: IOThreads
    /// Where feeds read the log and slots wait for it to be durable: no read of an entry waits behind them.
    let feedThreads: LazyThreads
    let clock: any SystemClock

    /// Finishes what is queued and ends the threads.
    func endThreads() {
        feedThreads.shutdown()
        threads.shutdown()
    }
}
