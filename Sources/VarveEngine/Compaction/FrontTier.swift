/// A tier of memory in front of the store: the reads that it answers never come to the engine, so what is read most would
/// look unread to eviction. The threads that compact ask it for each entry that a pass may let go. It must answer quickly,
/// wait for nothing and not call the engine.
public protocol FrontTier: Sendable {
    /// Whether the tier has answered reads of a key lately: best since it was asked of that key last, or the time before. Each
    /// question counts. `key`: without its namespace.
    func takeUse(of key: RawSpan, in namespace: UInt32) -> Bool
}

extension FrontTier {
    /// The same for a full key, which holds its namespace.
    func takeUse(of fullKey: UnsafeRawBufferPointer, _ namespace: NamespaceID) -> Bool {
        let key = unsafe UnsafeRawBufferPointer(rebasing: fullKey[FullKey.namespaceBytes...])
        return takeUse(of: unsafe RawSpan(_unsafeBytes: key), in: namespace.rawValue)
    }
}

/// Whether sweeps go by what a tier in front says. What it says is used spares an entry whatever else there is to let go, and
/// where most of what may go is used sweeps would rewrite it in vain, again and again: then it is not asked for a while.
/// A value; decided from sweeps alone.
struct FrontTrust {
    /// Entries that sweeps in a row spared, each of them most of what might have gone.
    private var spared: UInt64 = 0
    /// Entries that sweeps have to go through before it is asked again.
    private var rest: UInt64 = 0

    var asks: Bool { rest == 0 }

    /// Turns of the whole store without a question.
    static let restTurns: UInt64 = 8
    /// Sweeps without room, while writers wait, after which it is not asked any more: far fewer than end sweeping.
    static let mostPoorSweeps = 16

    /// A sweep went through `read` entries of `storeEntries`, of which `asked` might have gone, and spared some of those.
    /// `poor`: so many in a row had let hardly anything go by then.
    mutating func note(read: UInt64, asked: UInt64, spared: UInt64, storeEntries: UInt64, poor: Int) {
        guard rest == 0 else {
            rest -= min(rest, max(1, read))
            return
        }
        self.spared = spared &* 4 > asked &* 3 ? self.spared &+ spared : 0
        guard self.spared > storeEntries / 2 || (spared > 0 && poor >= FrontTrust.mostPoorSweeps) else { return }
        self.spared = 0
        rest = max(1, storeEntries &* FrontTrust.restTurns)
    }
}
