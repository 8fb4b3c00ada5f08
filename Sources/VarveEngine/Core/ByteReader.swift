/// Why bytes could not be decoded. The caller knows the file and the offset and says so.
enum DecodeError: Error, Equatable {
    case truncated
    /// A variable-length integer longer than its type, or not in its shortest form.
    case badVarint
    /// A length or count beyond what the format or the limits allow.
    case outOfRange(String)
    /// A tag that this version does not know, and may not skip.
    case unknown(String)
    /// Bytes that contradict each other.
    case malformed(String)
}

/// A cursor over raw bytes that checks every step; it never reads past the end and never traps on any input.
///
/// The bytes must outlive the reader; it holds no owner.
@safe
struct ByteReader {
    private(set) var position: UnsafeRawPointer
    let end: UnsafeRawPointer

    @inline(__always)
    init(_ bytes: UnsafeRawBufferPointer) {
        // An empty buffer may have no address: any address serves, since nothing is read from it.
        let start = unsafe bytes.baseAddress ?? UnsafeRawPointer(bitPattern: 1).unsafelyUnwrapped
        unsafe position = start
        unsafe end = start + bytes.count
    }

    @inline(__always)
    var remaining: Int { unsafe end - position }
    @inline(__always)
    var isAtEnd: Bool { unsafe position == end }

    @inline(__always)
    mutating func byte() throws(DecodeError) -> UInt8 {
        guard remaining >= 1 else { throw .truncated }
        let value = unsafe position.load(as: UInt8.self)
        unsafe position += 1
        return value
    }

    /// A little-endian integer of fixed width.
    @inline(__always)
    mutating func fixed<T: FixedWidthInteger & BitwiseCopyable>(_: T.Type = T.self) throws(DecodeError) -> T {
        let size = MemoryLayout<T>.size
        guard remaining >= size else { throw .truncated }
        let value = unsafe position.loadUnaligned(as: T.self)
        unsafe position += size
        return T(littleEndian: value)
    }

    /// An unsigned LEB128 integer of at most 64 bits in its shortest form.
    @inline(__always)
    mutating func varint() throws(DecodeError) -> UInt64 {
        guard remaining >= 1 else { throw .truncated }
        let first = unsafe position.load(as: UInt8.self)
        if first < 0x80 {
            unsafe position += 1
            return UInt64(first)
        }
        return try longVarint()
    }

    private mutating func longVarint() throws(DecodeError) -> UInt64 {
        var result: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            let next = try byte()
            if shift == 63, next > 1 { throw .badVarint }
            result |= UInt64(next & 0x7F) << shift
            if next < 0x80 {
                if next == 0 { throw .badVarint }
                return result
            }
            shift += 7
            if shift > 63 { throw .badVarint }
        }
    }

    /// A varint that must be a count or length of at most `limit`.
    @inline(__always)
    mutating func length(atMost limit: Int, _ what: StaticString = "length") throws(DecodeError) -> Int {
        let value = try varint()
        guard value <= UInt64(limit) else { throw .outOfRange("\(what) \(value) is above \(limit)") }
        return Int(value)
    }

    /// The next `count` bytes, in place.
    @inline(__always)
    mutating func bytes(_ count: Int) throws(DecodeError) -> UnsafeRawBufferPointer {
        guard count >= 0, remaining >= count else { throw .truncated }
        let result = unsafe UnsafeRawBufferPointer(start: position, count: count)
        unsafe position += count
        return unsafe result
    }

    /// All that is left.
    @inline(__always)
    mutating func rest() -> UnsafeRawBufferPointer {
        let result = unsafe UnsafeRawBufferPointer(start: position, count: remaining)
        unsafe position = end
        return unsafe result
    }
}
