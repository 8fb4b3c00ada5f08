internal import Synchronization
internal import VarveEngine

/// Tells the disk of deadlines that reads have moved, in the background, so that an entry which is read lives through
/// eviction from memory and restart, and no read writes to the log.
extension Cache {
    /// How many keys, and bytes of them, one write takes.
    private static var keysAtOnce: Int { 64 }
    private static var bytesAtOnce: Int { 1 << 20 }

    /// A slice of that work. For the store's thread; blocks.
    func touchStep() -> BackgroundWork.Next {
        guard let disk else { return .never }
        // What waits for the disk now is more urgent; the keys are bounded and wait.
        let isIdle = disk.engine.takesWritesAtOnce && disk.degraded?.isInMemory != true
        guard !gate.isClosed, isIdle else { return gate.isClosed ? .never : .later }
        // Else all is being told just now, as by who closes the cache.
        return touching.withLockIfAvailable { _ in
            var isHurried = false
            for shard in 0..<memory.shardCount {
                let touches = memory.withShard(at: shard) { $0.takeTouched(Cache.keysAtOnce) }
                if touches.count == Cache.keysAtOnce { isHurried = true }
                guard touchOnDisk(touches, disk) else { return .later }
            }
            return isHurried ? .soon : .later
        } ?? .later
    }

    /// All that is due, before the cache is closed. Blocks.
    func touchAll() {
        guard let disk else { return }
        touching.withLock { _ in
            for shard in 0..<memory.shardCount {
                while true {
                    let touches = memory.withShard(at: shard) { $0.takeTouched(Cache.keysAtOnce) }
                    if touches.isEmpty { break }
                    // A disk that stalls one write would stall them all.
                    guard touchOnDisk(touches, disk) else { return }
                }
            }
        }
    }

    /// Nothing where the store is not on disk: later reads touch anew. False where the disk did not take it.
    private func touchOnDisk(_ touches: [TouchedKeys<Key>.Touch], _ disk: DiskTier) -> Bool {
        if touches.isEmpty { return true }
        if let isWritten = onDisk({ touch(touches, disk) }) { return isWritten }
        for touch in touches { end(touch, stored: nil) }
        return false
    }

    /// An entry's record anew, with the deadline of now; its version is carried on.
    private struct Renewal {
        let key: [UInt8]
        let bytes: [UInt8]
        let fields: EntryFields
        /// The record that it takes the place of.
        let standing: LSN
        let touch: TouchedKeys<Key>.Touch
        let until: Int64

        /// Whether it is to be written instead of another one of its key, which was made before it.
        func replaces(_ other: Renewal) -> Bool { standing != other.standing || until > other.until }
    }

    /// What becomes of a touch.
    private enum Due {
        case renewal(Renewal)
        /// The disk knows of a deadline that is near enough: memory had read the entry before it was told.
        case known(Int64)
        /// The entry that was read is not the one on disk (any more), or has expired.
        case nothing
    }

    /// False where the disk did not take all that it had to be told.
    @discardableResult
    func touch(_ touches: [TouchedKeys<Key>.Touch], _ disk: DiskTier) -> Bool {
        var isWritten = true
        var renewals: [Renewal] = []
        // What memory let go of and read again was touched twice: one record tells both, with the later deadline.
        var places: [[UInt8]: Int] = [:]
        var bytes = 0
        for touch in touches {
            switch due(touch, disk) {
            case .nothing: end(touch, stored: nil)
            case .known(let until): end(touch, stored: until)
            case .renewal(let renewal):
                if let place = places[renewal.key] {
                    guard renewal.replaces(renewals[place]) else { continue }
                    bytes -= renewals[place].bytes.count
                    renewals[place] = renewal
                } else {
                    places[renewal.key] = renewals.count
                    renewals.append(renewal)
                }
                bytes += renewal.bytes.count
            }
            if bytes >= Cache.bytesAtOnce {
                isWritten = write(renewals, disk) && isWritten
                (renewals, places, bytes) = ([], [:], 0)
            }
        }
        return write(renewals, disk) && isWritten
    }

    private func due(_ touch: TouchedKeys<Key>.Touch, _ disk: DiskTier) -> Due {
        let key = keyBytes(touch.key)
        // An entry that cannot be read is none: the reader that asks for it gets the error.
        let read = unsafe try? disk.engine.entry(key.span.bytes, in: disk.namespace)
        guard let stored = read ?? nil, DiskTier.version(of: stored) == touch.version,
            let record = IdleRecord(stored.fields.extensions)
        else { return .nothing }
        let held = memory.withShard(touch.hash) { $0.peek(touch.key, touch.hash) }
        var until = touch.until
        if let held, held.version == touch.version { until = held.deadlines.usableUntil }
        guard until > store.clock.now(), let renewed = IdleRecord(record.rule, until: until) else { return .nothing }
        guard record.isBehind(until) else { return .known(record.until) }
        var fields = stored.fields
        renewed.write(to: &fields)
        IdleRecord.carry(touch.version, in: &fields)
        return .renewal(
            Renewal(key: key, bytes: stored.bytes, fields: fields, standing: stored.version, touch: touch, until: until)
        )
    }

    /// In one write, or one by one where something else was written to one of the keys. What fails is left to later reads;
    /// false then.
    private func write(_ renewals: [Renewal], _ disk: DiskTier) -> Bool {
        if renewals.isEmpty { return true }
        do throws(VarveError) {
            var batch = WriteBatch()
            for renewal in renewals {
                // Never over anything else: what was written, removed or has expired since stays so.
                try batch.require(renewal.key, version: renewal.standing, in: disk.namespace)
                try batch.put(renewal.key, renewal.bytes, renewal.fields, in: disk.namespace)
            }
            // It need not survive a power cut: the entry would be gone a little early.
            try disk.engine.write(batch, durability: .interval)
            for renewal in renewals { end(renewal.touch, stored: renewal.until) }
            return true
        } catch {
            guard error.code == .conditionFailed, renewals.count > 1 else {
                for renewal in renewals { end(renewal.touch, stored: nil) }
                return error.code == .conditionFailed
            }
            return renewals.reduce(true) { write([$1], disk) && $0 }
        }
    }

    private func end(_ touch: TouchedKeys<Key>.Touch, stored: Int64?) {
        memory.withShard(touch.hash) { $0.endTouch(touch, stored: stored) }
    }
}
