extension Engine {
    /// Stores a value under a key and returns the LSN of the write, which is the entry's version from then on.
    ///
    /// Blocks where the durability or background work asks for it: call the `async` form from a task.
    /// - Parameters:
    ///   - key: up to 64 KiB.
    ///   - value: up to 64 MiB.
    ///   - durability: what the write promises when this returns; nil: the store's default.
    /// - Throws: `.limitExceeded` at the door; `.diskFull` and `.stalled` with nothing written; `.failedStop` and
    ///   `.readOnly` where no write is taken.
    @discardableResult
    public func put(
        _ key: RawSpan, _ value: RawSpan, _ fields: EntryFields = .none, in namespace: Namespace = .default,
        durability: Durability? = nil
    ) throws(VarveError) -> LSN {
        let ticket = try admit { (pipeline) throws(CommitPipeline.Refusal) in
            try pipeline.commitOne(durability ?? options.durability) { (buffer) throws(VarveError) in
                try unsafe key.withUnsafeBytes { (key) throws(VarveError) in
                    try unsafe value.withUnsafeBytes { (value) throws(VarveError) in
                        try unsafe RecordWriter.put(key, value, fields, namespace.id, into: &buffer)
                    }
                }
            }
        }
        try acknowledge(ticket, durability)
        return ticket.last
    }

    /// Stores a value under a key. See the form that takes spans.
    @discardableResult
    public func put(
        _ key: [UInt8], _ value: [UInt8], _ fields: EntryFields = .none, in namespace: Namespace = .default,
        durability: Durability? = nil
    ) throws(VarveError) -> LSN {
        unsafe try put(key.span.bytes, value.span.bytes, fields, in: namespace, durability: durability)
    }

    /// Stores a value under a key without blocking the caller's thread.
    @discardableResult
    public func put(
        _ key: [UInt8], _ value: [UInt8], _ fields: EntryFields = .none, in namespace: Namespace = .default,
        durability: Durability? = nil
    ) async throws(VarveError) -> LSN {
        let ticket = try await admitAsync { (pipeline) throws(CommitPipeline.Refusal) in
            try pipeline.commitOne(durability ?? options.durability) { (buffer) throws(VarveError) in
                try unsafe key.withBytes { (key) throws(VarveError) in
                    try unsafe value.withBytes { (value) throws(VarveError) in
                        try unsafe RecordWriter.put(key, value, fields, namespace.id, into: &buffer)
                    }
                }
            }
        }
        try await acknowledgeAsync(ticket, durability)
        return ticket.last
    }

    /// Stores a value of a source version, which the fields carry, unless the store has known a newer one of the key. The
    /// same source version again is stored. See `WriteBatch.requireNotOlder`.
    /// - Throws: as `put`, and `.conditionFailed`, whose `failedCondition` tells the source version that stood.
    @discardableResult
    public func putIfNotOlder(
        _ key: [UInt8], _ value: [UInt8], _ fields: EntryFields, in namespace: Namespace = .default,
        durability: Durability? = nil
    ) throws(VarveError) -> LSN {
        var batch = WriteBatch()
        try batch.putIfNotOlder(key, value, fields, in: namespace)
        return try write(batch, durability: durability)
    }

    /// The same without blocking the caller's thread.
    @discardableResult
    public func putIfNotOlder(
        _ key: [UInt8], _ value: [UInt8], _ fields: EntryFields, in namespace: Namespace = .default,
        durability: Durability? = nil
    ) async throws(VarveError) -> LSN {
        var batch = WriteBatch()
        try batch.putIfNotOlder(key, value, fields, in: namespace)
        return try await write(batch, durability: durability)
    }

    /// Makes a key absent; it need not be there.
    @discardableResult
    public func delete(
        _ key: [UInt8], in namespace: Namespace = .default, durability: Durability? = nil
    ) throws(VarveError) -> LSN {
        var batch = WriteBatch()
        try batch.delete(key, in: namespace)
        return try write(batch, durability: durability)
    }

    /// Makes a key absent without blocking the caller's thread.
    @discardableResult
    public func delete(
        _ key: [UInt8], in namespace: Namespace = .default, durability: Durability? = nil
    ) async throws(VarveError) -> LSN {
        var batch = WriteBatch()
        try batch.delete(key, in: namespace)
        return try await write(batch, durability: durability)
    }

    /// Makes every key in [begin, end) absent with one record; a nil end means to the end of the namespace.
    @discardableResult
    public func deleteRange(
        from begin: [UInt8], to end: [UInt8]?, in namespace: Namespace = .default, durability: Durability? = nil
    ) throws(VarveError) -> LSN {
        var batch = WriteBatch()
        try batch.deleteRange(from: begin, to: end, in: namespace)
        return try write(batch, durability: durability)
    }

    /// Commits a batch: all of it or nothing. Returns its last LSN; an empty batch without conditions returns the LSN
    /// that is visible now.
    /// - Throws: as `put`, and `.conditionFailed` with nothing written.
    @discardableResult
    public func write(_ batch: borrowing WriteBatch, durability: Durability? = nil) throws(VarveError) -> LSN {
        let promised = durability ?? options.durability
        while true {
            let checked = try checkConditions(of: batch, .mayBlock)
            if batch.isEmpty { return checked }
            do throws(VarveError) {
                let ticket = try admit { (pipeline) throws(CommitPipeline.Refusal) in
                    try commit(batch, promised, checkedAt: checked, pipeline)
                }
                try acknowledge(ticket, durability)
                return ticket.last
            } catch {
                guard error.code == .wouldBlock else { throw error }
                // A write to one of the keys may wait for its sync, and is no state before.
                guard let log = writing?.log, visibleLSN < log.appendedLSN else { continue }
                do throws(VarveError) { try log.sync() } catch { throw error.at(.admission) }
            }
        }
    }

    /// Commits a batch without blocking the caller's thread.
    @discardableResult
    public func write(_ batch: borrowing WriteBatch, durability: Durability? = nil) async throws(VarveError) -> LSN {
        if batch.isEmpty { return try await checkConditionsAsync(of: batch) }
        let ticket = try await append(batch, durability)
        try await acknowledgeAsync(ticket, durability)
        return ticket.last
    }

    /// A batch that every reader sees.
    package struct VisibleWrite: Sendable {
        package let version: LSN
        /// Why it may not survive as its durability says: the log failed after the batch was shown. Nil: it will.
        package let failure: VarveError?
    }

    /// Commits a batch that is not empty as `write` does, and tells one that readers see, though the log failed before it
    /// was durable, from one that no reader of this engine sees, ever: for that it throws. One whose task is cancelled
    /// stands, and is seen once it is synced.
    package func writeVisibly(
        _ batch: borrowing WriteBatch, durability: Durability
    ) async throws(VarveError) -> VisibleWrite {
        let ticket = try await append(batch, durability)
        do throws(VarveError) {
            try await acknowledgeAsync(ticket, durability)
            return VisibleWrite(version: ticket.last, failure: nil)
        } catch {
            // Who waits hears of a failure when the sync has ended that met it, and none succeeds after it: what is not
            // visible by then never will be.
            guard error.code != .cancelled, visibleLSN >= ticket.last else { throw error }
            return VisibleWrite(version: ticket.last, failure: error)
        }
    }

    /// Takes a batch that is not empty, where its conditions hold.
    private func append(
        _ batch: borrowing WriteBatch, _ durability: Durability?
    ) async throws(VarveError) -> CommitPipeline.Ticket {
        let promised = durability ?? options.durability
        while true {
            let checked = try await checkConditionsAsync(of: batch)
            do throws(VarveError) {
                return try await admitAsync { (pipeline) throws(CommitPipeline.Refusal) in
                    try commit(batch, promised, checkedAt: checked, pipeline)
                }
            } catch {
                guard error.code == .wouldBlock else { throw error }
                // A write to one of the keys may wait for its sync, and is no state before.
                guard let log = writing?.log, visibleLSN < log.appendedLSN else { continue }
                do throws(VarveError) { try await log.sync() } catch { throw error.at(.admission) }
            }
        }
    }
}
