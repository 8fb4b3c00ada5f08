/// The dropping rule, version by version: a state machine over the merge of a compaction's inputs (key ascending, newest
/// first) that says of each version whether the output holds it.
///
/// The rule: a version may go only if every older version that it hides, in the inputs or beneath them, goes in the same
/// edit; while a reader needs an older version, the newest leaves a tombstone; what carried a source version raises a
/// floor, so that a late writer cannot bring old data back.
///
/// The snapshots cut the LSNs into stripes; readers see only the newest version in a stripe, so the others are hidden
/// and go. Above the last snapshot (the horizon) readers may still come anywhere, and all stays. In the oldest stripe a
/// tombstone, an expired, invalidated or evicted version has nothing left to hide in the inputs, because all older versions
/// are in its stripe; it goes if nothing lies beneath. Elsewhere it becomes (or stays) a tombstone. What invalidated a
/// version counts where everybody who sees the version sees that as well.
///
/// It reads no file and no clock, so that it can be tested over every small history there is.
struct EntryRetention: ~Copyable {
    enum Verdict: Equatable {
        case keep
        /// A delete in its place, which keeps the source version.
        case tombstone(sourceVersion: UInt64?)
        case drop
    }

    private let rules: RetentionRules
    private let eviction: (any EvictionPass)?
    /// Whether a put without fields stays, unless its key was invalidated.
    private let keepsBare: Bool
    /// For each stripe a walker over the tombstones that its readers see; empty where there are none.
    private var covers: [RangeTombstoneCover]
    private(set) var counts = RetentionCounts()
    private var raised: [UInt16: UInt64] = [:]
    /// The namespace whose keys were last asked about, and whether any were invalidated there: keys come by namespace.
    private var judged: (namespace: NamespaceID?, byKey: Bool) = (nil, false)

    // Of the user key that is being decided.
    private var current = SavedKey()
    /// The oldest stripe in which a version of it was met; `Int.max`: none yet.
    private var lastStripe = Int.max
    /// Whether the version that is being decided is the newest that was met in any.
    private var isNewest = true
    /// The highest source version that a kept, newer version of it carries.
    private var keptSourceVersion: UInt64?

    init(_ rules: RetentionRules, eviction: (any EvictionPass)? = nil) {
        self.rules = rules
        self.eviction = eviction
        keepsBare = eviction == nil
        covers = rules.tombstones.isEmpty ? [] : rules.snapshots.map { rules.tombstones.makeCover(at: $0) }
    }

    /// The floors to be raised by the edit that drops what this has dropped.
    var floors: [FloorTable.Floor] {
        raised.map { FloorTable.Floor(slot: $0.key, version: $0.value) }.sorted { $0.slot < $1.slot }
    }

    /// Whether the version judged next belongs to another user key than the last.
    @inline(__always)
    func isNewKey(_ key: UnsafeRawBufferPointer) -> Bool { unsafe !current.equals(key) }

    /// Decides the next version. `isFromAbove`: it comes from a level above the output level.
    @inline(__always)
    mutating func judge(
        _ key: UnsafeRawBufferPointer, _ trailer: Trailer, _ entry: UnsafeRawBufferPointer, isFromAbove: Bool
    ) throws(VarveError) -> Verdict {
        if unsafe isNewKey(key) {
            unsafe current.assign(key)
            lastStripe = .max
            keptSourceVersion = nil
        }
        counts.read += 1
        let lsn = trailer.lsn
        let stripe = lsn <= rules.oldest ? 0 : SnapshotStripes.index(of: lsn, in: rules.snapshots)
        if stripe == rules.snapshots.count { return unsafe try keep(trailer, entry) }
        if stripe == lastStripe { return unsafe try hide(key, trailer, entry) }
        isNewest = lastStripe == .max
        lastStripe = stripe
        if !covers.isEmpty, unsafe covers[stripe].lsn(covering: key) > lsn {
            return unsafe try hide(key, trailer, entry)
        }
        return unsafe try judgeNewest(key, trailer, entry, stripe, isFromAbove)
    }

    /// The newest version in its stripe, covered by nothing.
    @inline(__always)
    private mutating func judgeNewest(
        _ key: UnsafeRawBufferPointer, _ trailer: Trailer, _ entry: UnsafeRawBufferPointer, _ stripe: Int,
        _ isFromAbove: Bool
    ) throws(VarveError) -> Verdict {
        switch trailer.kind {
        case .put:
            // A put without fields never expires and has no tags; no policy, no keys to judge: the common case ends here.
            if keepsBare, let flags = unsafe entry.first, flags == 0, unsafe !isJudgedByKey(key) {
                counts.kept += 1
                return .keep
            }
            let view = try unsafe EntryRetention.view(entry, trailer)
            if view.isExpired(at: rules.now) {
                counts.expired += 1
                return unsafe forget(key, view.sourceVersion, stripe)
            }
            // Those who see this version read at the stripe's snapshot or later.
            if let judge = rules.judge,
                unsafe judge.hides(
                    key, trailer.lsn, view, from: rules.snapshots[stripe], byKey: isJudgedByKey(key))
            {
                counts.invalidated += 1
                return unsafe forget(key, view.sourceVersion, stripe)
            }
            if unsafe shouldEvict(key, trailer, entry, view, isFromAbove) {
                unsafe countEvicted(key, bytes: key.count + entry.count)
                return unsafe forget(key, view.sourceVersion, stripe)
            }
            return unsafe try keep(trailer, entry)
        case .delete:
            guard unsafe stripe == 0 && !rules.beneath.mayHold(key) else { return unsafe try keep(trailer, entry) }
            counts.tombstones += 1
            let version = try unsafe EntryRetention.sourceVersion(entry, trailer)
            unsafe raiseFloor(key, version)
            return .drop
        case .rangeDelete, nil:
            throw VersionDamage.unknownKind(trailer)
        }
    }

    private mutating func isJudgedByKey(_ key: UnsafeRawBufferPointer) -> Bool {
        if rules.judgedNamespaces.isEmpty { return false }
        let namespace = unsafe FullKey.namespace(of: key)
        if namespace != judged.namespace {
            judged = (namespace, namespace.map { rules.judgedNamespaces.contains($0.rawValue) } ?? false)
        }
        return judged.byKey
    }

    private mutating func countEvicted(_ key: UnsafeRawBufferPointer, bytes: Int) {
        counts.evicted += 1
        counts.evictedBytes &+= UInt64(bytes)
        if let namespace = unsafe FullKey.namespace(of: key) { counts.evictedOf[namespace, default: 0] += 1 }
    }

    /// A version that no reader is to see any more, though nothing newer hides it.
    private mutating func forget(
        _ key: UnsafeRawBufferPointer, _ sourceVersion: UInt64?, _ stripe: Int
    ) -> Verdict {
        if unsafe stripe == 0 && !rules.beneath.mayHold(key) {
            unsafe raiseFloor(key, sourceVersion)
            return .drop
        }
        if let sourceVersion { keptSourceVersion = max(keptSourceVersion ?? 0, sourceVersion) }
        return .tombstone(sourceVersion: sourceVersion)
    }

    @inline(__always)
    private mutating func keep(_ trailer: Trailer, _ entry: UnsafeRawBufferPointer) throws(VarveError) -> Verdict {
        counts.kept += 1
        if let version = try unsafe EntryRetention.sourceVersion(entry, trailer) {
            keptSourceVersion = max(keptSourceVersion ?? 0, version)
        }
        return .keep
    }

    private mutating func hide(
        _ key: UnsafeRawBufferPointer, _ trailer: Trailer, _ entry: UnsafeRawBufferPointer
    ) throws(VarveError) -> Verdict {
        counts.hidden += 1
        let version = try unsafe EntryRetention.sourceVersion(entry, trailer)
        unsafe raiseFloor(key, version)
        return .drop
    }

    /// A kept, newer version with a source version as high refuses late writers as well as a floor would, without
    /// touching other keys of the slot.
    private mutating func raiseFloor(_ key: UnsafeRawBufferPointer, _ version: UInt64?) {
        guard let version, version > keptSourceVersion ?? 0 else { return }
        let slot = unsafe FloorTable.slot(ofKeyHash: XXH3.hash64(key))
        raised[slot] = max(raised[slot] ?? 0, version)
    }

    private mutating func shouldEvict(
        _ key: UnsafeRawBufferPointer, _ trailer: Trailer, _ entry: UnsafeRawBufferPointer,
        _ view: borrowing EntryView, _ isFromAbove: Bool
    ) -> Bool {
        guard let eviction, let namespace = unsafe FullKey.namespace(of: key), namespace >= .firstUser else {
            return false
        }
        guard eviction.mayEvict(namespace: namespace.rawValue, isFromAbove: isFromAbove) else { return false }
        if EntryRetention.isPinned(view) { return false }
        var candidate = EvictionCandidate(
            keyHash: unsafe XXH3.hash64(key), namespace: namespace.rawValue, bytes: key.count + entry.count,
            version: trailer.lsn, usableUntil: view.usableUntil == .max ? nil : view.usableUntil,
            isFromAbove: isFromAbove)
        candidate.isNewest = isNewest
        // An older version is there for a snapshot alone.
        candidate.wasUsed = unsafe isNewest && rules.front?.takeUse(of: key, namespace) ?? false
        counts.asked += 1
        let goes = eviction.shouldEvict(candidate)
        if candidate.wasUsed, !goes { counts.spared += 1 }
        return goes
    }

    /// One whose fields do not decode is let go by nobody's choice.
    static func isPinned(_ view: borrowing EntryView) -> Bool {
        guard view.flags.contains(.extensions) else { return false }
        return (try? view.fields().isPinned) ?? true
    }

    @inline(__always)
    private static func sourceVersion(
        _ entry: UnsafeRawBufferPointer, _ trailer: Trailer
    ) throws(VarveError) -> UInt64? {
        guard let flags = unsafe entry.first else { return nil }
        guard EntryCodec.Flags(rawValue: flags).contains(.sourceVersion) else { return nil }
        return try unsafe view(entry, trailer).sourceVersion
    }

    static func view(
        _ entry: UnsafeRawBufferPointer, _ trailer: Trailer
    ) throws(VarveError) -> EntryView {
        do { return try unsafe EntryView(entry) } catch { throw VersionDamage.entry(error, trailer) }
    }
}

extension FullKey {
    /// Nil for a key too short to have one.
    @inline(__always)
    static func namespace(of key: UnsafeRawBufferPointer) -> NamespaceID? {
        guard key.count >= namespaceBytes else { return nil }
        return NamespaceID(rawValue: UInt32(bigEndian: unsafe key.loadUnaligned(as: UInt32.self)))
    }
}
