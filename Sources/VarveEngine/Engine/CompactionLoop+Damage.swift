internal import Synchronization

/// Tables that a compaction could not read. That says nothing of the log, nor of what is written: no reason to refuse writes.
/// The table is set aside, which is not remembered across an opening, and the picker goes round it. It is not dropped: what
/// of it cannot be read may be newer than what lies beneath, which would show again.
extension CompactionLoop {
    struct SetAside: Sendable {
        let error: VarveError
        let since: ContinuousClock.Instant
        /// For how long it is left alone where the kernel refused to read it.
        let span: Duration
        /// It may be tried again, for the last refusal may have been the moment's fault.
        var isOver = false
    }

    /// The first refusal counts for so long, and each that follows for twice as long as the one before: what is tried is a
    /// whole compaction.
    private static let shortestRefusal = Duration.seconds(60)
    private static let longestRefusal = Duration.seconds(3600)

    var damagedTables: Set<FileNumber> {
        state.withLock { state in Set(state.setAside.lazy.filter { !$0.value.isOver }.map(\.key)) }
    }

    /// Whether an error tells of a table of the store that cannot be read. What a compaction writes is in no version yet.
    func isDamage(_ error: VarveError) -> Bool {
        CompactionLoop.isOfInputs(error) || !tables(namedBy: error, nil).isEmpty
    }

    /// Sets aside what an error of a compaction names; false where it names nothing that was not set aside before: then going
    /// on would be trying the same again.
    @discardableResult
    func setAside(_ error: VarveError, _ compaction: Compaction) -> Bool {
        let told = VarveError(
            error.code,
            "\(error.message); compactions go round this table\(CompactionLoop.span(of: error)): run verify, then repair",
            path: error.path, offset: error.offset, underlying: error)
        let damaged = tables(namedBy: error, compaction)
        let isNews = state.withLock { state in
            let new = damaged.filter { state.setAside[$0]?.isOver ?? true }
            for number in new {
                let span = state.setAside[number].map { min($0.span * 2, CompactionLoop.longestRefusal) }
                state.setAside[number] = SetAside(
                    error: told, since: .now, span: span ?? CompactionLoop.shortestRefusal)
            }
            return !new.isEmpty
        }
        tellDamage()
        return isNews
    }

    private static func span(of error: VarveError) -> String {
        error.code == .io ? ", and try again later" : " until the store is opened anew"
    }

    /// Lets go of tables that the store has no more, and has those tried again that the kernel refused to read long enough
    /// before `now`.
    func forgetRefusals(until now: ContinuousClock.Instant) {
        guard state.withLock({ !$0.setAside.isEmpty }) else { return }
        let present = Set(store.versions.version.allTables.map(\.number))
        state.withLock { state in
            state.setAside = state.setAside.filter { present.contains($0.key) }
            for (number, table) in state.setAside where table.error.code == .io {
                if table.since.duration(to: now) >= table.span { state.setAside[number]?.isOver = true }
            }
        }
        tellDamage()
    }

    private func tellDamage() {
        let oldest = state.withLock { state in
            state.setAside.values.filter { !$0.isOver }.min { $0.since < $1.since }?.error
        }
        store.health.setDamage(oldest)
    }

    /// An entry that contradicts itself in a block that is as it was written does not say of which input it is.
    private static func isOfInputs(_ error: VarveError) -> Bool {
        error.path == nil && [.corruption, .unsupportedFormat].contains(error.code)
    }

    /// The tables that an error tells of; all inputs, where it is one of them.
    private func tables(namedBy error: VarveError, _ compaction: Compaction?) -> [FileNumber] {
        if CompactionLoop.isOfInputs(error) { return compaction?.inputs.map(\.file.number) ?? [] }
        guard [.corruption, .missingFile, .unsupportedFormat, .io].contains(error.code), let path = error.path else {
            return []
        }
        return store.versions.version.allTables.map(\.number).filter {
            FileName.table($0).path(in: store.directory) == path
        }
    }
}
