/// One range delete: hides every version older than `lsn` of the keys in [begin, end).
///
/// Both bounds are full keys (namespace and user key), compared as raw bytes. A delete to the end of a namespace ends at
/// the first key of the next one.
struct RangeTombstone: Hashable, Sendable {
    let begin: [UInt8]
    /// Exclusive.
    let end: [UInt8]
    let lsn: LSN

    init(begin: [UInt8], end: [UInt8], lsn: LSN) {
        self.begin = begin
        self.end = end
        self.lsn = lsn
    }

    /// Covers no key, and may be dropped at the door.
    var isEmpty: Bool { !RangeTombstone.isBefore(begin, end) }

    /// Whether `a` sorts before `b`.
    static func isBefore(_ a: [UInt8], _ b: [UInt8]) -> Bool {
        unsafe a.withUnsafeBytes { left in
            unsafe b.withUnsafeBytes { right in unsafe FullKey.compare(left, right) < 0 }
        }
    }
}
