/// The range deletes of one source (a memtable, a table, a compaction, all that a reader sees), cut into fragments.
///
/// Overlapping tombstones are split at every begin and end, so that the fragments are disjoint, sorted, and each carries
/// the LSNs of all tombstones over it, newest first: one binary search answers whether a key is covered. Every LSN is
/// kept, since a snapshot may stand between any two; `collapsed` forgets those that no snapshot can tell apart.
///
/// A value that never changes, shared by reference, safe on any thread. The form is canonical: neighbouring fragments
/// that touch differ in their LSNs, so equal sets of covered (key, LSN) pairs compare equal. n tombstones nested in each
/// other take n * n / 2 LSNs: who collects them without bound (the memtable) must seal first.
///
/// Idea: the fragmented range tombstone list of RocksDB and Pebble's keyspan.
struct RangeTombstones: Sendable {
    /// Nil: no tombstone at all, the usual case, answered without touching memory.
    private let storage: RangeTombstoneStorage?

    static let none = RangeTombstones(storage: nil)

    private init(storage: RangeTombstoneStorage?) { self.storage = storage }

    /// Fragments tombstones that come in any order; empty ranges are left out.
    init(_ tombstones: some Sequence<RangeTombstone>) {
        self.init(storage: RangeTombstoneFragmenter.fragment(Array(tombstones.filter { !$0.isEmpty })))
    }

    /// Everything that any of the parts covers.
    init(union parts: some Sequence<RangeTombstones>) {
        let holding = parts.filter { !$0.isEmpty }
        if holding.count <= 1 {
            self.init(storage: holding.first?.storage)
        } else {
            self.init(holding.flatMap { $0.tombstones() })
        }
    }

    @inline(__always)
    var isEmpty: Bool { storage == nil }
    /// How many disjoint ranges are covered (two that touch with different LSNs count as two).
    var fragmentCount: Int { storage?.coveredFragments ?? 0 }
    /// The first covered key.
    var begin: [UInt8]? { storage.map { unsafe Array($0.boundary(0)) } }
    /// The end of the last covered range, exclusive.
    var end: [UInt8]? { storage.map { unsafe Array($0.boundary($0.boundaryCount - 1)) } }
    var newestLSN: LSN? { storage?.lsns.max() }
    var oldestLSN: LSN? { storage?.lsns.min() }
    /// Bytes held in memory, about.
    var approximateBytes: Int { storage.map { $0.byteCount + $0.boundaryCount * 16 + $0.lsns.count * 8 } ?? 0 }

    /// The newest tombstone over `key` that a reader at `lsn` sees. It hides every version of the key that is older.
    @inline(__always)
    func maxLSN(covering key: UnsafeRawBufferPointer, at lsn: LSN) -> LSN? {
        guard let storage else { return nil }
        return unsafe storage.maxLSN(covering: key, at: lsn)
    }

    /// Whether a reader at `lsn` must not see the version of `key` that was written at `version`.
    @inline(__always)
    func hides(_ key: UnsafeRawBufferPointer, version: LSN, at lsn: LSN) -> Bool {
        guard let newest = unsafe maxLSN(covering: key, at: lsn) else { return false }
        return newest > version
    }

    /// Whether any tombstone covers a key in [begin, end); a nil bound is open.
    func overlaps(from begin: [UInt8]?, to end: [UInt8]?) -> Bool { !clipped(from: begin, to: end).isEmpty }

    /// Every tombstone, fragment by fragment, newest first within one.
    func tombstones() -> [RangeTombstone] {
        var result: [RangeTombstone] = []
        forEachFragment { begin, end, lsns in
            for lsn in lsns { result.append(RangeTombstone(begin: begin, end: end, lsn: lsn)) }
        }
        return result
    }

    /// Calls `body` with (begin, end, LSNs newest first) of each fragment, in key order.
    func forEachFragment(_ body: ([UInt8], [UInt8], ArraySlice<LSN>) -> Void) {
        guard let storage else { return }
        for index in 0..<storage.boundaryCount - 1 {
            let lsns = storage.lsns(of: index)
            if lsns.isEmpty { continue }
            unsafe body(Array(storage.boundary(index)), Array(storage.boundary(index + 1)), lsns)
        }
    }

    /// The part of it inside [begin, end); a nil bound is open.
    func clipped(from begin: [UInt8]?, to end: [UInt8]?) -> RangeTombstones {
        guard let storage, let first = self.begin, let last = self.end else { return .none }
        let cutsLeft = begin.map { RangeTombstone.isBefore(first, $0) } ?? false
        let cutsRight = end.map { RangeTombstone.isBefore($0, last) } ?? false
        if !cutsLeft && !cutsRight { return RangeTombstones(storage: storage) }
        return RangeTombstones(
            tombstones().map { tombstone in
                var (low, high) = (tombstone.begin, tombstone.end)
                if let begin, RangeTombstone.isBefore(low, begin) { low = begin }
                if let end, RangeTombstone.isBefore(end, high) { high = end }
                return RangeTombstone(begin: low, end: high, lsn: tombstone.lsn)
            })
    }

    /// The same tombstones and one more.
    func adding(_ tombstone: RangeTombstone) -> RangeTombstones {
        RangeTombstones(tombstones() + [tombstone])
    }

    /// Of each fragment only the LSNs for which `keep` holds.
    func filtered(_ keep: (_ begin: [UInt8], _ end: [UInt8], _ lsn: LSN) -> Bool) -> RangeTombstones {
        RangeTombstones(tombstones().filter { keep($0.begin, $0.end, $0.lsn) })
    }

    /// Of each fragment only what readers at the given snapshots can tell apart: the newest LSN at or below each of them.
    /// What is above the last snapshot stays, since readers may still come at any LSN there. `snapshots` ascend.
    func collapsed(snapshots: [LSN]) -> RangeTombstones {
        var result: [RangeTombstone] = []
        forEachFragment { begin, end, lsns in
            var lastStripe: Int?
            for lsn in lsns {
                let stripe = SnapshotStripes.index(of: lsn, in: snapshots)
                if stripe == lastStripe && stripe < snapshots.count { continue }
                lastStripe = stripe
                result.append(RangeTombstone(begin: begin, end: end, lsn: lsn))
            }
        }
        return RangeTombstones(result)
    }

    /// A walker that answers `maxLSN` for keys that come in order almost for free.
    func makeCover(at lsn: LSN) -> RangeTombstoneCover { RangeTombstoneCover(storage, at: lsn) }
}

/// Which readers can tell two LSNs apart: the sorted snapshots cut all LSNs into stripes, and of two versions in one
/// stripe no reader sees the older.
enum SnapshotStripes {
    /// How many of the (ascending) snapshots stand below `lsn`. The first snapshot that sees `lsn` has this index; the
    /// count of all: only readers later than every snapshot see it.
    @inline(__always)
    static func index(of lsn: LSN, in snapshots: [LSN]) -> Int {
        var low = 0
        var high = snapshots.count
        while low < high {
            let middle = (low + high) / 2
            if snapshots[middle] < lsn { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

extension RangeTombstones: Equatable {
    static func == (a: RangeTombstones, b: RangeTombstones) -> Bool { a.tombstones() == b.tombstones() }
}

extension RangeTombstones {
    /// Appends the block that a table stores:
    ///
    ///     varint boundary count (0: no tombstone at all, and nothing follows)
    ///     each boundary: varint key length, key, varint LSN count; of the LSNs, newest first, a varint of the first and
    ///     of each further one its distance to the one before (at least 1)
    ///
    /// A boundary's LSNs cover the keys from it to the next boundary; the last has none.
    func encode(to buffer: inout ByteBuffer) {
        guard let storage else { return buffer.appendVarint(0) }
        buffer.appendVarint(UInt64(storage.boundaryCount))
        for index in 0..<storage.boundaryCount {
            let key = unsafe storage.boundary(index)
            buffer.appendVarint(UInt64(key.count))
            unsafe buffer.append(key)
            let lsns = storage.lsns(of: index)
            buffer.appendVarint(UInt64(lsns.count))
            var newer: UInt64?
            for lsn in lsns {
                buffer.appendVarint(newer.map { $0 - lsn.rawValue } ?? lsn.rawValue)
                newer = lsn.rawValue
            }
        }
    }

    /// Reads what `encode` wrote; refuses anything that is not in canonical form. Memory stays in proportion to the input.
    static func decode(from reader: inout ByteReader) throws(DecodeError) -> RangeTombstones {
        // A boundary takes at least two bytes.
        let count = try reader.length(atMost: reader.remaining / 2, "range tombstone boundaries")
        if count == 0 { return .none }
        var builder = RangeTombstoneStorage.Builder(boundaries: count)
        for index in 0..<count {
            let length = try reader.length(atMost: Limits.fullKeyBytes, "range tombstone key")
            let key = unsafe try reader.bytes(length)
            let lsns = try decodeLSNs(from: &reader)
            guard unsafe builder.accepts(key) else {
                throw .malformed("range tombstones out of order")
            }
            guard index < count - 1 || lsns.isEmpty else {
                throw .malformed("range tombstones without an end")
            }
            guard unsafe builder.append(key, lsns) else { throw .malformed("range tombstones not in canonical form") }
        }
        return RangeTombstones(storage: builder.finish())
    }

    private static func decodeLSNs(from reader: inout ByteReader) throws(DecodeError) -> [LSN] {
        let count = try reader.length(atMost: reader.remaining, "range tombstone LSNs")
        var lsns: [LSN] = []
        lsns.reserveCapacity(count)
        for index in 0..<count {
            let value = try reader.varint()
            if index == 0 {
                guard value <= LSN.max.rawValue else { throw .outOfRange("LSN \(value)") }
                lsns.append(LSN(value))
            } else {
                let newer = lsns[index - 1].rawValue
                guard value >= 1, value <= newer else { throw .malformed("range tombstone LSNs out of order") }
                lsns.append(LSN(newer - value))
            }
        }
        return lsns
    }
}
