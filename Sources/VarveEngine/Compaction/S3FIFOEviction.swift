internal import Synchronization

/// S3-FIFO laid over the tables of an LSM tree: what a store that is full forgets, and what it need not take.
///
/// Tables stand in a queue by when they were written. When the store is over its budget the oldest is gone through: what
/// was read since it was written, or since the last pass, goes into a new table at the queue's end and has to be read again
/// to stay again; the rest is forgotten. Entries that come for the first time have to be read within a tenth of the
/// store's capacity, or they go and leave a fingerprint in a ghost; one that is seen again while its fingerprint is there
/// has earned its place. While there is room everything stays.
///
/// Who loads values asks `admits` before storing one: a value that is asked for once never reaches the disk, nor does one
/// that comes back so late that it would be gone before it came back again (`SweepPace`). Where most of what is written
/// was admitted so, it has been seen twice already, and nothing is gained by going through the fresh tables first: then
/// the queue is one, a CLOCK over tables.
///
/// Memory: 18 to 36 bytes for each expected entry. Where the store comes to hold more than was expected that doubles, with
/// all that is remembered, as far as it may. Any thread may call `recordRead` and `admits`; neither locks nor waits.
///
/// Ideas: S3-FIFO (Yang et al., SOSP 2023), the ghost of 2Q (Johnson and Shasha, VLDB 1994), the reuse distances of LIRS.
public final class S3FIFOEviction: EvictionPolicy {
    /// What has been decided since the policy was made.
    public struct Counts: Hashable, Sendable {
        /// Entries that passes let go, and kept because they had been read.
        public var evicted: UInt64 = 0
        public var kept: UInt64 = 0
        /// Times that `admits` found the key in the ghost and young enough, and times that it did not.
        public var ghostHits: UInt64 = 0
        public var sightings: UInt64 = 0
    }

    /// Entries that the memory was taken for: what the store is expected to hold at its budget, or has come to hold.
    public var expectedEntries: Int { expected.load(ordering: .relaxed) }
    private let expected: Atomic<Int>
    private let mostEntries: Int
    /// Held while the tables grow, or are written or read as a whole.
    let whole = Mutex(())
    let credits: ReadCredits
    /// How many passes an entry can live through for what was read before the first of them.
    let lives: Int
    let ghost: GhostTable
    private let evictedKeys: EvictedKeys
    let pace: SweepPace
    private let evicted = Atomic<UInt64>(0)
    private let kept = Atomic<UInt64>(0)
    private let ghostHits = Atomic<UInt64>(0)
    private let sightings = Atomic<UInt64>(0)
    private let full = Atomic<Bool>(false)
    // Of the last while: entries written to a full store, and how many of them were admitted from the ghost.
    private let recentlyWritten = Atomic<Int>(0)
    private let recentlyAdmitted = Atomic<Int>(0)

    /// - Parameters:
    ///   - expectedEntries: entries that the store holds at its budget, about. 256 to 2^28.
    ///   - mostEntries: how many it may come to hold, for twice and twice again the expected; nil: no more. Beyond it what was
    ///     read and seen longest ago is forgotten early.
    ///   - ghostShare: how many keys the ghost remembers, as a share of the expected entries. 0.01 to 4.
    ///   - credits: how often an entry may be kept for having been read often. 1 to 3: more keeps a few more hits and
    ///     writes more.
    public init(
        expectedEntries: Int = 1 << 16, mostEntries: Int? = nil, ghostShare: Double = 1, credits: Int = 1
    ) {
        let expectedEntries = min(1 << 28, max(1, expectedEntries))
        expected = Atomic(expectedEntries)
        // As far as doubling leads.
        var growth = 1
        while expectedEntries * growth * 2 <= min(1 << 28, mostEntries ?? 0) { growth *= 2 }
        self.mostEntries = expectedEntries * growth
        self.credits = ReadCredits(expectedKeys: max(256, expectedEntries), growth: growth)
        lives = min(3, max(1, credits))
        ghost = GhostTable(
            capacity: Int(Double(expectedEntries) * min(4, max(0.01, ghostShare))), growth: growth)
        evictedKeys = EvictedKeys(capacity: expectedEntries, growth: growth)
        pace = SweepPace(supposed: S3FIFOEviction.supposedTurn(ghost), now: ghost.now)
    }

    /// At first all that the ghost remembers is young enough.
    static func supposedTurn(_ ghost: GhostTable) -> UInt64 { UInt64(ghost.capacity) * reusesPerTurn }

    public func recordRead(keyHash: UInt64) { credits.add(keyHash) }

    /// Whether a value of this key should be stored now: the store has room, or the key was seen before, not long ago for a
    /// store that forgets as fast as this one. Where it says no it remembers the sighting. To be asked once for each value
    /// that was loaded.
    /// `toFull`: it would go where there is no room, however much the store has elsewhere.
    public func admits(keyHash: UInt64, toFull: Bool = false) -> Bool {
        guard toFull || full.load(ordering: .relaxed) else { return true }
        guard ghost.contains(keyHash, within: horizon) else {
            ghost.insert(keyHash)
            sightings.add(1, ordering: .relaxed)
            return false
        }
        ghostHits.add(1, ordering: .relaxed)
        noteSeenAgain(keyHash: keyHash)
        return true
    }

    /// A value is about to be stored whose key was seen twice: by this policy, or where it sees nothing (in memory).
    public func noteSeenAgain(keyHash: UInt64) {
        recentlyAdmitted.add(1, ordering: .relaxed)
        // It need not prove itself among the fresh.
        if prefersFresh { credits.add(keyHash) }
    }

    /// How many sightings may lie between a key's first and the one that admits it. A turn would do for a key that comes
    /// back evenly and a store that is swept evenly; with less there are fewer writes, and no fewer hits.
    var horizon: UInt32 {
        UInt32(clamping: pace.turn(now: ghost.now) / S3FIFOEviction.reusesPerTurn)
    }
    private static let reusesPerTurn: UInt64 = 3

    /// Whether the key was seen or let go lately, without counting as a sighting.
    public func wasSeenLately(keyHash: UInt64) -> Bool { ghost.contains(keyHash) }

    /// Whether the store is without a key for want of room, as far as that is remembered: an entry of it was let go, or was
    /// not taken since the key had not been seen before. Wrong about one key in some thousands, and about those that were
    /// written since. Neither locks nor waits. Only the ghost outlives the process, which knows nothing of sweeps.
    public func remembersEviction(ofKeyHash hash: UInt64) -> Bool {
        evictedKeys.contains(hash) || ghost.contains(hash)
    }

    /// Whether the store has filled its budget, so that values have to be admitted.
    public var isFull: Bool { full.load(ordering: .relaxed) }

    public var counts: Counts {
        Counts(
            evicted: evicted.load(ordering: .relaxed), kept: kept.load(ordering: .relaxed),
            ghostHits: ghostHits.load(ordering: .relaxed), sightings: sightings.load(ordering: .relaxed))
    }

    // MARK: What the store tells

    /// Full from nearly all of the budget on, or the first pass that makes room, and until half of it is free: passes make
    /// room in lumps, and that room is not for what nobody asks for twice.
    public func noteOccupancy(_ share: Double) {
        if share >= S3FIFOEviction.fullShare {
            full.store(true, ordering: .relaxed)
        } else if share < S3FIFOEviction.emptyShare {
            full.store(false, ordering: .relaxed)
        }
    }
    private static let fullShare = 0.99
    private static let emptyShare = 0.5

    public func noteEntries(_ count: UInt64) {
        guard count > UInt64(expectedEntries), expectedEntries < mostEntries else { return }
        whole.withLock { _ in grow(to: Int(clamping: count)) }
    }

    /// Whether the tables are for so many entries, or would be once they had grown.
    func canGrow(to entries: UInt64) -> Bool {
        var size = expectedEntries
        while size < entries, size < mostEntries { size *= 2 }
        return entries == UInt64(size)
    }

    /// Under `whole`.
    func grow(to entries: Int) {
        while expectedEntries < entries, expectedEntries < mostEntries {
            credits.double()
            ghost.double()
            evictedKeys.double()
            expected.store(expectedEntries * 2, ordering: .relaxed)
            // What a turn is supposed to last follows the ghost, until sweeps tell.
            if !isFull { pace.restart(supposed: S3FIFOEviction.supposedTurn(ghost), now: ghost.now) }
        }
    }

    func setFull(_ isFull: Bool) { full.store(isFull, ordering: .relaxed) }

    public func noteWritten(entries: Int) {
        guard isFull else { return }
        guard recentlyWritten.add(entries, ordering: .relaxed).newValue > max(64, expectedEntries / 4) else { return }
        recentlyWritten.store(recentlyWritten.load(ordering: .relaxed) / 2, ordering: .relaxed)
        recentlyAdmitted.store(recentlyAdmitted.load(ordering: .relaxed) / 2, ordering: .relaxed)
    }

    /// Whether most of what is written has not been asked for twice.
    public var prefersFresh: Bool {
        recentlyAdmitted.load(ordering: .relaxed) * 2 < recentlyWritten.load(ordering: .relaxed)
    }

    public func makePass(_ goal: EvictionGoal) -> any EvictionPass {
        if goal.kind != .entering { setFull(true) }
        return S3FIFOPass(self, goal)
    }

    public func warmth(ofKeyHash hash: UInt64) -> Int { credits.credits(of: hash) }
    public func cool(keyHash: UInt64) { credits.lower(keyHash, to: max(0, credits.credits(of: keyHash) - 1)) }
    public func noteEvicted(keyHash: UInt64) { evictedKeys.insert(keyHash) }

    fileprivate func count(_ goal: EvictionGoal, evicted: UInt64, kept: UInt64) {
        self.evicted.add(evicted, ordering: .relaxed)
        self.kept.add(kept, ordering: .relaxed)
        // What was admitted from the ghost goes by what stands in the queue, not among the fresh.
        guard goal.kind == .sweep, goal.storeEntries > 0 else { return }
        pace.note(swept: Double(evicted + kept) / Double(goal.storeEntries), now: ghost.now)
    }
}

/// One pass: keeps what has a credit, unless so much has that the pass would make no room.
private final class S3FIFOPass: EvictionPass {
    private let policy: S3FIFOEviction
    private let goal: EvictionGoal
    private var seenBytes: UInt64 = 0
    private var evictedBytes: UInt64 = 0
    private var evicted: UInt64 = 0
    private var kept: UInt64 = 0

    init(_ policy: S3FIFOEviction, _ goal: EvictionGoal) {
        self.policy = policy
        self.goal = goal
    }

    deinit { policy.count(goal, evicted: evicted, kept: kept) }

    /// A merge that only brings entries down asks nothing of those that lie there.
    func mayEvict(namespace: UInt32, isFromAbove: Bool) -> Bool { goal.kind != .entering || isFromAbove }

    func shouldEvict(_ candidate: EvictionCandidate) -> Bool {
        guard mayEvict(namespace: candidate.namespace, isFromAbove: candidate.isFromAbove) else { return false }
        let credits = policy.credits.credits(of: candidate.keyHash)
        if candidate.wasUsed {
            // It is nothing that the pass could have let go, and has a credit for a time when nobody tells of its use.
            if credits == 0 { policy.credits.add(candidate.keyHash) }
            kept += 1
            return false
        }
        seenBytes &+= UInt64(candidate.bytes)
        if credits > 0, !mustGo(credits) {
            policy.credits.lower(candidate.keyHash, to: min(credits, policy.lives) - 1)
            kept += 1
            return false
        }
        if credits > 0 { policy.credits.lower(candidate.keyHash, to: 0) }
        evictedBytes &+= UInt64(candidate.bytes)
        evicted += 1
        if goal.kind != .sweep { policy.ghost.insert(candidate.keyHash) }
        // An older version of what stays is no loss.
        if candidate.isNewest { policy.noteEvicted(keyHash: candidate.keyHash) }
        return true
    }

    /// Whether an entry has to go although it was read, since too little has gone for a pass that must make room. Those
    /// that were read once first, and any when they do not suffice.
    private func mustGo(_ credits: Int) -> Bool {
        guard goal.kind == .sweep, seenBytes > goal.inputBytes / 8 else { return false }
        let wanted = goal.share * Double(seenBytes) * (credits == 1 ? 1 : 0.5)
        return Double(evictedBytes) < wanted
    }
}
