/// Decides where the tables of a compaction's output end. Pure; asked before each user key, in order.
///
/// A table ends at its target size; earlier where one more key would make it overlap too much of the level beneath (its
/// own later compaction would have to rewrite that); and a little early where a table beneath ends, so that boundaries
/// of neighbouring levels fall together and later compactions rewrite less at their edges.
///
/// Idea: LevelDB's grandparent overlap, RocksDB's alignment of output boundaries (2022).
struct OutputSplitter {
    /// A table of the level beneath the output.
    struct Grandparent {
        let range: KeyRange
        let bytes: UInt64
    }

    private let targetBytes: UInt64
    private let maxOverlapBytes: UInt64
    private let grandparents: [Grandparent]
    /// The first of them that does not lie entirely before the last key.
    private var next = 0
    private var overlapBytes: UInt64 = 0
    private var isStarted = false

    /// `grandparents` sorted. `maxOverlapBytes`: of them, for one output.
    init(targetBytes: UInt64, grandparents: [Grandparent] = [], maxOverlapBytes: UInt64 = .max) {
        self.targetBytes = targetBytes
        self.grandparents = grandparents
        self.maxOverlapBytes = maxOverlapBytes
    }

    /// Never ends a table.
    static let never = OutputSplitter(targetBytes: .max)

    /// Whether the table that now has `bytes` should end before `key`, the next one to be written. A table that is not
    /// begun (`bytes` 0) never ends.
    @inline(__always)
    mutating func endsTable(before key: UnsafeRawBufferPointer, bytes: UInt64) -> Bool {
        let crossed = unsafe next < grandparents.count && advance(to: key)
        if bytes == 0 {
            overlapBytes = 0
            return false
        }
        let isFull = bytes >= targetBytes
        let isAligned = crossed && bytes >= targetBytes - targetBytes / 4
        guard isFull || isAligned || overlapBytes > maxOverlapBytes else { return false }
        overlapBytes = 0
        return true
    }

    /// Passes the grandparents that end before `key`; whether there was one.
    private mutating func advance(to key: UnsafeRawBufferPointer) -> Bool {
        let before = next
        while next < grandparents.count, unsafe grandparents[next].range.isEntirely(before: key) {
            overlapBytes &+= grandparents[next].bytes
            next += 1
        }
        return next > before
    }
}

extension KeyRange {
    /// As for an array, without making one.
    func isEntirely(before key: UnsafeRawBufferPointer) -> Bool {
        let order = unsafe largest.withUnsafeBytes { unsafe FullKey.compare($0, key) }
        return order < 0 || (isExclusive && order == 0)
    }
}
