internal import VarveIO

/// How a write gets in and is acknowledged: blocking a thread, or suspending a task.
extension Engine {
    /// Takes a batch when background work allows.
    @inline(__always)
    func admit(
        _ attempt: (CommitPipeline) throws(CommitPipeline.Refusal) -> CommitPipeline.Ticket
    ) throws(VarveError) -> CommitPipeline.Ticket {
        let parts = try writable()
        var wait: WriteGate.Wait?
        while true {
            try gate.pass(&wait)
            let seen = gate.changed.generation
            do throws(CommitPipeline.Refusal) {
                return try attempt(parts.pipeline)
            } catch {
                guard case .noRoom = error else { throw CommitPipeline.lift(error) }
            }
            guard options.usesThreads else {
                try parts.flushing.runHere()
                continue
            }
            try gate.waitForRoom(&wait, since: seen)
        }
    }

    func admitAsync(
        _ attempt: (CommitPipeline) throws(CommitPipeline.Refusal) -> CommitPipeline.Ticket
    ) async throws(VarveError) -> CommitPipeline.Ticket {
        let parts = try writable()
        var wait: WriteGate.Wait?
        while true {
            try await gate.pass(&wait)
            let seen = gate.changed.generation
            do throws(CommitPipeline.Refusal) {
                return try attempt(parts.pipeline)
            } catch {
                guard case .noRoom = error else { throw CommitPipeline.lift(error) }
            }
            guard options.usesThreads else {
                try parts.flushing.runHere()
                continue
            }
            try await gate.waitForRoom(&wait, since: seen)
        }
    }

    /// Returns once the batch is as durable as it asked, and visible. `durability`: what the call itself named.
    @inline(__always)
    func acknowledge(_ ticket: CommitPipeline.Ticket, _ durability: Durability?) throws(VarveError) {
        guard let sync = writing?.log.groupSync else { return }
        if case .interval(let interval)? = durability { sync.promise(within: interval) }
        guard let lsn = ticket.waitsFor else { return try sync.waitWhileLagging() }
        try sync.wait(upTo: lsn)
    }

    func acknowledgeAsync(_ ticket: CommitPipeline.Ticket, _ durability: Durability?) async throws(VarveError) {
        guard let sync = writing?.log.groupSync else { return }
        if case .interval(let interval)? = durability { sync.promise(within: interval) }
        guard let lsn = ticket.waitsFor else { return try await sync.waitWhileLagging() }
        try await sync.wait(upTo: lsn)
    }

    /// The parts that write, where this opener may.
    @inline(__always)
    func writable() throws(VarveError) -> WritingParts {
        guard role == .primary, let writing else { throw notWritable() }
        return writing
    }

    @inline(never)
    private func notWritable() -> VarveError {
        role == .follower
            ? VarveError(.readOnly, "this store follows another one's log; write there, or open it as a primary")
            : VarveError(.readOnly, "the store was opened to read only")
    }
}
