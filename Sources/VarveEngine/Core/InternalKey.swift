internal import Glibc

/// What a record does to its key.
enum RecordKind: UInt8, Sendable {
    /// Hides every older version of the key. May carry entry fields (cause, source version), never a value.
    case delete = 0
    case put = 1
    /// Hides every older version of the keys in [begin, end). In a record the key is `begin`, the entry bytes are `end`.
    case rangeDelete = 2
}

/// The last eight bytes of an internal key: LSN and kind in one integer, so that versions of one key compare with one
/// instruction. Newer is larger; in every sorted source newer comes first.
struct Trailer: Hashable, Sendable, Comparable {
    let rawValue: UInt64

    @inline(__always)
    init(rawValue: UInt64) { self.rawValue = rawValue }
    @inline(__always)
    init(_ lsn: LSN, _ kind: RecordKind) { rawValue = lsn.rawValue << 8 | UInt64(kind.rawValue) }
    /// Before every version of a key that a reader at `lsn` may see, and after every one that it may not.
    @inline(__always)
    init(seekingAt lsn: LSN) { rawValue = lsn.rawValue << 8 | 0xFF }

    @inline(__always)
    var lsn: LSN { LSN(rawValue >> 8) }
    /// Nil for a tag that no version has written.
    @inline(__always)
    var kind: RecordKind? { RecordKind(rawValue: UInt8(truncatingIfNeeded: rawValue)) }

    /// By age: older is smaller. (Sorted sources run the other way.)
    @inline(__always)
    static func < (a: Trailer, b: Trailer) -> Bool { a.rawValue < b.rawValue }

    /// Sorts before every version of its key.
    static let newest = Trailer(rawValue: .max)
    /// Sorts after every version of its key.
    static let oldest = Trailer(rawValue: 0)
}

/// Full keys: the namespace's id (32 bits, big-endian) followed by the user's key. They compare as raw bytes.
enum FullKey {
    static let namespaceBytes = 4

    /// Negative, zero or positive as `a` sorts before, with or after `b`.
    @inline(__always)
    static func compare(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Int {
        let shared = min(a.count, b.count)
        if shared > 0 {
            // Both are at least `shared` long and not empty, so both have addresses.
            let order = unsafe memcmp(a.baseAddress.unsafelyUnwrapped, b.baseAddress.unsafelyUnwrapped, shared)
            if order != 0 { return Int(order) }
        }
        return a.count - b.count
    }

    @inline(__always)
    static func areEqual(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Bool {
        guard a.count == b.count else { return false }
        guard a.count > 0 else { return true }
        return unsafe memcmp(a.baseAddress.unsafelyUnwrapped, b.baseAddress.unsafelyUnwrapped, a.count) == 0
    }

    /// The order of internal keys: key ascending, then newest version first.
    @inline(__always)
    static func compare(
        _ a: UnsafeRawBufferPointer, _ aTrailer: Trailer, _ b: UnsafeRawBufferPointer, _ bTrailer: Trailer
    ) -> Int {
        let order = unsafe compare(a, b)
        if order != 0 { return order }
        return aTrailer == bTrailer ? 0 : (aTrailer > bTrailer ? -1 : 1)
    }

    static func make(_ namespace: NamespaceID, _ key: [UInt8]) -> [UInt8] {
        let id = namespace.rawValue
        return [UInt8(id >> 24), UInt8(id >> 16 & 0xFF), UInt8(id >> 8 & 0xFF), UInt8(id & 0xFF)] + key
    }

    /// The smallest byte string above every one that starts with `prefix`; nil where there is none (all 0xFF).
    static func successor(ofPrefix prefix: [UInt8]) -> [UInt8]? {
        var bound = prefix
        while let last = bound.popLast() {
            if last < 0xFF { return bound + [last + 1] }
        }
        return nil
    }
}

/// The 32-bit id under which a namespace's keys are stored. 0 to 15 are the store's own and are never scanned.
struct NamespaceID: RawRepresentable, Hashable, Comparable, Sendable {
    let rawValue: UInt32
    init(rawValue: UInt32) { self.rawValue = rawValue }
    static func < (a: NamespaceID, b: NamespaceID) -> Bool { a.rawValue < b.rawValue }

    /// The catalogue: names of namespaces and their ids.
    static let catalogue = NamespaceID(rawValue: 0)
    /// Progress of loads, by the input's content.
    static let loadProgress = NamespaceID(rawValue: 1)
    static let tagEpochs = NamespaceID(rawValue: 2)
    static let slots = NamespaceID(rawValue: 3)
    static let marks = NamespaceID(rawValue: 4)
    static let sourceFloors = NamespaceID(rawValue: 5)
    /// The namespace that is there without being made.
    static let `default` = NamespaceID(rawValue: 16)
    static let firstUser = NamespaceID(rawValue: 16)
}
