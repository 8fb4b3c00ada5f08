internal import Synchronization

/// What a namespace may take on disk, inside what the store may take. Of this node and this opening: it is written nowhere.
public struct NamespaceLimit: Hashable, Sendable {
    /// Of tables, as they lie on disk; at least 64 KiB. Nil: no bound.
    public var bytes: UInt64?
    /// In tables, an entry of whatever size counting as one; at least 16. Nil: no bound.
    public var entries: UInt64?

    public init(bytes: UInt64? = nil, entries: UInt64? = nil) {
        self.bytes = bytes
        self.entries = entries
    }

    func validate() throws(VarveError) {
        if let bytes, bytes < 64 << 10 {
            throw VarveError(.invalidArgument, "a namespace's limit of \(bytes) bytes is below 64 KiB")
        }
        if let entries, entries < 16 {
            throw VarveError(.invalidArgument, "a namespace's limit of \(entries) entries is below 16")
        }
    }

    /// How much of the limit that is nearest is taken; 0 without one.
    func occupancy(_ use: NamespaceUse.Use) -> Double {
        max(
            bytes.map { Double(use.bytes) / Double(max(1, $0)) } ?? 0,
            entries.map { Double(use.entries) / Double(max(1, $0)) } ?? 0)
    }

    /// Whether entries, and not bytes, are what it has too much of.
    func countsEntries(_ use: NamespaceUse.Use) -> Bool {
        NamespaceLimit(bytes: bytes).occupancy(use) < NamespaceLimit(entries: entries).occupancy(use)
    }
}

/// What is kept of one namespace while the store is open: its name as far as somebody asked for it, its limit, what it lost
/// and what was written for it. Any thread.
final class NamespaceAccount: Sendable {
    struct Counts: Hashable, Sendable {
        var evicted: UInt64 = 0
        /// By compactions, entries and bytes; and bytes by flushes.
        var entriesRewritten: UInt64 = 0
        var bytesRewritten: UInt64 = 0
        var bytesFlushed: UInt64 = 0
    }

    struct State: Sendable {
        var name: String?
        var limit: NamespaceLimit?
        var counts = Counts()
        /// What engines that were replaced sent to the log, and the opening of the last of them.
        var logged = NamespaceTraffic.Count()
        var carried: UInt64 = 0
    }

    private let locked = Mutex(State())
    var state: State { locked.withLock { $0 } }
    func update(_ body: (inout State) -> Void) { locked.withLock { body(&$0) } }
    private let full = Atomic<Bool>(false)

    /// Whether it has filled its limit: from nearly all of it on, and until half of it is free again.
    var isFull: Bool { full.load(ordering: .relaxed) }

    func note(occupancy: Double) {
        if occupancy >= 0.95 { full.store(true, ordering: .relaxed) }
        if occupancy < 0.5 { full.store(false, ordering: .relaxed) }
    }
}

/// The accounts of a store's namespaces. Any thread.
final class NamespaceAccounts: Sendable {
    private let accounts = Mutex<[NamespaceID: NamespaceAccount]>([:])
    private let limited = Atomic<Bool>(false)
    private let openings = Atomic<UInt64>(0)

    /// A number for one more engine that counts here: from 1, each larger than the one before.
    func nextOpening() -> UInt64 { openings.add(1, ordering: .relaxed).newValue }

    /// Whether some namespace has a limit, so that reads have to be remembered.
    @inline(__always)
    var hasLimits: Bool { limited.load(ordering: .relaxed) }

    subscript(_ namespace: NamespaceID) -> NamespaceAccount {
        accounts.withLock { accounts in
            if let known = accounts[namespace] { return known }
            let fresh = NamespaceAccount()
            accounts[namespace] = fresh
            return fresh
        }
    }

    var all: [NamespaceID: NamespaceAccount] { accounts.withLock { $0 } }

    func forget(_ namespace: NamespaceID) {
        accounts.withLock { $0[namespace] = nil }
        noteLimits()
    }

    func setLimit(_ limit: NamespaceLimit?, of namespace: NamespaceID) {
        let isBound = limit?.bytes != nil || limit?.entries != nil
        let account = self[namespace]
        account.update { $0.limit = isBound ? limit : nil }
        if !isBound { account.note(occupancy: 0) }
        noteLimits()
    }

    private func noteLimits() { limited.store(!limits.isEmpty, ordering: .relaxed) }

    var limits: [NamespaceID: NamespaceLimit] { all.compactMapValues(\.state.limit) }

    /// Tells each limited namespace how full it is.
    func note(_ use: NamespaceUse) {
        for (namespace, account) in all {
            if let limit = account.state.limit { account.note(occupancy: limit.occupancy(use[namespace])) }
        }
    }

    /// Takes over what an engine has counted whose place another one takes, once. Who reads an account sees with it whose
    /// counts stand there already, so that nothing is counted twice while that engine is still asked.
    func carry(_ traffic: NamespaceTraffic, of opening: UInt64) {
        for (namespace, count) in traffic.all {
            self[namespace].update { state in
                guard state.carried < opening else { return }
                state.logged.records &+= count.records
                state.logged.bytes &+= count.bytes
                state.carried = opening
            }
        }
    }

    /// Counts what a job has written and let go.
    func count(_ result: RunResult, isFlush: Bool) {
        let written = NamespaceUse(result.tables.map { TableFile(number: $0.number, properties: $0.properties) })
        for (namespace, use) in written.of where namespace >= .firstUser {
            self[namespace].update { state in
                if isFlush {
                    state.counts.bytesFlushed &+= use.bytes
                } else {
                    state.counts.entriesRewritten &+= use.entries
                    state.counts.bytesRewritten &+= use.bytes
                }
            }
        }
        for (namespace, count) in result.counts.evictedOf {
            self[namespace].update { $0.counts.evicted &+= count }
        }
    }
}

/// How many records, and how many bytes of keys and entries, each namespace has sent to the log. Counted under the commit
/// lock; runs of one namespace cost an addition each.
struct NamespaceTraffic: Sendable {
    struct Count: Hashable, Sendable {
        var records: UInt64 = 0
        var bytes: UInt64 = 0
    }

    private var earlier: [NamespaceID: Count] = [:]
    private var present = NamespaceID.default
    private var count = Count()

    @inline(__always)
    mutating func add(_ namespace: NamespaceID, bytes: Int) {
        if namespace != present { turn(to: namespace) }
        count.records &+= 1
        count.bytes &+= UInt64(bytes)
    }

    @inline(never)
    private mutating func turn(to namespace: NamespaceID) {
        earlier[present] = count
        present = namespace
        count = earlier[namespace] ?? Count()
    }

    var all: [NamespaceID: Count] { earlier.merging([present: count]) { $1 } }

    subscript(_ namespace: NamespaceID) -> Count { namespace == present ? count : earlier[namespace] ?? Count() }
}
