/// What a merge must know to decide what may be forgotten. A value, taken once when the merge begins: readers that come
/// later read at `horizon` or above, so nothing that they do can make it wrong.
struct RetentionRules: Sendable {
    /// The LSNs at which someone reads, ascending, each once; the last is the horizon.
    let snapshots: [LSN]
    /// The store clock's reading; it never goes back, so what is expired now is expired for every reader to come.
    let now: Timestamp
    /// Of all inputs.
    let tombstones: RangeTombstones
    /// What is older than the inputs and not among them.
    let beneath: KeysBeneath
    /// Nil: nothing was invalidated, or nobody here knows.
    let judge: (any InvalidationJudge)?
    /// The namespaces in which it knows of any by their keys: elsewhere a put without tags stays unasked.
    let judgedNamespaces: Set<UInt32>
    /// Knows of the reads that never come here. Nil: there are none.
    let front: (any FrontTier)?

    /// `horizon`: the newest LSN that a reader could see when `snapshots` was taken. Every reader, now and later, stands
    /// at one of the snapshots or at the horizon or above.
    init(
        snapshots: [LSN], horizon: LSN, now: Timestamp, tombstones: RangeTombstones, beneath: KeysBeneath,
        judge: (any InvalidationJudge)? = nil, front: (any FrontTier)? = nil
    ) {
        let readers = RetentionRules.readers(snapshots, horizon)
        precondition(readers.last == horizon, "no snapshot stands above the newest LSN that readers may see")
        self.snapshots = readers
        self.now = now
        self.tombstones = tombstones
        self.beneath = beneath
        self.judge = judge
        judgedNamespaces = judge.map { Set($0.lastInvalidations.keys) } ?? []
        self.front = front
    }

    /// Where someone reads, or may come to read: ascending, each once.
    static func readers(_ snapshots: [LSN], _ horizon: LSN) -> [LSN] { Set(snapshots).union([horizon]).sorted() }

    /// The oldest reader. What it sees nothing beneath of, nobody does.
    var oldest: LSN { snapshots[0] }

    /// The range tombstones that the output must hold.
    ///
    /// Of the tombstones over one key those go that no reader can tell from a newer one. One that every reader sees goes
    /// where nothing older can exist outside the inputs, since all that it hides within them is dropped by the same edit.
    func survivingTombstones() -> RangeTombstones {
        var kept: [RangeTombstone] = []
        tombstones.collapsed(snapshots: snapshots).forEachFragment { begin, end, lsns in
            for lsn in lsns {
                if lsn > oldest {
                    kept.append(RangeTombstone(begin: begin, end: end, lsn: lsn))
                } else {
                    for part in beneath.parts(of: begin, end) {
                        kept.append(RangeTombstone(begin: part.begin, end: part.end, lsn: lsn))
                    }
                }
            }
        }
        return RangeTombstones(kept)
    }
}

/// How many versions a merge met, and what became of them.
struct RetentionCounts: Hashable, Sendable {
    var read: UInt64 = 0
    var kept: UInt64 = 0
    /// Dropped because a newer version or a range tombstone hides them from every reader.
    var hidden: UInt64 = 0
    /// Tombstones dropped because nothing that they hide is left.
    var tombstones: UInt64 = 0
    /// Dropped, or turned into a tombstone, because their time was over.
    var expired: UInt64 = 0
    /// Dropped, or turned into a tombstone, because no reader is shown them since they were invalidated.
    var invalidated: UInt64 = 0
    /// Dropped, or turned into a tombstone, by the eviction policy.
    var evicted: UInt64 = 0
    /// Key and entry bytes of those.
    var evictedBytes: UInt64 = 0
    /// Those that it was asked about, and those of them that it kept and that are used in front of the store.
    var asked: UInt64 = 0
    var spared: UInt64 = 0
    /// How many of the evicted each namespace lost.
    var evictedOf: [NamespaceID: UInt64] = [:]
}
