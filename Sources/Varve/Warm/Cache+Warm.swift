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
        let deadline = clock.now.advanced(by: limit.clampedForTimers)
        let timer = Task {
            try await Task.sleep(until: deadline, clock: clock)
            warm.changed.raise()
        }
        defer { timer.cancel() }
        while true {
            let seen = warm.changed.generation
            let statistics = warm.statistics
            let outcome = warm.outcome
            if outcome == .done { return .done }
            if let before = statistics.hitRatioBefore, let now = windows.lastMoments(of: self.statistics),
                now >= before * share
            {
                return .hitRatioReached
            }
            if let outcome { return outcome }
            if clock.now >= deadline || Task.isCancelled { return .timedOut }
            await warm.changed.wait(after: seen)
        }
    }

    // MARK: Bringing back

    /// Takes up what an earlier process noted, before anything is in memory. Blocks.
    func takeUp(_ found: WarmNotes.Found) {
        guard let warm else { return }
        var restored = 0
        var written: [WarmState.Subject: WarmKeeper.Written] = [:]
        var own: Set<[UInt8]> = []
        for found in found.states {
            let state = found.state
            let isOwn = Int(state.shard) < memory.shardCount && (state.kind == .keys || fits(state))
            // What another number of shards left behind goes, and what is written here comes after it.
            written[state.subject] = WarmKeeper.Written(number: found.number, whole: isOwn ? state.whole : nil)
            guard isOwn else { continue }
            own.formUnion(warm.notes.names(found))
            warm.state.withLock { $0.room.take(found) }
            if state.kind != .policy { continue }
            warm.state.withLock { $0.room.policies[Int(state.shard)] = state.body.count }
            let isTaken = memory.withShard(at: Int(state.shard)) { $0.policy.importState(state.body) }
            if isTaken { restored += 1 }
        }
        warm.state.withLock { state in
            state.statistics.policiesRestored = restored
            state.stale = found.names.filter { !own.contains($0) }
            state.written = written
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

    /// Reads some. On the store's own thread, so that the threads which requests wait for stay free.
    private func warmSlice(_ warm: WarmKeeper, _ disk: DiskTier) -> BackgroundWork.Next {
        for _ in 0..<WarmUp.keysAtOnce {
            guard let key = warm.nextKey(at: store.clock.now()) else { return .later }
            bringBack(key.bytes, isHot: key.isHot, warm, disk)
        }
        return .soon
    }

    /// Brings an entry to memory as a read would: as the store has it now, and not past what happens meanwhile.
    private func bringBack(_ bytes: [UInt8], isHot: Bool, _ warm: WarmKeeper, _ disk: DiskTier) {
        guard let key = unsafe Key(keyBytes: bytes.span.bytes) else { return warm.note { $0.keysGone += 1 } }
        let hash = memory.hash(key)
        let isThere = memory.withShard(hash) { shard in
            if shard.peek(key, hash) != nil { return true }
            shard.beginFlight(key)
            return false
        }
        if isThere { return warm.note { $0.keysInMemory += 1 } }
        defer { memory.withShard(hash) { $0.endFlight(key) } }
        // Asked before the disk is: what is hidden now may be shown again, deleted, by the time that was read.
        let isHidden = disk.hides(bytes)
        // An entry that cannot be read is none: the reader that asks for it gets the error.
        let read = unsafe try? disk.engine.entry(bytes.span.bytes, in: disk.namespace)
        if let stored = read ?? nil { warm.note { $0.bytesRead += bytes.count + stored.bytes.count } }
        guard let stored = read ?? nil, !isHidden, unsafe disk.keeps(stored, of: bytes.span.bytes),
            let entry = decode(stored, key, hash), entry.deadlines.usableUntil > store.clock.now()
        else { return warm.note { $0.keysGone += 1 } }
        let isIn = memory.change(hash) { $0.warm(entry, isHot: isHot, &$1) }
        warm.note { if isIn { $0.entriesWarmed += 1 } else { $0.keysWithoutRoom += 1 } }
    }

    // MARK: Notes for the next start

    /// Notes one shard, or a piece of what it knows, of each part whose turn has come, if something happened there.
    private func noteSlice(_ warm: WarmKeeper) -> BackgroundWork.Next {
        // Who closes the cache waits for this, and then notes everything.
        do throws(VarveError) { try gate.enter() } catch { return .never }
        defer { gate.leave() }
        let engine = warm.notes.engine
        let shards = memory.shardCount
        for part in WarmPart.allCases {
            let now = store.clock.now()
            guard let shard = warm.state.withLock({ $0[part].turn(at: now, shards: shards) }) else { continue }
            // Background work may be behind all the time: that delays writes, and keys are few and cannot wait for its end. But
            // what stands still waits for the disk itself.
            guard part == .keys || engine.takesWritesAtOnce, engine.hasRoomForWrites else { continue }
            _ = onDisk {
                forgetBeforeReturn(warm)
                if warm.state.withLock({ $0[part].pending.isEmpty }) {
                    if shard == 0 { lookAtRoom(warm) }
                    gather(part, shard, warm)
                }
                let bytes = writePending(part, shard, warm, atMost: WarmUp.noteBytes).bytes
                let interval = warm.options.interval.clampedNanoseconds
                warm.state.withLock { $0[part].end(shard, bytes: bytes, at: now, shards: shards, interval: interval) }
            }
        }
        return .later
    }

    /// Notes everything that changed, now. Not while the warm-up goes on: what memory has then is less than what was
    /// noted. Nor while the store goes on in memory. Blocks.
    func noteAll() {
        guard let warm, warm.statistics.isDone else { return }
        let now = store.clock.now()
        for shard in 0..<memory.shardCount {
            let isWritten = onDisk {
                forgetBeforeReturn(warm)
                if shard == 0 { lookAtRoom(warm) }
                // The frequencies' size says how many keys have room. Those are the first to be written.
                for part in [WarmPart.frequencies, .keys] { gather(part, shard, warm) }
                return WarmPart.allCases.allSatisfy { writePending($0, shard, warm, atMost: .max).isWritten }
            }
            // A disk that stalls one note would stall them all.
            guard isWritten == true else { return }
        }
        warm.state.withLock { state in for part in WarmPart.allCases { state[part].noted = now } }
    }

    /// What was noted before the store came back from memory may not have survived what sent it there.
    private func forgetBeforeReturn(_ warm: WarmKeeper) {
        let returns = store.degraded?.counts.returns ?? 0
        warm.state.withLock { state in
            if state.returns == returns { return }
            state.returns = returns
            for part in WarmPart.allCases { state[part].forget() }
            for subject in state.written.keys { state.written[subject]?.whole = nil }
        }
    }

    /// Looks what of a part a shard's next start needs.
    func gather(_ part: WarmPart, _ shard: Int, _ warm: WarmKeeper) {
        let known = warm.state.withLock { $0[part].activity[shard] }
        let (activity, state): (UInt64?, WarmState?) =
            switch part {
            case .keys: hottestKeys(shard, ifNot: known, warm)
            case .frequencies: frequencies(shard, ifNot: known, warm)
            }
        let ratio = shard == 0 && part == .keys ? hitRatio() : nil
        let changed = [ratio, state].compactMap { $0.map { ($0, $0.whole) } }
        warm.state.withLock { state in
            let written = state.written
            let due = changed.filter { written[$0.0.subject]?.whole != $0.1 }
                .map { ($0.0, number: (written[$0.0.subject]?.number ?? 0) &+ 1) }
            state[part].pending = PendingNotes(due, activity: activity)
        }
    }

    /// With what has happened in the shard by now; nil where that is what it was.
    private func hottestKeys(_ shard: Int, ifNot known: UInt64?, _ warm: WarmKeeper) -> (UInt64?, WarmState?) {
        let share = (warm.options.keys - 1) / memory.shardCount + 1
        let found = memory.withShard(at: shard) { part in
            part.activity == known ? nil : (activity: part.activity, keys: part.hottestKeys(share))
        }
        return (found?.activity, found.flatMap { state(of: shard, keys: $0.keys, warm) })
    }

    private func frequencies(_ shard: Int, ifNot known: UInt64?, _ warm: WarmKeeper) -> (UInt64?, WarmState?) {
        let found = memory.withShard(at: shard) { part in
            part.activity == known ? nil : (activity: part.activity, policy: part.policy.exportState())
        }
        return (found?.activity, found.flatMap { state(of: shard, policy: $0.policy, warm) })
    }

    /// What is done once a round: what no longer counts goes, and the room for notes is what it is now.
    func lookAtRoom(_ warm: WarmKeeper) {
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
            for part in WarmPart.allCases { state[part].activity = [:] }
        }
    }

    /// Nil where too few reads were made to tell: what was noted before says more.
    private func hitRatio() -> WarmState? {
        let minute = statistics(over: .lastMinute)
        guard minute.requests >= StatisticsWindows.tellingRequests else { return nil }
        return .ratio(hits: minute.memoryHits, of: minute.requests)
    }

    /// Writes what is pending until so many bytes are written. False with what was, where one could not be: each may have
    /// waited as long as a write may, and all wait who want to go on in memory.
    func writePending(
        _ part: WarmPart, _ shard: Int, _ warm: WarmKeeper, atMost limit: Int
    ) -> (bytes: Int, isWritten: Bool) {
        var bytes = 0
        while bytes < limit {
            // What is pending stays so until the next turn.
            if store.degraded?.isInMemory == true { return (bytes, false) }
            guard let note = warm.state.withLock({ $0[part].pending.next() }) else { break }
            guard let written = write(note, of: part, warm) else { return (bytes, false) }
            bytes += written
        }
        warm.state.withLock { state in
            guard state[part].pending.isEmpty, let activity = state[part].pending.activity else { return }
            state[part].activity[shard] = activity
        }
        return (bytes, true)
    }

    /// Its bytes; nil where it could not be written.
    private func write(_ note: WarmNote, of part: WarmPart, _ warm: WarmKeeper) -> Int? {
        do throws(VarveError) {
            let bytes = try warm.notes.write(note)
            let name = warm.notes.name(note)
            let surplus = warm.state.withLock { state in
                state.room.take(note)
                // An older state's piece lay there whose removal failed.
                state.stale.removeAll { $0 == name }
                if note.piece.isLast {
                    state.written[note.subject] = WarmKeeper.Written(number: note.number, whole: note.whole)
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
                state[part].fail(note)
                state.statistics.notesFailed += 1
            }
            return nil
        }
    }
}

/// Bounds of the work at a time.
enum WarmUp {
    /// Keys that are looked for in one turn, after which other caches of the store have theirs.
    static let keysAtOnce = 32
    /// What one write to the log brings at once; of what is larger, a piece.
    static let noteBytes = 1 << 20
    /// Bytes of a shard's list of keys: what a process that starts is to hold of it.
    static let listBytes = 16 << 20
}
