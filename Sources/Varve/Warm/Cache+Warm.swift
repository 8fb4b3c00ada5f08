internal import Synchronization
internal import VarveEngine
internal import VarveIO
internal import VarvePolicy

extension Cache {
    /// Returns when what was hottest before the restart is in memory again; or earlier, when memory answers `share` of the
    /// part of reads that it answered in the last minute before the restart, or when `limit` has passed. A service that
    /// takes traffic only after this does not meet its disk, or its source, with all of it at once.
    ///
    /// At once for a cache without a disk or without `warmRestart`.
    /// - Parameters:
    ///   - share: 0...1; what is above 1 may never be reached, and then it waits for all that was noted.
    ///   - limit: how long it waits at most.
    @discardableResult
    public func ready(share: Double = 0.95, atMost limit: Duration = .seconds(30)) async -> WarmUpOutcome {
        guard let warm else { return .done }
        let clock = ContinuousClock()
        let deadline = clock.now.advanced(by: limit)
        let timer = Task {
            try await Task.sleep(until: deadline, clock: clock)
            warm.changed.raise()
        }
        defer { timer.cancel() }
        while true {
            let seen = warm.changed.generation
            let statistics = warm.statistics
            if statistics.isDone { return .done }
            if let before = statistics.hitRatioBefore, let now = windows.lastMoments(of: self.statistics),
                now >= before * share
            {
                return .hitRatioReached
            }
            if clock.now >= deadline || Task.isCancelled { return .timedOut }
            await warm.changed.wait(after: seen)
        }
    }

    // MARK: Bringing back

    /// Takes up what an earlier process noted, before anything is in memory. Blocks.
    func takeUp(_ found: WarmNotes.Found) {
        guard let warm else { return }
        var restored = 0
        var written: [WarmState.Subject: WarmRound.Written] = [:]
        var own: Set<[UInt8]> = []
        for found in found.states {
            let state = found.state
            let isOwn = Int(state.shard) < memory.shardCount && (state.kind == .keys || fits(state))
            // What another number of shards left behind goes, and what is written here comes after it.
            written[state.subject] = WarmRound.Written(number: found.number, whole: isOwn ? state.whole : nil)
            guard isOwn else { continue }
            own.formUnion(warm.notes.names(found))
            warm.state.withLock { $0.room.take(found) }
            if state.kind != .policy { continue }
            let isTaken = memory.withShard(at: Int(state.shard)) { $0.policy.importState(state.body) }
            if isTaken { restored += 1 }
        }
        warm.state.withLock { state in
            state.statistics.policiesRestored = restored
            state.stale = found.names.filter { !own.contains($0) }
            state.round.written = written
        }
    }

    private func fits(_ state: WarmState) -> Bool {
        state.kind == .ratio || Int(state.shardCount) == memory.shardCount
    }

    /// A slice of the work for warm restarts: the warm-up first, then the notes. For the store's thread; blocks.
    func warmStep() -> BackgroundWork.Next {
        guard let warm, let disk, !gate.isClosed else { return .never }
        if !warm.statistics.isDone { return warmSlice(warm, disk) }
        return noteSlice(warm)
    }

    /// Reads a batch. On the store's own thread, so that the threads which requests wait for stay free.
    private func warmSlice(_ warm: WarmKeeper, _ disk: DiskTier) -> BackgroundWork.Next {
        guard let batch = warm.nextBatch(WarmUp.batchKeys, at: store.clock.now()) else { return .later }
        bringBack(batch.keys, isHot: batch.isHot, warm, disk)
        return .soon
    }

    /// Brings entries to memory as a read would: as the store has them now, and not past what happens meanwhile.
    private func bringBack(_ keys: [[UInt8]], isHot: Bool, _ warm: WarmKeeper, _ disk: DiskTier) {
        for bytes in keys {
            guard let key = unsafe Key(keyBytes: bytes.span.bytes) else {
                warm.note { $0.keysGone += 1 }
                continue
            }
            let hash = memory.hash(key)
            let isThere = memory.withShard(hash) { shard in
                if shard.peek(key, hash) != nil { return true }
                shard.beginFlight(key)
                return false
            }
            if isThere {
                warm.note { $0.keysInMemory += 1 }
                continue
            }
            defer { memory.withShard(hash) { $0.endFlight(key) } }
            // Asked before the disk is: what is hidden now may be shown again, deleted, by the time that was read.
            let isHidden = disk.hides(bytes)
            // An entry that cannot be read is none: the reader that asks for it gets the error.
            let read = unsafe try? disk.engine.entry(bytes.span.bytes, in: disk.namespace)
            guard let stored = read ?? nil, !isHidden, unsafe disk.keeps(stored, of: bytes.span.bytes),
                let entry = decode(stored, key, hash), entry.deadlines.usableUntil > store.clock.now()
            else {
                warm.note { $0.keysGone += 1 }
                continue
            }
            let isIn = memory.change(hash) { $0.warm(entry, isHot: isHot, &$1) }
            warm.note { statistics in
                statistics.bytesRead += bytes.count + stored.bytes.count
                if isIn { statistics.entriesWarmed += 1 } else { statistics.keysWithoutRoom += 1 }
            }
        }
    }

    // MARK: Notes for the next start

    /// Notes one shard, or a piece of what it knows, if its turn has come and something happened there.
    private func noteSlice(_ warm: WarmKeeper) -> BackgroundWork.Next {
        // Who closes the cache waits for this, and then notes everything.
        do throws(VarveError) { try gate.enter() } catch { return .never }
        defer { gate.leave() }
        let now = store.clock.now()
        let shards = memory.shardCount
        guard let shard = warm.state.withLock({ $0.round.turn(at: now, shards: shards) }) else { return .later }
        // What waits for the disk now is more urgent.
        guard warm.notes.engine.takesWritesAtOnce, warm.notes.engine.hasRoomForWrites else { return .later }
        _ = onDisk {
            forgetBeforeReturn(warm)
            if warm.state.withLock({ $0.round.pending.isEmpty }) { gather(shard, warm) }
            let bytes = writePending(shard, warm, atMost: WarmUp.noteBytes).bytes
            warm.state.withLock {
                $0.round.end(
                    shard, bytes: bytes, at: now, shards: shards, interval: warm.options.interval.clampedNanoseconds)
            }
        }
        return .later
    }

    /// Notes everything that changed, now. Not while the warm-up goes on: what memory has then is less than what was
    /// noted. Nor while the store goes on in memory. Blocks.
    func noteAll() {
        guard let warm, warm.statistics.isDone else { return }
        for shard in 0..<memory.shardCount {
            let isWritten = onDisk {
                forgetBeforeReturn(warm)
                gather(shard, warm)
                return writePending(shard, warm, atMost: .max).isWritten
            }
            // A disk that stalls one note would stall them all.
            guard isWritten == true else { return }
        }
    }

    /// What was noted before the store came back from memory may not have survived what sent it there.
    private func forgetBeforeReturn(_ warm: WarmKeeper) {
        let returns = store.degraded?.counts.returns ?? 0
        warm.state.withLock { state in
            if state.returns == returns { return }
            state.returns = returns
            state.round.forget()
        }
    }

    /// Looks what a shard's next start needs.
    func gather(_ shard: Int, _ warm: WarmKeeper) {
        let shards = memory.shardCount
        let share = (warm.options.keys - 1) / shards + 1
        var states = shard == 0 ? gatherOnce(warm) : []
        let known = warm.state.withLock { $0.round.activity[shard] }
        let found = memory.withShard(at: shard) { part in
            part.activity == known
                ? nil : (activity: part.activity, keys: part.hottestKeys(share), policy: part.policy.exportState())
        }
        if let found { states += self.states(of: shard, keys: found.keys, policy: found.policy, warm) }
        let changed = states.map { ($0, $0.whole) }
        warm.state.withLock { state in
            let written = state.round.written
            let due = changed.filter { written[$0.0.subject]?.whole != $0.1 }
                .map { ($0.0, number: (written[$0.0.subject]?.number ?? 0) &+ 1) }
            state.round.pending = PendingNotes(due, activity: found?.activity)
        }
    }

    /// What is noted once a round: the hit ratio; and what no longer counts goes.
    private func gatherOnce(_ warm: WarmKeeper) -> [WarmState] {
        let stale = warm.state.withLock { state in
            defer { state.stale = [] }
            return state.stale
        }
        let left = Array(stale.drop { (try? warm.notes.remove($0)) != nil })
        if !left.isEmpty { warm.state.withLock { $0.stale += left } }
        // Where it cannot be told their number stays what it was; at first it is that of all names.
        let counted = try? warm.notes.cachesWithNotes()
        let caches = warm.state.withLock { state in
            state.caches = counted ?? state.caches
            return state.caches
        }
        let share = warm.notes.share(shards: memory.shardCount, caches: caches)
        warm.state.withLock { state in
            if state.room.share == share { return }
            state.room.share = share
            // What was noted by another share is noted anew, whether or not anything happened there.
            state.round.activity = [:]
        }
        let minute = statistics(over: .lastMinute)
        guard minute.requests > 0 else { return [] }
        return [.ratio(hits: minute.memoryHits, of: minute.requests)]
    }

    /// Writes what is pending until so many bytes are written. False with what was, where one could not be: each may have
    /// waited as long as a write may, and all wait who want to go on in memory.
    func writePending(_ shard: Int, _ warm: WarmKeeper, atMost limit: Int) -> (bytes: Int, isWritten: Bool) {
        var bytes = 0
        while bytes < limit {
            // What is pending stays so until the next turn.
            if store.degraded?.isInMemory == true { return (bytes, false) }
            guard let note = warm.state.withLock({ $0.round.pending.next() }) else { break }
            guard let written = write(note, warm) else { return (bytes, false) }
            bytes += written
        }
        warm.state.withLock { state in
            guard state.round.pending.isEmpty, let activity = state.round.pending.activity else { return }
            state.round.activity[shard] = activity
        }
        return (bytes, true)
    }

    /// Its bytes; nil where it could not be written.
    private func write(_ note: WarmNote, _ warm: WarmKeeper) -> Int? {
        do throws(VarveError) {
            let bytes = try warm.notes.write(note)
            let name = warm.notes.name(note)
            let surplus = warm.state.withLock { state in
                state.room.take(note)
                // An older state's piece lay there whose removal failed.
                state.stale.removeAll { $0 == name }
                if note.piece.isLast {
                    state.round.written[note.subject] = WarmRound.Written(number: note.number, whole: note.whole)
                }
                state.statistics.notesWritten += 1
                state.statistics.noteBytesWritten += UInt64(bytes)
                return note.piece.isLast ? state.room.surplus(after: note) : []
            }
            remove(surplus, warm)
            return bytes
        } catch {
            // The next round tries again; until then the last note stands.
            warm.state.withLock { state in
                state.round.pending.fail(note)
                state.statistics.notesFailed += 1
            }
            return nil
        }
    }
}

/// Bounds of the work at a time.
enum WarmUp {
    /// Keys that are read in one turn, after which other caches of the store have theirs.
    static let batchKeys = 32
    /// What one write to the log brings at once; of what is larger, a piece.
    static let noteBytes = 1 << 20
    /// Bytes of a shard's list of keys: what a process that starts is to hold of it.
    static let listBytes = 16 << 20
}
