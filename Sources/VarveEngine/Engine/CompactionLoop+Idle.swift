internal import Synchronization

/// What is done while nobody writes: a store gives back what it keeps for writes to come, and what waits for more of its kind
/// waits no longer.
extension CompactionLoop {
    /// What an idle store does, one step at a time; false where there is none now.
    func settleIfIdle() throws(VarveError) -> Bool {
        let end = store.log.appendedLSN
        switch state.withLock({ $0.idle?.look(end, .now) }) {
        case IdleWatch.News.none?, nil: return false
        case .resumed?:
            store.log.preparer.prepareAhead()
            return false
        case .idle?: break
        }
        // A small memtable stays: a table of its own would cost more than the log that it needs.
        if store.sealIfLarge() { return false }
        guard store.keeper.sealedCount == 0 else { return false }
        if try carryOut(choose(isIdle: true)) { return true }
        try store.log.preparer.giveBack()
        state.withLock { $0.idle?.noteDone() }
        return false
    }

    /// Does what an idle store would do of compactions, and gives back the log's spare files, on the calling thread.
    func giveBackHere() throws(VarveError) {
        while try carryOut(choose(isIdle: true, looking: .atOnce)) {}
        try removeObsolete()
        try store.log.preparer.giveBack()
    }

    /// The same on the loop's own thread, and returns when that is done. Blocks.
    func giveBack() throws(VarveError) { try wait(for: Request(.giveBack)) }
}
