/// The fragments behind `RangeTombstones`: boundary keys in ascending order and, for each, the LSNs (newest first) that
/// cover the keys from it up to the next one. The last boundary has no LSN; two neighbours never have the same ones.
@safe
final class RangeTombstoneStorage: @unchecked Sendable {
    // Unchecked: nothing changes after init; the bytes live as long as this object.
    private let bytes: UnsafeMutableRawBufferPointer
    private let offsets: [Int]
    /// Boundary i owns lsns[lsnOffsets[i]..<lsnOffsets[i + 1]].
    private let lsnOffsets: [Int]
    let lsns: [LSN]

    fileprivate init(keys: [UInt8], offsets: [Int], lsns: [LSN], lsnOffsets: [Int]) {
        unsafe bytes = .allocate(byteCount: Swift.max(1, keys.count), alignment: 8)
        unsafe bytes.copyBytes(from: keys)
        self.offsets = offsets
        self.lsns = lsns
        self.lsnOffsets = lsnOffsets
    }

    deinit { unsafe bytes.deallocate() }

    var boundaryCount: Int { offsets.count - 1 }
    var byteCount: Int { offsets[offsets.count - 1] }
    var coveredFragments: Int { (0..<boundaryCount).count { !lsns(of: $0).isEmpty } }

    /// Valid as long as this object.
    @inline(__always)
    func boundary(_ index: Int) -> UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(rebasing: bytes[offsets[index]..<offsets[index + 1]])
    }

    @inline(__always)
    func lsns(of index: Int) -> ArraySlice<LSN> { lsns[lsnOffsets[index]..<lsnOffsets[index + 1]] }

    /// How many boundaries sort at or before `key`: the fragment that holds it has this index less one.
    func boundariesUpTo(_ key: UnsafeRawBufferPointer) -> Int {
        var low = 0
        var high = boundaryCount
        while low < high {
            let middle = (low + high) / 2
            if unsafe FullKey.compare(boundary(middle), key) <= 0 { low = middle + 1 } else { high = middle }
        }
        return low
    }

    func maxLSN(covering key: UnsafeRawBufferPointer, at lsn: LSN) -> LSN? {
        let index = unsafe boundariesUpTo(key)
        return index == 0 ? nil : newest(of: index - 1, at: lsn)
    }

    /// The newest LSN over a fragment that a reader at `lsn` sees.
    func newest(of index: Int, at lsn: LSN) -> LSN? {
        var low = lsnOffsets[index]
        let end = lsnOffsets[index + 1]
        var high = end
        while low < high {
            let middle = (low + high) / 2
            if lsns[middle] > lsn { low = middle + 1 } else { high = middle }
        }
        return low < end ? lsns[low] : nil
    }
}

extension RangeTombstoneStorage {
    /// Takes boundaries in ascending order.
    struct Builder {
        private var keys: [UInt8] = []
        private var offsets: [Int] = [0]
        private var lsns: [LSN] = []
        private var lsnOffsets: [Int] = [0]

        init(boundaries: Int) {
            offsets.reserveCapacity(boundaries + 1)
            lsnOffsets.reserveCapacity(boundaries + 1)
        }

        /// Whether `key` sorts after the last boundary.
        func accepts(_ key: UnsafeRawBufferPointer) -> Bool {
            guard offsets.count > 1 else { return true }
            return unsafe keys.withUnsafeBytes { all in
                let last = unsafe UnsafeRawBufferPointer(rebasing: all[offsets[offsets.count - 2]...])
                return unsafe FullKey.compare(last, key) < 0
            }
        }

        /// Adds a boundary; false, and nothing added, where it would say nothing new.
        @discardableResult
        mutating func append(_ key: UnsafeRawBufferPointer, _ covering: [LSN]) -> Bool {
            let last = lsnOffsets.count > 1 ? lsns[lsnOffsets[lsnOffsets.count - 2]...] : []
            if last.elementsEqual(covering) { return false }
            unsafe keys.append(contentsOf: key)
            offsets.append(keys.count)
            lsns.append(contentsOf: covering)
            lsnOffsets.append(lsns.count)
            return true
        }

        /// Nil where nothing is covered.
        consuming func finish() -> RangeTombstoneStorage? {
            guard offsets.count > 1 else { return nil }
            return RangeTombstoneStorage(keys: keys, offsets: offsets, lsns: lsns, lsnOffsets: lsnOffsets)
        }
    }
}

/// Splits overlapping tombstones at every begin and end.
enum RangeTombstoneFragmenter {
    /// None of the tombstones may be empty.
    static func fragment(_ tombstones: [RangeTombstone]) -> RangeTombstoneStorage? {
        guard !tombstones.isEmpty else { return nil }
        var boundaries = tombstones.flatMap { [$0.begin, $0.end] }
        boundaries.sort(by: RangeTombstone.isBefore)
        boundaries = boundaries.reduce(into: []) { unique, key in if unique.last != key { unique.append(key) } }

        // Newest first, so that each fragment's LSNs come out sorted.
        var covering = [[LSN]](repeating: [], count: boundaries.count)
        for tombstone in tombstones.sorted(by: { $0.lsn > $1.lsn }) {
            var index = position(of: tombstone.begin, in: boundaries)
            while RangeTombstone.isBefore(boundaries[index], tombstone.end) {
                if covering[index].last != tombstone.lsn { covering[index].append(tombstone.lsn) }
                index += 1
            }
        }
        var builder = RangeTombstoneStorage.Builder(boundaries: boundaries.count)
        for (key, lsns) in zip(boundaries, covering) {
            _ = unsafe key.withUnsafeBytes { unsafe builder.append($0, lsns) }
        }
        return builder.finish()
    }

    private static func position(of key: [UInt8], in boundaries: [[UInt8]]) -> Int {
        var low = 0
        var high = boundaries.count
        while low < high {
            let middle = (low + high) / 2
            if RangeTombstone.isBefore(boundaries[middle], key) { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

/// Remembers the fragment of the last key asked for, so that keys which come in order (either way) cost one or two
/// comparisons each, and nothing at all where no tombstone is there. One thread at a time.
@safe
struct RangeTombstoneCover {
    private let storage: RangeTombstoneStorage?
    private let snapshot: LSN
    /// The remembered stretch: keys in [boundary index, boundary index + 1), open at either end of all.
    private var index = -1
    private var isPlaced = false
    private var covering = LSN.zero

    init(_ storage: RangeTombstoneStorage?, at snapshot: LSN) {
        self.storage = storage
        self.snapshot = snapshot
    }

    @inline(__always)
    var isEmpty: Bool { storage == nil }

    /// The newest visible tombstone over `key`; zero where none is.
    @inline(__always)
    mutating func lsn(covering key: UnsafeRawBufferPointer) -> LSN {
        guard let storage else { return .zero }
        return unsafe place(key, in: storage)
    }

    private mutating func place(_ key: UnsafeRawBufferPointer, in storage: RangeTombstoneStorage) -> LSN {
        if isPlaced {
            let isAfterBegin = unsafe index < 0 || FullKey.compare(storage.boundary(index), key) <= 0
            let isBeforeEnd =
                unsafe index + 1 >= storage.boundaryCount || FullKey.compare(key, storage.boundary(index + 1)) < 0
            if isAfterBegin && isBeforeEnd { return covering }
        }
        index = unsafe storage.boundariesUpTo(key) - 1
        isPlaced = true
        covering = index < 0 ? .zero : storage.newest(of: index, at: snapshot) ?? .zero
        return covering
    }

    /// The end of the stretch that `lsn(covering:)` found last; nil where it has none. Valid as long as the tombstones.
    var stretchEnd: UnsafeRawBufferPointer? {
        guard let storage, isPlaced, index + 1 < storage.boundaryCount else { return nil }
        return unsafe storage.boundary(index + 1)
    }

    /// The begin of that stretch; nil where it has none.
    var stretchBegin: UnsafeRawBufferPointer? {
        guard let storage, isPlaced, index >= 0 else { return nil }
        return unsafe storage.boundary(index)
    }
}
