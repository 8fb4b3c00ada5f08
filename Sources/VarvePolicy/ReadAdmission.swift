/// Whether what was read from a slower tier comes in to a full memory although nothing says that it will be read again
/// soon: learned by trial, for two kinds of reads apart.
///
/// One of sixteen is tried whatever is known. If at least a quarter of those that came in lately were hit before they left,
/// all come in: an admission (insert, evict, allocate) costs about what a read of the slower tier does where the kernel has
/// its block, and far less where it has not. Traces differ: of what is new, two thirds are hit at once on one of them and
/// one in a hundred on another, so neither rule is right for both.
struct ReadAdmission: Sendable {
    /// Why an entry is on trial.
    enum Trial: UInt8, Sendable {
        /// It is not.
        case none
        /// Its key is not remembered.
        case new
        /// Its key comes back later than what is in stays unused.
        case late
    }

    /// What became of a kind's trials: a hit one counts for three that were not.
    private struct Record: Sendable {
        private var balance = 0
        private var refused = 0

        mutating func admits() -> Bool {
            if balance >= 0 { return true }
            refused = (refused + 1) % ReadAdmission.refusalsPerTrial
            return refused == 0
        }

        mutating func note(wasHit: Bool) {
            let next = balance + (wasHit ? ReadAdmission.weightOfHit : -1)
            balance = max(-ReadAdmission.memory, min(next, ReadAdmission.memory))
        }
    }

    static let refusalsPerTrial = 16
    static let weightOfHit = 3
    /// How far a balance goes to either side: so many failures end what successes have earned.
    static let memory = 256

    private var new = Record()
    private var late = Record()

    /// Whether a read of this kind comes in. It is on trial then, and `note` is told how it ended.
    mutating func admits(_ trial: Trial) -> Bool {
        switch trial {
        case .none: true
        case .new: new.admits()
        case .late: late.admits()
        }
    }

    /// One that was on trial reached the end of the window.
    mutating func note(_ trial: Trial, wasHit: Bool) {
        switch trial {
        case .none: break
        case .new: new.note(wasHit: wasHit)
        case .late: late.note(wasHit: wasHit)
        }
    }
}
