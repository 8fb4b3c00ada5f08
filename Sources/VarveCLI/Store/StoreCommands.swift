internal import VarveEngine

/// What the commands ask of a store: the same whether this process opened it or its owner answers on a socket.
///
/// Calls block; each command runs on the main thread and has nothing else to do meanwhile. A store that its owner holds
/// refuses the writing members with `.storeInUse`.
protocol StoreCommands: AnyObject {
    /// The entry under a key of the namespace of that name; nil also where the key is known to be absent.
    func get(_ key: [UInt8], in namespace: String) throws -> Record?
    /// Calls `visit` for each entry that has a value, in order until it returns false.
    func scan(_ range: ScanRange, _ visit: (Record) throws -> Bool) throws
    func put(_ record: Record, _ options: WriteOptions) throws
    func delete(_ keys: [[UInt8]], _ options: WriteOptions) throws
    /// Commits records and the progress of the load that they belong to in one batch. A nil progress value deletes it.
    func commit(_ records: [Record], progress: LoadProgressUpdate, _ options: WriteOptions) throws
    func loadProgress(_ key: [UInt8]) throws -> [UInt8]?

    /// The statistics as one JSON object.
    func statistics() throws -> String
    func flush() throws
    func compact(_ progress: ProgressHandler) throws
    /// Reads every byte and checks it; what was checked as one JSON object. Damage is thrown.
    func verify(_ progress: ProgressHandler) throws -> String
    /// Makes a checkpoint in a new folder; the position at which it stands. A slot of the given name keeps the log from
    /// there on.
    func checkpoint(to directory: String, slot: String?, _ progress: ProgressHandler) throws -> LogPosition
    /// Forgets a reader of the log. False where there is none of that name.
    func removeSlot(_ name: String) throws -> Bool
    /// Calls `visit` for each change of the log that is asked for, in its order.
    func changes(_ request: OwnerChangesRequest, _ visit: (Change) throws -> Void) throws
    func close() throws
}

/// Is told how far a long command is: the stage, what is done, and all there is to do (0: unknown).
typealias ProgressHandler = (_ stage: String, _ done: UInt64, _ total: UInt64) -> Void

/// A range of a namespace's keys and how to walk it.
struct ScanRange: Sendable, Equatable {
    var namespace = "default"
    var prefix: [UInt8]?
    /// The first key to show, and the first not to show any more.
    var from: [UInt8]?
    var to: [UInt8]?
    var isReverse = false
    var limit: UInt64 = .max
}

/// How a write is made.
struct WriteOptions: Sendable, Equatable {
    /// Made where there is none, except by a delete.
    var namespace = "default"
    /// What the write survives when it is acknowledged; nil: the store's default.
    var durability: DurabilityChoice?
    /// Nanoseconds from now until the entry expires; nil: never.
    var timeToLive: Int64?
}

/// How far a load has come, stored beside its data.
struct LoadProgressUpdate: Sendable, Equatable {
    let key: [UInt8]
    /// Nil once the load is complete.
    let value: [UInt8]?
}
