/// Decides what a place in the log means where no frame continues: the end that was never synced, or damage.
///
/// Every frame says up to where the log was synced when it was written. So if anything later, or the manifest, or the
/// record of a clean close says that this place had been synced, then what stood there has been lost and that is damage.
/// Otherwise it is the tail: it is cut, whatever follows it, for nothing of it was ever promised.
struct TailJudge: Equatable {
    /// The LSN that the frame here should have begun with.
    var expected: LSN
    /// The manifest says that tables hold everything up to here.
    var flushed = LSN.zero
    /// Where the record of a clean close says that the log ends; zero where there is none.
    var closedEnd = LSN.zero
    /// The highest synced LSN that a whole frame after this place states.
    var laterSynced = LSN.zero
    /// The search for later frames met its limit; nothing is known then.
    var searchGaveUp = false

    enum Verdict: Equatable {
        case tail
        /// Damage, and what proves it.
        case damage(String)
    }

    var verdict: Verdict {
        if flushed >= expected { return .damage("the manifest says that LSN \(flushed) had been synced") }
        if closedEnd >= expected { return .damage("the store was closed at LSN \(closedEnd)") }
        if laterSynced >= expected {
            return .damage("a later frame says that LSN \(laterSynced) had been synced")
        }
        if searchGaveUp { return .damage(FrameSearch.gaveUpText) }
        return .tail
    }
}
