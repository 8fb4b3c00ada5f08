/// Whether what was read from a slower tier comes in to a full memory although nothing says that it will be read again
/// soon: learned by trial, for two kinds of reads apart.
///
/// One of sixteen is tried whatever is known. If at least a quarter of those that came in lately were hit before they left,
/// all come in; the bar is a measured one. Traces differ: of what is new, two thirds are hit at once on one of them and one
/// in a hundred on another, so neither to let all in nor to keep all out is right for both.
///
/// The window's end judges. What goes on to main for want of entries, and what is removed, is not judged.
struct ReadAdmission: Sendable {
    /// Why an entry is on trial.
    enum Trial: UInt8, Sendable {
        /// It is not.
        case none
        /// Its key is not remembered.
        case new
        /// Its key comes back after a longer time than the window keeps what is not used.
        case late
    }

    /// What became of a kind's trials: a hit one counts for three that were not.
    private struct Record: Sendable {
        private var balance = 0
        private var chance: UInt64 = 0x9E37_79B9_7F4A_7C15

        mutating func admits() -> Bool {
            if balance >= 0 { return true }
            // By chance (Marsaglia's xorshift): who is tried in turn meets the same one of reads that come in pairs.
            chance ^= chance << 13
            chance ^= chance >> 7
            chance ^= chance << 17
            return chance >> (64 - ReadAdmission.trialBits) == 0
        }

        mutating func note(wasHit: Bool) {
            let next = balance + (wasHit ? ReadAdmission.weightOfHit : -1)
            balance = max(-ReadAdmission.memory, min(next, ReadAdmission.memory))
        }
    }

    /// One of two to this power is tried.
    static let trialBits: UInt64 = 4
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

    /// An entry reached the end of the window.
    mutating func note(_ trial: Trial, wasHit: Bool) {
        switch trial {
        case .none: break
        case .new: new.note(wasHit: wasHit)
        case .late: late.note(wasHit: wasHit)
        }
    }
}
