internal import Synchronization

/// What a point read finds in a memtable: the newest version that it may see, in place. Valid as long as the memtable.
@safe
struct MemtableHit {
    let trailer: Trailer
    let entry: UnsafeRawBufferPointer
}

/// The newest part of the store: every record since the last flush, ordered by key, in one arena.
///
/// Point reads ask a hash index; cursors walk a B+-tree; both lead to the keys, from which the versions hang, newest
/// first. One writer at a time (the commit pipeline serialises it); readers run on any thread beside it, and never wait
/// and never lock. What a reader may see is decided by LSN, not here: a record can be found as soon as it is inserted,
/// before its batch is visible.
///
/// `approximateBytes` is what has been taken from the arena, spare tree nodes included: it is honest to the byte but
/// for the unused end of the last (huge) page.
///
/// Decided by measuring (docs/design-decisions.md): a hash index beside the order, since most reads of a cache are
/// point reads; and a tree whose leaves are appended to, since the hash index leaves nothing to search for in them.
@safe
final class Memtable: @unchecked Sendable {
    // Unchecked: constants but for what the arena and the tree guard; each says how.
    private let arena: MemtableArena
    private let index: MemtableHashIndex
    private let tree: MemtableTree
    private let ranges: MemtableRangeTombstones
    private let sourceVersions = MemtableSourceVersions()

    /// Reserves `capacity` bytes of address space, which take memory only as they are written. `expectedKeys` (what the
    /// memtable before this one held) sizes the hash index, which grows as needed but leaves its smaller tables behind.
    init(capacity: Int, expectedKeys: Int = 0) throws(VarveError) {
        // A quarter of the arena at most goes to an index that nobody has asked for yet.
        let keys = min(max(0, expectedKeys), capacity / 64)
        arena = try MemtableArena(capacity: capacity + MemtableHashIndex.initialBytes(expectedKeys: keys))
        index = MemtableHashIndex(in: arena, expectedKeys: keys)
        tree = MemtableTree(in: arena)
        ranges = MemtableRangeTombstones()
    }

    // MARK: writing (one at a time)

    /// Adds a point record under a full key. Versions of one key come in the order of their LSNs, as the log has them.
    /// False where there is no room: nothing was changed.
    @discardableResult
    @inline(__always)
    func insert(key: UnsafeRawBufferPointer, trailer: Trailer, entry: UnsafeRawBufferPointer) -> Bool {
        unsafe insert(key: key, hash: XXH3.hash64(key), trailer: trailer, entry: entry)
    }

    /// The same, for a caller that has `XXH3.hash64` of the key.
    @discardableResult
    func insert(
        key: UnsafeRawBufferPointer, hash: UInt64, trailer: Trailer, entry: UnsafeRawBufferPointer
    ) -> Bool {
        let record = MemtableKey.bytes(key: key.count, entry: entry.count) + MemtableVersion.headBytes
        let spare = MemtableTree.nodeBoundOfOne + index.growthBytes(hash: hash) + 64
        guard arena.remaining >= record + spare else { return false }

        let position = unsafe index.position(of: key, hash: hash)
        if unsafe MemtableSourceVersions.mayCarryOne(entry) {
            let newest = position.found.isNone ? nil : MemtableKey(arena.view, position.found).newest
            unsafe sourceVersions.note(entry, over: newest?.entry)
        }
        if position.found.isNone {
            let added = unsafe MemtableKey.write(key, trailer, entry, in: arena)
            unsafe tree.insert(added, key)
            index.insert(added.ref, hash: hash, at: position, in: arena)
            count(ArenaView.Head.keyCount)
        } else {
            unsafe MemtableKey(arena.view, position.found).addVersion(trailer, entry, in: arena)
        }
        note(trailer.lsn)
        return true
    }

    /// Deletes the full keys in [begin, end). An empty range leaves no trace but its LSN.
    func addRangeTombstone(begin: [UInt8], end: [UInt8], lsn: LSN) {
        ranges.add(RangeTombstone(begin: begin, end: end, lsn: lsn))
        note(lsn)
    }

    /// Whether that many records with that many bytes of keys and entries are sure to find room, whatever the keys.
    func hasRoom(records: Int, bytes: Int) -> Bool {
        let bound = Memtable.bound(records: records, bytes: bytes)
        return bound + MemtableHashIndex.growthBound(keys: keyCount) <= arena.remaining
    }

    /// A capacity with which a fresh memtable has room for any such records. Far more than they use: it is address
    /// space, not memory.
    static func worstCaseBytes(records: Int, bytes: Int) -> Int {
        MemtableArena.smallestCapacity + bound(records: records, bytes: bytes)
    }

    private static func bound(records: Int, bytes: Int) -> Int {
        let perRecord = MemtableKey.headBytes + MemtableVersion.headBytes + 8
        return records * perRecord + bytes + MemtableTree.nodeBound(keys: records) + MemtableTree.nodeBoundOfOne
            + MemtableHashIndex.growthBound(keys: records)
    }

    @inline(__always)
    private func note(_ lsn: LSN) {
        count(ArenaView.Head.entryCount)
        let smallest = unsafe arena.view.atomic64(at: ArenaView.Head.smallestLSN)
        let largest = unsafe arena.view.atomic64(at: ArenaView.Head.largestLSN)
        let known = unsafe smallest.pointee.load(ordering: .relaxed)
        if known == 0 || lsn.rawValue < known { unsafe smallest.pointee.store(lsn.rawValue, ordering: .relaxed) }
        if unsafe largest.pointee.load(ordering: .relaxed) < lsn.rawValue {
            unsafe largest.pointee.store(lsn.rawValue, ordering: .relaxed)
        }
    }

    @inline(__always)
    private func count(_ counter: Int) {
        let place = unsafe arena.view.atomic64(at: counter)
        // One writer: no read-modify-write is needed.
        unsafe place.pointee.store(place.pointee.load(ordering: .relaxed) &+ 1, ordering: .relaxed)
    }

    // MARK: reading

    /// The newest point record of a full key that a reader at `lsn` sees; range tombstones are asked separately.
    @inline(__always)
    func get(key: UnsafeRawBufferPointer, at lsn: LSN) -> MemtableHit? {
        unsafe get(key: key, hash: XXH3.hash64(key), at: lsn)
    }

    /// The same, for a caller that has `XXH3.hash64` of the key.
    @inline(__always)
    func get(key: UnsafeRawBufferPointer, hash: UInt64, at lsn: LSN) -> MemtableHit? {
        let found = unsafe index.find(key, hash: hash)
        guard !found.isNone else { return nil }
        guard let version = MemtableKey(arena.view, found).newest.newest(atMost: Trailer(seekingAt: lsn)) else {
            return nil
        }
        return unsafe MemtableHit(trailer: version.trailer, entry: version.entry)
    }

    /// The LSN of the newest point record of a full key, visible or not: what a condition compares with.
    func newestLSN(of key: UnsafeRawBufferPointer) -> LSN? {
        let found = unsafe index.find(key, hash: XXH3.hash64(key))
        return found.isNone ? nil : MemtableKey(arena.view, found).newest.trailer.lsn
    }

    /// The highest source version that any of its entries carries; 0: none does.
    var highestSourceVersion: UInt64 { sourceVersions.highest }

    /// A source version above `given` that a version of the key up to `lsn` carries, hidden or not; nil where none does.
    /// Entries that do not decode carry none: the log checked them.
    func sourceVersion(above given: UInt64, of key: UnsafeRawBufferPointer, hash: UInt64, at lsn: LSN) -> UInt64? {
        guard sourceVersions.highest > given else { return nil }
        let found = unsafe index.find(key, hash: hash)
        guard !found.isNone else { return nil }
        var next = MemtableKey(arena.view, found).newest.newest(atMost: Trailer(seekingAt: lsn))
        while let version = next {
            if let carried = unsafe (try? EntryView(version.entry))?.sourceVersion {
                if carried > given { return carried }
                if !sourceVersions.mayFall { return nil }
            }
            next = version.older
        }
        return nil
    }

    /// The newest range tombstone over a full key that a reader at `lsn` sees.
    @inline(__always)
    func rangeTombstoneLSN(covering key: UnsafeRawBufferPointer, at lsn: LSN) -> LSN? {
        if ranges.isEmpty { return nil }
        return unsafe ranges.maxLSN(covering: key, at: lsn)
    }

    /// All range tombstones up to `lsn`, as a value that never changes.
    func rangeTombstones(at lsn: LSN = .max) -> RangeTombstones {
        ranges.isEmpty ? .none : ranges.snapshot(at: lsn)
    }

    /// Sees at least every record inserted before it was made, and later ones as it meets them.
    func makeCursor() -> MemtableCursor { MemtableCursor(self, tree) }

    // MARK: figures (any thread)

    /// Memory taken.
    var approximateBytes: Int { arena.usedBytes + ranges.approximateBytes }
    /// Bytes that the arena can hold at most.
    var capacity: Int { arena.capacity }
    /// Records of all kinds.
    var entryCount: Int { figure(ArenaView.Head.entryCount) }
    /// Different keys of point records.
    var keyCount: Int { figure(ArenaView.Head.keyCount) }
    var isEmpty: Bool { entryCount == 0 }
    /// Nil while empty.
    var smallestLSN: LSN? { isEmpty ? nil : LSN(UInt64(figure(ArenaView.Head.smallestLSN))) }
    /// Nil while empty.
    var largestLSN: LSN? { isEmpty ? nil : LSN(UInt64(figure(ArenaView.Head.largestLSN))) }
    /// Range deletes. Nested ones cost the square of their number to read: seal a memtable that has thousands.
    var rangeTombstoneCount: Int { ranges.count }

    private func figure(_ offset: Int) -> Int {
        Int(unsafe arena.view.atomic64(at: offset).pointee.load(ordering: .relaxed))
    }
}
