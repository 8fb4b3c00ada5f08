internal import VarveIO

/// Conditional batches, without reading under the commit lock (optimistic concurrency, Kung and Robinson 1981).
///
/// The conditions are checked as of a visible LSN, where the disk may be read; the commit then only asks memory whether
/// any of the keys was written after that LSN. If it was, or if memory cannot tell any more, everything starts over.
extension Engine {
    /// Checks a batch's conditions and returns the LSN as of which they hold.
    func checkConditions(of batch: borrowing WriteBatch, _ mode: ReadMode) throws(VarveError) -> LSN {
        // Before the state is pinned: a batch that goes into a memtable which the pinned state does not have yet lies
        // beyond this LSN, and the commit finds it.
        let checked = visibleLSN
        if batch.conditions.isEmpty { return checked }
        let pin = keeper.cell.pin()
        let lsn = visibleLSN
        let now = clock.now()
        for condition in batch.conditions {
            let failure: ConditionFailure.Reason?
            do throws(VarveError) { failure = try check(condition, in: pin.state, at: lsn, now: now, mode) } catch {
                throw error.code == .wouldBlock ? error : error.at(.conditions)
            }
            if let failure { throw condition.failed(failure) }
        }
        return checked
    }

    /// Why a condition does not hold; nil: it does.
    private func check(
        _ condition: WriteBatch.Condition, in state: ReadState, at lsn: LSN, now: Timestamp, _ mode: ReadMode
    ) throws(VarveError) -> ConditionFailure.Reason? {
        unsafe try condition.fullKey.withBytes { (key) throws(VarveError) in
            let hash = unsafe XXH3.hash64(key)
            switch condition.demand {
            case .version(let required):
                let found: LSN? = unsafe try Lookup.withLive(
                    key, hash: hash, in: state, at: lsn, now: { now }, mode, tables
                ) { (_, version) in version }.value
                return found == required ? nil : .version(required: required, found: found)
            case .notOlder(let given, let regardsFloors):
                let standing = unsafe try Lookup.sourceVersion(
                    above: given, of: key, hash: hash, in: state, at: lsn, mode, tables)
                if let standing, standing.isShared, !regardsFloors { return nil }
                return standing.map { .olderSourceVersion(given: given, standing: $0.version, isShared: $0.isShared) }
            case .unchanged(let since):
                return mayHaveChanged([condition], after: since, in: state) ? .changed(since: since) : nil
            }
        }
    }

    func checkConditionsAsync(of batch: borrowing WriteBatch) async throws(VarveError) -> LSN {
        do {
            return try checkConditions(of: batch, .memoryOnly)
        } catch {
            guard error.code == .wouldBlock else { throw error }
        }
        let conditions = batch.conditions
        return try await context.threads.run { () throws(VarveError) in
            var copy = WriteBatch()
            copy.conditions = conditions
            return try self.checkConditions(of: copy, .mayBlock)
        }
    }

    /// Commits a batch whose conditions held at `checked`.
    func commit(
        _ batch: borrowing WriteBatch, _ durability: Durability, checkedAt checked: LSN,
        _ pipeline: CommitPipeline
    ) throws(CommitPipeline.Refusal) -> CommitPipeline.Ticket {
        let conditions = batch.conditions
        return unsafe try pipeline.commit(batch.payload.bytes, count: batch.count, durability) {
            () throws(CommitPipeline.Refusal) in
            if !conditions.isEmpty, hasChanged(conditions, after: checked) { throw .conflict }
        }
    }

    /// Whether what the conditions were checked on may have changed after `lsn`. Under the commit lock: memory only.
    private func hasChanged(_ conditions: [WriteBatch.Condition], after lsn: LSN) -> Bool {
        let state = keeper.cell.pin().state
        if haveFloorsRisen(conditions, in: state.version.floors) { return true }
        return mayHaveChanged(conditions, after: lsn, in: state)
    }

    /// Whether any of the keys may have been written after `lsn`, or after what its own condition says, visible or not.
    private func mayHaveChanged(_ conditions: [WriteBatch.Condition], after lsn: LSN, in state: ReadState) -> Bool {
        let oldest = conditions.reduce(lsn) { oldest, condition in
            if case .unchanged(let since) = condition.demand { return min(oldest, since) }
            return oldest
        }
        // What was flushed since cannot be asked without the disk.
        if state.version.flushed.lsn > oldest { return true }
        for memtable in [state.active] + state.sealed {
            guard let newest = memtable.largestLSN, newest > oldest else { continue }
            if conditions.contains(where: { isTouched($0, after: lsn, in: memtable) }) { return true }
        }
        return false
    }

    private func isTouched(_ condition: WriteBatch.Condition, after lsn: LSN, in memtable: Memtable) -> Bool {
        unsafe condition.fullKey.withBytes { key in
            var bound = lsn
            if case .unchanged(let since) = condition.demand { bound = since }
            if let written = unsafe memtable.newestLSN(of: key), written > bound { return true }
            // What a range delete hides keeps its source version.
            if case .notOlder = condition.demand { return false }
            if let hidden = unsafe memtable.rangeTombstoneLSN(covering: key, at: .max), hidden > bound { return true }
            return false
        }
    }

    /// Whether a floor stands above what a condition brings. What was dropped of the key itself was there to be seen when
    /// the condition was checked; this tells of other keys of the slot, so that the write is refused by every floor that
    /// stands when it is committed.
    private func haveFloorsRisen(_ conditions: [WriteBatch.Condition], in floors: FloorTable) -> Bool {
        conditions.contains { condition in
            guard case .notOlder(let given, regardsFloors: true) = condition.demand else { return false }
            return unsafe condition.fullKey.withBytes { key in
                floors.floor(forKeyHash: unsafe XXH3.hash64(key)) > given
            }
        }
    }
}
