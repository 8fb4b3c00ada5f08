internal import VarveIO

extension Engine {
    /// Brings every write made before the call into tables. Blocks.
    public func flush() throws(VarveError) {
        let parts = try writable()
        var wait: WriteGate.Wait?
        var target = LSN.zero
        while true {
            let seen = gate.changed.generation
            do throws(CommitPipeline.Refusal) {
                target = try parts.pipeline.sealActive()
                break
            } catch {
                guard case .noRoom = error else { throw CommitPipeline.lift(error) }
            }
            guard options.usesThreads else {
                try parts.flushing.runHere()
                continue
            }
            try gate.waitForRoom(&wait, since: seen)
        }
        guard options.usesThreads else { return try parts.flushing.runHere() }
        while true {
            let seen = parts.flushing.progress.generation
            // A log record that is no batch leaves nothing to flush: what counts is that nothing sealed is left.
            if keeper.sealed.allSatisfy({ $0.end.lsn > target }) { return }
            if let failure = health.failure { throw failure }
            if let passing = health.passing { throw passing }
            if isClosed { throw VarveError(.closed, "the store was closed") }
            parts.flushing.progress.wait(after: seen, atMost: .seconds(1))
        }
    }

    /// The same without blocking the caller's thread.
    public func flush() async throws(VarveError) {
        try await IOThread.run(name: "varve-upkeep") { () throws(VarveError) in try self.flushBlocking() }
    }
    private func flushBlocking() throws(VarveError) { try flush() }

    /// Flushes, then merges every table that may hold keys of [from, to) of a namespace down to the last level: what is
    /// deleted, overwritten or expired there gives its space back. Without bounds and namespace: the whole store. Blocks
    /// until it is done.
    public func compact(
        in namespace: Namespace? = nil, from: [UInt8]? = nil, to: [UInt8]? = nil
    ) throws(VarveError) {
        try flush()
        let range = namespace.map { namespace in
            let bounds = KeyBounds(namespace: namespace.id, from: from, to: to)
            return KeyRange(
                smallest: bounds.lower,
                largest: bounds.upper ?? [UInt8](repeating: 0xFF, count: Limits.fullKeyBytes + 1),
                isExclusive: true)
        }
        try compact(range)
    }

    /// Flushes, and does at once what a store does by itself when nothing was written for ten seconds: merges level 0 where
    /// it may hide much of what lies beneath, brings old tombstones down, and gives back the log's spare segments. Writes
    /// that come next make new ones. Blocks until it is done.
    public func giveBackSpace() throws(VarveError) {
        try flush()
        let parts = try writable()
        if options.usesThreads { try parts.compaction.giveBack() } else { try parts.compaction.giveBackHere() }
    }

    func compact(_ range: KeyRange?) throws(VarveError) {
        let parts = try writable()
        guard options.usesThreads else { return try parts.compaction.compactHere(range) }
        try parts.compaction.compact(range)
    }

    /// The same without blocking the caller's thread.
    public func compact(
        in namespace: Namespace? = nil, from: [UInt8]? = nil, to: [UInt8]? = nil
    ) async throws(VarveError) {
        try await IOThread.run(name: "varve-upkeep") { () throws(VarveError) in
            try self.compactBlocking(in: namespace, from: from, to: to)
        }
    }
    private func compactBlocking(in namespace: Namespace?, from: [UInt8]?, to: [UInt8]?) throws(VarveError) {
        try compact(in: namespace, from: from, to: to)
    }

    /// Does all that background threads would do now, on the calling thread: for a store that has none.
    package func runBackgroundWork() throws(VarveError) {
        let parts = try writable()
        precondition(!options.usesThreads, "a store with threads does its background work by itself")
        try parts.flushing.runHere()
        try parts.compaction.runHere()
    }

    /// Whether background work has nothing left to do, by what is known: nothing waits to be flushed, every level is within its
    /// target. Reads no tables, so it may be true between an invalidation by keys and the first look at what that hides.
    public var isSettled: Bool { keeper.sealedCount == 0 && (writing?.compaction.isSettled ?? true) }

    /// Makes every write acknowledged so far durable. Blocks.
    public func sync() throws(VarveError) { try writing?.log.sync() }

    /// The same without blocking the caller's thread.
    public func sync() async throws(VarveError) { try await writing?.log.sync() }
}
