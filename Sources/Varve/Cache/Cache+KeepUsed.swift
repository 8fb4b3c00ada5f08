internal import Synchronization
internal import VarveEngine

/// Writes to the disk what a full disk was spared when it was loaded, and has been used in memory since: hits there are as
/// good as a second load, which the disk would have taken. What is hottest is never loaded again, and without this would be
/// gone with the process.
///
/// In the background, hottest first, and slowly. Nobody has changed the key, so for loads and readers this is no change: whatever
/// outdates a load's result keeps this from being written, and no load that is under way is outdated by it. But the entry has the
/// version of this write from then on, and its load's, which callers may have in hand, names it no more.
extension Cache {
    /// How many entries, and about how many bytes of them, one write takes.
    private static var entriesAtOnce: Int { 64 }
    private static var bytesAtOnce: Int { 1 << 20 }
    /// How many slots of a shard are looked at under one hold of its lock: some microseconds.
    private static var slotsAtOnce: Int { 1024 }

    /// A slice of that work. For the store's thread; blocks.
    func keepUsedStep() -> BackgroundWork.Next {
        guard let disk else { return .never }
        // Who closes the cache waits for this, and then writes the rest.
        do throws(VarveError) { try gate.enter() } catch { return .never }
        defer { gate.leave() }
        let now = store.clock.now()
        guard let shard = keeping.withLock({ $0.turn(at: now) }) else { return .later }
        // What waits for the disk now is more urgent.
        guard disk.engine.takesWritesAtOnce, disk.engine.hasRoomForWrites else { return .later }
        if keeping.withLock({ $0.keys.isEmpty }) {
            let keys = usedLone(of: shard, atMost: KeepRound<Key>.keysOfShard)
            keeping.withLock { $0.keys = keys }
        }
        guard let (bytes, isWritten) = onDisk({ keepSome(disk) }), isWritten else { return .later }
        let isOver = keeping.withLock { $0.end(shard, bytes: bytes, at: now, shards: memory.shardCount) }
        return isOver || bytes > 0 ? .later : .soon
    }

    /// All of it that a close has time for: about so many bytes. Blocks.
    func keepAllUsed(atMost budget: Int = KeepRound<Key>.bytesAtClose) {
        guard let disk else { return }
        var left = budget
        // One write may take more than is left.
        for shard in 0..<memory.shardCount where left >= KeepRound<Key>.leastBytes {
            // Each has its share, and what those before have left of theirs: the hottest of all are kept.
            var share = left / (memory.shardCount - shard)
            let keys = usedLone(of: shard, atMost: share / KeepRound<Key>.leastBytes)
            keeping.withLock { $0.keys = keys }
            while share > 0, keeping.withLock({ !$0.keys.isEmpty }) {
                // A disk that stalls one write would stall them all.
                guard let (bytes, isWritten) = onDisk({ keepSome(disk) }), isWritten else { return }
                share -= bytes
                left -= bytes
            }
        }
    }

    /// The hottest of a shard, the hottest of them last. Readers and writers of the shard wait for a piece of the search at most.
    func usedLone(of shard: Int, atMost limit: Int) -> [LoneKey<Key>] {
        var hottest: [UsedLone<Key>] = []
        var end: Int?
        repeat {
            let piece = memory.withShard(at: shard) { $0.usedLone(below: end, slots: Cache.slotsAtOnce) }
            hottest += piece.used
            end = piece.next
            // A shard may have many more than are wanted.
            guard end == nil || hottest.count > 2 * limit else { continue }
            hottest.sort { $0.isColder(than: $1) }
            hottest.removeFirst(max(0, hottest.count - limit))
        } while end != nil
        return hottest.map(\.key)
    }

    /// An entry as it is to be written.
    private struct Record {
        let lone: LoneKey<Key>
        let key: [UInt8]
        let bytes: [UInt8]
        let fields: EntryFields
        let tags: [UInt64]
        let until: Int64
    }

    /// One write of those that are next. With what they count for, and whether the disk took what it had to.
    private func keepSome(_ disk: DiskTier) -> (bytes: Int, isWritten: Bool) {
        // Before the look at memory, and until the disk has answered: loads of keys that memory lets go of meanwhile go by it.
        saving.withLock { $0.beginStep() }
        defer { saving.withLock { $0.endStep() } }
        // As for `save`: what is committed after this the engine finds by itself.
        let looked = disk.engine.visible
        var (records, bytes): ([Record], Int) = ([], 0)
        while records.count < Cache.entriesAtOnce, bytes < Cache.bytesAtOnce,
            let lone = keeping.withLock({ $0.keys.popLast() })
        {
            // One that moved while its shard was searched may have been met twice.
            guard !records.contains(where: { $0.lone.load == lone.load }), let record = record(lone, disk) else {
                continue
            }
            records.append(record)
            bytes += max(KeepRound<Key>.leastBytes, record.key.count + record.bytes.count)
        }
        return (bytes, keep(records, since: looked, disk, attemptsLeft: 3))
    }

    /// Nil where memory holds it no more, something newer is known of the key, or it has expired.
    private func record(_ lone: LoneKey<Key>, _ disk: DiskTier) -> Record? {
        guard let entry = memory.withShard(lone.hash, { $0.lone(lone) }), !disk.isHidden(lone.key),
            entry.deadlines.usableUntil > store.clock.now(),
            memory.context.tags.keeps(entry.tags, version: entry.version + 1, evenIfPending: false)
        else { return nil }
        guard let bytes = try? entry.value.map({ try coding.encode($0) }) ?? [] else {
            memory.withShard(lone.hash) { $0.keepLone(lone) }
            return nil
        }
        let fields = DiskTier.fields(
            entry.deadlines, tags: entry.tags, sourceVersion: nil, kind: entry.value == nil ? .absent : .value,
            cause: .loaded, idle: entry.idle, isPinned: entry.traits.contains(.pinned))
        return Record(
            lone: lone, key: keyBytes(lone.key), bytes: bytes, fields: fields, tags: entry.tags,
            until: entry.deadlines.usableUntil)
    }

    /// In one write, or one by one where something else was written to one of the keys, or it cannot be told, which is looked at
    /// anew, or where they are too much together. What fails by itself is left to the next round; false where the disk is behind
    /// or has no room.
    private func keep(_ records: [Record], since looked: LSN, _ disk: DiskTier, attemptsLeft: Int) -> Bool {
        if records.isEmpty { return true }
        do throws(VarveError) {
            var batch = WriteBatch()
            // A removal of what is older than a source version hides what was written before it, and takes none of these.
            try batch.requireUnchanged(disk.floorsKey, since: looked, in: .sourceFloors)
            for record in records {
                try batch.requireUnchanged(record.key, since: looked, in: disk.namespace)
                for tag in record.tags {
                    try batch.requireUnchanged(disk.tags.key(tag), since: looked, in: .tagDrops)
                }
                try batch.put(record.key, record.bytes, record.fields, in: disk.namespace)
            }
            // It need not survive a power cut: the source has it.
            let last = try disk.engine.write(batch, durability: .interval)
            for (index, record) in records.enumerated() {
                disk.eviction?.noteSeenAgain(keyHash: disk.keyHash(record.key))
                let version = last.rawValue - UInt64(records.count - 1 - index)
                memory.withShard(record.lone.hash) { $0.endLone(record.lone, at: version, storedUntil: record.until) }
                counts.add(.keptForUse)
            }
            return true
        } catch {
            guard [.conditionFailed, .limitExceeded, .invalidArgument].contains(error.code) else { return false }
            if records.count > 1 {
                return records.reduce(true) { keep([$1], since: looked, disk, attemptsLeft: attemptsLeft) && $0 }
            }
            let lone = records[0].lone
            if error.code == .conditionFailed, attemptsLeft > 0 {
                let looked = disk.engine.visible
                guard let record = record(lone, disk) else { return true }
                return keep([record], since: looked, disk, attemptsLeft: attemptsLeft - 1)
            }
            // What nobody has changed, and is refused, always will be.
            if error.code != .conditionFailed { memory.withShard(lone.hash) { $0.keepLone(lone) } }
            return true
        }
    }
}

/// Which entries that memory holds alone are written next, and when: some of each shard in turn.
struct KeepRound<Key: CacheKey>: Sendable {
    /// Of the shard whose turn it is, the hottest last.
    var keys: [LoneKey<Key>] = []
    private let interval: Int64
    /// When the next round begins, or, within one, the next write may be made.
    private var next: Int64
    private var shard = 0
    /// When this round did; nil: between rounds.
    private var began: Int64?

    /// No more is written in a second, and of a shard in a round: what was used a moment ago only may never be used again.
    private static var bytesPerSecond: Int64 { 1 << 20 }
    static var keysOfShard: Int { 1024 }
    /// For so much a small entry counts.
    static var leastBytes: Int { 1 << 10 }
    /// No more keeps a close waiting.
    static var bytesAtClose: Int { 64 << 20 }

    init(interval: Int64, opened: Int64) {
        self.interval = interval
        next = Deadlines.add(interval, to: opened)
    }

    /// The shard whose turn it is; nil: none.
    mutating func turn(at now: Int64) -> Int? {
        guard now >= next else { return nil }
        if began == nil { began = now }
        return shard
    }

    /// So much was written of a shard. True where that was the round's end.
    mutating func end(_ shard: Int, bytes: Int, at now: Int64, shards: Int) -> Bool {
        // By what is written, not by the clock, which may jump.
        next = now &+ Int64(bytes) * 1_000_000_000 / KeepRound.bytesPerSecond
        guard keys.isEmpty else { return false }
        self.shard = shard + 1
        guard self.shard == shards else { return false }
        self.shard = 0
        next = max(next, Deadlines.add(interval, to: began ?? now))
        began = nil
        return true
    }
}
