/// What one namespace that is above its limit loses in a compaction: decided from all that it has in the inputs, before the
/// first entry is judged. So the coldest go wherever they stand among the keys, and no more than has to.
///
/// Entries are ordered by warmth (what the policy knows of reads) and by age, as the LSNs say it in 1024 steps.
struct QuotaPlan {
    private let goal: QuotaGoal
    private let oldest: UInt64
    private let span: UInt64
    /// Weight of the entries that may go, by warmth and age.
    private var weights = [UInt64](repeating: 0, count: warmths * ages)
    private var total: UInt64 = 0
    /// What goes without anybody's choice.
    private var freed: UInt64 = 0

    // Decided by `close`.
    /// Whatever comes before this step goes, and of the step itself so much.
    private var cutoff = 0
    private var rest: UInt64 = 0
    /// The age up to which warm entries were only kept for their warmth.
    private var reached = 0
    /// So little goes that it is not worth a rewrite.
    private(set) var isPoor = false

    private static let warmths = 4
    private static let ages = 1024
    /// A rewrite is worth its while from this share of what the namespace has in the inputs.
    static let worth = 0.05

    init(_ goal: QuotaGoal, oldest: LSN, newest: LSN) {
        self.goal = goal
        self.oldest = oldest.rawValue
        span = newest.rawValue > oldest.rawValue ? newest.rawValue - oldest.rawValue : 1
    }

    var namespace: NamespaceID { goal.namespace }

    private func weight(_ bytes: Int) -> UInt64 { goal.countsEntries ? 1 : UInt64(bytes) }

    private func age(_ lsn: LSN) -> Int {
        let above = lsn.rawValue > oldest ? Double(lsn.rawValue - oldest) : 0
        return min(QuotaPlan.ages - 1, Int(above / Double(span) * Double(QuotaPlan.ages)))
    }

    /// Counts a put. `mayGo`: nobody needs it but readers of its newest version; nil: it goes by rule, whatever is chosen.
    mutating func count(bytes: Int, _ lsn: LSN, warmth: Int, mayGo: Bool?) {
        let weight = weight(bytes)
        total &+= weight
        switch mayGo {
        case nil: freed &+= weight
        case true?: weights[min(QuotaPlan.warmths - 1, warmth) * QuotaPlan.ages + age(lsn)] &+= weight
        case false?: break
        }
    }

    /// Decides, after everything was counted.
    mutating func close() {
        let wanted = goal.share * Double(total) - Double(freed)
        let steps = goal.isForced ? weights.count : QuotaPlan.ages
        var gone: UInt64 = 0
        while cutoff < steps, Double(gone &+ weights[cutoff]) <= wanted {
            gone &+= weights[cutoff]
            cutoff += 1
        }
        if cutoff < steps, wanted > Double(gone) { rest = UInt64(wanted - Double(gone)) }
        reached = cutoff < QuotaPlan.ages ? cutoff : QuotaPlan.ages
        isPoor = total == 0 || Double(gone &+ rest &+ freed) < QuotaPlan.worth * Double(total)
    }

    mutating func shouldEvict(_ candidate: EvictionCandidate, warmth: Int) -> Bool {
        let step = min(QuotaPlan.warmths - 1, warmth) * QuotaPlan.ages + age(candidate.version)
        if step < cutoff { return true }
        guard step == cutoff, rest > 0 else { return false }
        rest &-= min(rest, weight(candidate.bytes))
        return true
    }

    /// Whether an entry that stays has used up some of its warmth: by chance, so that it lasts until the namespace has been
    /// renewed once, about, however small the passes are.
    func isCooled(_ candidate: EvictionCandidate, warmth: Int) -> Bool {
        guard warmth > 0, age(candidate.version) <= reached else { return false }
        let draw = (candidate.keyHash &+ (oldest ^ total)) &* 0x9E37_79B9_7F4A_7C15
        return Double(draw >> 40) < goal.share * goal.part * 0x1p24
    }
}

/// One rewrite in which namespaces lose what they have too much of, beside what the store may want to be rid of.
final class QuotaPass: EvictionPass {
    private let policy: any EvictionPolicy
    /// The store's own; nil: it has room.
    private let store: (any EvictionPass)?
    private var plans: [QuotaPlan]
    private var last = 0

    init(_ plans: [QuotaPlan], _ policy: any EvictionPolicy, store: (any EvictionPass)?) {
        self.plans = plans
        self.policy = policy
        self.store = store
    }

    func mayEvict(namespace: UInt32, isFromAbove: Bool) -> Bool {
        plans.contains { $0.namespace.rawValue == namespace }
            || store?.mayEvict(namespace: namespace, isFromAbove: isFromAbove) ?? false
    }

    func shouldEvict(_ candidate: EvictionCandidate) -> Bool {
        if plans[last].namespace.rawValue != candidate.namespace {
            guard let found = plans.firstIndex(where: { $0.namespace.rawValue == candidate.namespace }) else {
                return store?.shouldEvict(candidate) ?? false
            }
            last = found
        }
        // The plan has not counted on it.
        guard candidate.isNewest else { return store?.shouldEvict(candidate) ?? false }
        let warmth = policy.warmth(ofKeyHash: candidate.keyHash)
        if plans[last].shouldEvict(candidate, warmth: warmth) {
            policy.noteEvicted(keyHash: candidate.keyHash)
            return true
        }
        if plans[last].isCooled(candidate, warmth: warmth) { policy.cool(keyHash: candidate.keyHash) }
        return store?.shouldEvict(candidate) ?? false
    }
}

/// Goes through what a namespace has in the inputs of a compaction, newest version of each key first.
struct QuotaScan {
    let merge: MergingCursor
    /// See `RetentionRules.snapshots`: a version goes by rule where none of them can tell it from a newer one.
    let readers: [LSN]
    let tombstones: RangeTombstones
    let now: Timestamp
    let judge: (any InvalidationJudge)?
    let front: (any FrontTier)?
    let policy: any EvictionPolicy
    let control: JobControl

    /// What `goal`'s namespace should lose.
    func plan(_ goal: QuotaGoal, oldest: LSN, newest: LSN) throws(VarveError) -> QuotaPlan {
        var plan = QuotaPlan(goal, oldest: oldest, newest: newest)
        try walk(goal.namespace, asking: front) { candidate, mayGo in
            plan.count(
                bytes: candidate.bytes, candidate.version, warmth: policy.warmth(ofKeyHash: candidate.keyHash),
                mayGo: mayGo)
        }
        plan.close()
        return plan
    }

    /// Takes warmth off what a plan found worth keeping, where nothing is rewritten.
    func cool(_ plan: QuotaPlan) throws(VarveError) {
        try walk(plan.namespace, asking: nil) { candidate, mayGo in
            guard mayGo == true else { return }
            if plan.isCooled(candidate, warmth: policy.warmth(ofKeyHash: candidate.keyHash)) {
                policy.cool(keyHash: candidate.keyHash)
            }
        }
    }

    /// Each put, with what `EntryRetention` would make of it: the same rule, step by step, or what goes would not be what
    /// was counted on.
    private func walk(
        _ namespace: NamespaceID, asking front: (any FrontTier)?, _ body: (EvictionCandidate, Bool?) -> Void
    ) throws(VarveError) {
        var covers = tombstones.isEmpty ? [] : readers.map { tombstones.makeCover(at: $0) }
        let judgesKeys = judge?.lastInvalidations[namespace.rawValue] != nil
        var newest = SavedKey()
        var count: UInt64 = 0
        var isFirst = true
        var lastStripe = Int.max
        try unsafe FullKey.make(namespace, []).withBytes { (begin) throws(VarveError) in
            unsafe try merge.seek(to: begin, .newest)
        }
        while merge.isValid {
            let (key, trailer, entry) = unsafe (merge.key, merge.trailer, merge.entry)
            guard unsafe FullKey.namespace(of: key) == namespace else { return }
            if unsafe isFirst || !newest.equals(key) {
                unsafe newest.assign(key)
                lastStripe = .max
            }
            isFirst = false
            let stripe = SnapshotStripes.index(of: trailer.lsn, in: readers)
            let isKept = stripe == readers.count
            let isNewest = !isKept && lastStripe == .max
            let isHidden = stripe == lastStripe
            if !isKept { lastStripe = stripe }
            if trailer.kind == .put {
                let view = try unsafe EntryRetention.view(entry, trailer)
                let isCovered = unsafe !isKept && !covers.isEmpty && covers[stripe].lsn(covering: key) > trailer.lsn
                // The judge last: it costs most.
                let isGone =
                    unsafe !isKept
                    && (isHidden || isCovered || view.isExpired(at: now)
                        || judge?.hides(key, trailer.lsn, view, from: readers[stripe], byKey: judgesKeys) ?? false)
                let candidate = EvictionCandidate(
                    keyHash: unsafe XXH3.hash64(key), namespace: namespace.rawValue, bytes: key.count + entry.count,
                    version: trailer.lsn)
                let mayGo: Bool? = isGone ? nil : isNewest && !EntryRetention.isPinned(view)
                // Recorded, so that what follows the plan finds the same without asking again.
                if mayGo == true, unsafe front?.takeUse(of: key, namespace) ?? false,
                    policy.warmth(ofKeyHash: candidate.keyHash) == 0
                {
                    policy.recordRead(keyHash: candidate.keyHash)
                }
                body(candidate, mayGo)
            }
            try merge.next()
            count += 1
            if count % 1024 == 0 { try control.step(JobProgress(), newBytes: 0) }
        }
    }
}
