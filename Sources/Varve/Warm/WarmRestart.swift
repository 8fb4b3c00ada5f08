/// How a cache comes back after a restart: what was hottest in memory is read from disk in the background, hottest first,
/// and the policy goes on with what it knew.
///
/// What was hottest is noted on disk every so often and at `close`, so a killed process comes back warm as well. A note is
/// only a list of keys: entries are read as they are then, so nothing old can return by it.
public struct WarmRestart: Hashable, Sendable {
    /// Bytes of keys and values to read from disk at most; the last entry may be beyond. Default 1 GiB. Memory's own limit
    /// holds as well: a warm-up evicts nothing.
    public var bytes: Int
    /// How long to go on after opening. Default 30 s.
    public var time: Duration
    /// How many keys are noted at most, hottest first, in 16 MiB for each of memory's shards, and in the
    /// notes' share of the disk. Default 262,144; at least 1.
    public var keys: Int
    /// How often what is hottest is noted, if it changed. Default 10 s; at least 1 s. Lists of more than 2.5 MB of keys are
    /// older: a round writes half a megabyte a second, and as long none. So are frequencies, after which nine times as long
    /// none are written.
    public var interval: Duration

    /// A warm-up within these bounds.
    public init(
        bytes: Int = 1 << 30, time: Duration = .seconds(30), keys: Int = 262_144, interval: Duration = .seconds(10)
    ) {
        self.bytes = bytes
        self.time = time
        self.keys = keys
        self.interval = interval
    }

    /// Why these options cannot be; nil: they can.
    var refusal: String? {
        if bytes < 0 || time < .zero { return "a warm-up's budget is not negative" }
        if keys < 1 { return "at least one key is noted for the next start" }
        if interval < .seconds(1) { return "what is hottest is noted once a second at most" }
        return nil
    }
}

/// What the warm-up of a cache did, and the notes for the next one.
public struct WarmUpStatistics: Hashable, Sendable {
    /// Keys that an earlier process had noted.
    public var keysNoted = 0
    /// Entries that came to memory.
    public var entriesWarmed = 0
    /// Bytes of keys and values that were read for it, of entries that found no room or could not be served too.
    public var bytesRead = 0
    /// Keys that were in memory before their turn.
    public var keysInMemory = 0
    /// Keys that had no entry any more.
    public var keysGone = 0
    /// Keys whose entry found no room.
    public var keysWithoutRoom = 0
    /// Keys that were left out when the budget was used up.
    public var keysLeft = 0
    /// Shards whose policy went on with what it knew.
    public var policiesRestored = 0
    /// Notes that could not be understood and were ignored.
    public var notesDamaged = 0
    /// Whether the warm-up has ended: `keysLeft` says whether before its time.
    public var isDone = false
    /// How long it took; zero while it goes on.
    public var duration = Duration.zero
    /// The share of reads that memory answered in the last minute with a hundred reads before the restart; nil: not known.
    public var hitRatioBefore: Double?
    /// Notes written by this process: records, of which a large shard has several.
    public var notesWritten: UInt64 = 0
    /// Their bytes.
    public var noteBytesWritten: UInt64 = 0
    /// Notes that could not be written, and are tried again in the next round.
    public var notesFailed: UInt64 = 0

    /// How old the list of hottest keys is by which the next start would go: all that memory held then was noted. Nil: this
    /// process has noted none whole yet.
    public var keysAge: Duration?
    /// The same of what policies know of frequencies.
    public var frequenciesAge: Duration?
    /// Keys that had no room in the last notes: these take an eighth of the disk's bound at most.
    public var keysUnnoted = 0
    /// Shards of whose policy the last notes had no room for what it knows.
    public var policiesUnnoted = 0

    /// Nothing done.
    public init() {}
}

/// Why `Cache.ready` returned.
public enum WarmUpOutcome: Hashable, Sendable {
    /// What was to be brought back is back.
    case done
    /// Memory answers about as many reads as before the restart.
    case hitRatioReached
    /// The warm-up has ended with its budget of bytes or time (`WarmRestart`), before its keys had: of these some are left
    /// out.
    case budgetUsedUp
    /// The caller would not wait longer, or was cancelled, and the warm-up goes on; or the cache was closed.
    case timedOut
}
