internal import Synchronization
internal import VarveEngine

/// Tells the disk, once the store is back there, what was set in memory meanwhile and is still held: in the background,
/// newest first, so that a restart finds it. Nothing depends on it: until then the disk has nothing of these keys.
extension Cache {
    /// How many entries, and bytes of them, one write takes.
    private static var entriesAtOnce: Int { 64 }
    private static var bytesAtOnce: Int { 1 << 20 }
    /// How many slots of a shard are looked at under one hold of its lock: some microseconds.
    private static var slotsAtOnce: Int { 1024 }

    /// A slice of that work. For the store's thread; blocks.
    func saveStep() -> BackgroundWork.Next {
        guard let disk, let degraded = disk.degraded else { return .never }
        // Who closes the cache waits for this, and then saves the rest. Else a step could go on beside the next cache of the
        // name, of whose changes this one's memory knows nothing.
        do throws(VarveError) { try gate.enter() } catch { return .never }
        defer { gate.leave() }
        guard !degraded.isInMemory, disk.engine.takesWritesAtOnce else { return .later }
        return saveSome(disk, degraded) ? .soon : .later
    }

    /// All of it, before the store is closed. Blocks.
    func saveAll() {
        guard let disk, let degraded = disk.degraded else { return }
        while saveSome(disk, degraded) {}
    }

    /// True where there may be more to do now.
    private func saveSome(_ disk: DiskTier, _ degraded: DegradedMode) -> Bool {
        let returns = degraded.counts.returns
        if saving.withLock({ $0.returns != returns }) {
            let list = unsavedKeys()
            saving.withLock { ($0.returns, $0.keys, $0.busy) = (returns, list, 0) }
        }
        let keys = saving.withLock { saving in
            saving.beginStep()
            if saving.busy >= saving.keys.count { saving.busy = 0 }
            let next = Array(saving.keys.suffix(Cache.entriesAtOnce))
            saving.keys.removeLast(next.count)
            return next
        }
        defer { saving.withLock { $0.endStep() } }
        if keys.isEmpty { return false }
        // Not while the store goes on in memory (again): the next return comes back to them.
        guard degraded.beginOnDisk() else {
            saving.withLock { $0.keys = [] }
            return false
        }
        defer { degraded.end() }
        guard save(keys.reversed(), disk, attemptsLeft: 3) else {
            // What was written by now is not looked at again.
            saving.withLock { $0.keys += keys }
            return false
        }
        // Those that somebody was at came back to the list, to be looked at when the others are done.
        return saving.withLock { $0.keys.count > $0.busy }
    }

    /// Oldest first: they are taken from the end. Readers and writers of a shard wait for a step at most.
    func unsavedKeys() -> [UnsavedKey<Key>] {
        var keys: [UnsavedKey<Key>] = []
        for shard in 0..<memory.shardCount {
            var end: Int?
            repeat {
                let step = memory.withShard(at: shard) { $0.unsaved(below: end, slots: Cache.slotsAtOnce) }
                keys += step.keys
                end = step.next
            } while end != nil
        }
        return keys.sorted { $0.version < $1.version }
    }

    private struct Record {
        let key: UnsavedKey<Key>
        let entry: MemoryEntry<Key, Value>
        let bytes: [UInt8]
        let fields: EntryFields
    }

    /// False where the disk is behind, or has no room of its own left: both pass, and the keys are to come again.
    private func save(_ keys: [UnsavedKey<Key>], _ disk: DiskTier, attemptsLeft: Int) -> Bool {
        var records: [Record] = []
        var bytes = 0
        // Who writes or removes a key says so before: what the look at memory does not show is not committed by now, and
        // what is committed after this the engine finds by itself.
        let looked = disk.engine.visible
        for key in keys {
            guard let record = record(key, disk) else { continue }
            records.append(record)
            bytes += record.bytes.count
            if bytes >= Cache.bytesAtOnce {
                guard write(records, since: looked, disk, attemptsLeft) else { return false }
                (records, bytes) = ([], 0)
            }
        }
        return write(records, since: looked, disk, attemptsLeft)
    }

    /// Nil where something newer is known of the key, or it has expired.
    private func record(_ key: UnsavedKey<Key>, _ disk: DiskTier) -> Record? {
        guard let (entry, isBusy) = memory.withShard(key.hash, { $0.unsaved(key) }) else { return nil }
        if isBusy {
            saving.withLock { saving in
                saving.keys.insert(key, at: 0)
                saving.busy += 1
            }
            return nil
        }
        guard entry.deadlines.usableUntil > store.clock.now(),
            memory.context.tags.keeps(entry.tags, version: entry.version, evenIfPending: false)
        else { return nil }
        guard let bytes = try? entry.value.map({ try coding.encode($0) }) ?? [] else {
            // It could be encoded when it was set. What cannot be now stays in memory.
            end(key, storedUntil: nil)
            return nil
        }
        var fields = DiskTier.fields(
            entry.deadlines, tags: entry.tags, sourceVersion: entry.sourceVersion > 0 ? entry.sourceVersion : nil,
            kind: entry.value == nil ? .absent : .value, cause: .explicit, idle: entry.idle,
            isPinned: entry.traits.contains(.pinned))
        IdleRecord.carry(entry.version, in: &fields)
        return Record(key: key, entry: entry, bytes: bytes, fields: fields)
    }

    /// In one write, or one by one where something else was written to one of the keys, or a flush keeps the engine from
    /// telling: that is looked at anew. One by one also where they are too much together; what is too much alone stays in
    /// memory. What the disk refuses comes again after its next return. False as for `save`.
    private func write(_ records: [Record], since looked: LSN, _ disk: DiskTier, _ attemptsLeft: Int) -> Bool {
        if records.isEmpty { return true }
        do throws(VarveError) {
            var batch = WriteBatch()
            // A floor that is raised meanwhile hides them: they carry their source version, or the version of before it.
            for record in records {
                let key = keyBytes(record.key.key)
                try batch.requireUnchanged(key, since: looked, in: disk.namespace)
                for tag in record.entry.tags {
                    try batch.requireUnchanged(disk.tags.key(tag), since: looked, in: .tagDrops)
                }
                try batch.put(key, record.bytes, record.fields, in: disk.namespace)
            }
            // Its value was acknowledged without the disk: it is not promised to survive a power cut.
            try disk.engine.write(batch, durability: .interval)
            for record in records { end(record.key, storedUntil: record.entry.deadlines.usableUntil) }
            return true
        } catch {
            switch error.code {
            case .conditionFailed, .limitExceeded, .invalidArgument: break
            // By its own budget; a disk that has no room refuses.
            case .stalled, .diskFull: return DegradedMode.isRefusal(error)
            default: return true
            }
            if records.count > 1 {
                for record in records {
                    guard write([record], since: looked, disk, attemptsLeft) else { return false }
                }
                return true
            }
            if error.code == .conditionFailed, attemptsLeft > 0 {
                return save(records.map(\.key), disk, attemptsLeft: attemptsLeft - 1)
            }
            end(records[0].key, storedUntil: nil)
            return true
        }
    }

    private func end(_ key: UnsavedKey<Key>, storedUntil: Int64?) {
        memory.withShard(key.hash) { $0.endSaving(key, storedUntil: storedUntil) }
    }
}

/// What of a cache is still to be told to the disk.
struct Saving<Key: CacheKey>: Sendable {
    /// After which return of the store the list was made.
    var returns: UInt64 = 0
    /// Oldest first.
    var keys: [UnsavedKey<Key>] = []
    /// How many of them, the first, somebody was writing or removing when it was their turn.
    var busy = 0
    /// Steps, of this and of `Cache.keepUsedStep`, that may hold entries which memory has evicted since.
    private(set) var stepsUnderWay = 0
    private var stepsBegun: UInt64 = 0

    mutating func beginStep() {
        stepsUnderWay += 1
        stepsBegun += 1
    }

    mutating func endStep() { stepsUnderWay -= 1 }

    /// Names a time without a step: while it is the same, nothing that memory alone holds, or held, gets to the disk. Nil: a
    /// step is under way.
    var quiet: UInt64? { stepsUnderWay == 0 ? stepsBegun : nil }
}
