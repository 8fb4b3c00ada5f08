/// The bench's keys: 16 decimal digits with leading zeros. Even numbers are present, odd ones are missing, so a missing
/// key always lies between two that are there.
enum BenchKeys {
    static let length = 16

    @inline(__always)
    static func present(_ id: UInt64, into key: UnsafeMutableRawBufferPointer) {
        unsafe decimal(id &* 2, into: key)
    }

    @inline(__always)
    static func missing(_ id: UInt64, into key: UnsafeMutableRawBufferPointer) {
        unsafe decimal(id &* 2 &+ 1, into: key)
    }

    @inline(__always)
    private static func decimal(_ number: UInt64, into key: UnsafeMutableRawBufferPointer) {
        var rest = number
        for place in stride(from: length - 1, through: 0, by: -1) {
            let quotient = rest / 10
            unsafe key[place] = UInt8(truncatingIfNeeded: 48 &+ rest &- quotient &* 10)
            rest = quotient
        }
    }
}

/// Memory for one thread's key, value or read buffer. One owner; freed with it.
@safe
struct Scratch: ~Copyable {
    let bytes: UnsafeMutableRawBufferPointer

    init(_ count: Int) {
        unsafe bytes = .allocate(byteCount: max(count, 16), alignment: 16)
        unsafe bytes.initializeMemory(as: UInt8.self, repeating: 0)
    }

    deinit { unsafe bytes.deallocate() }

    /// The first `count` bytes.
    @inline(__always)
    func prefix(_ count: Int) -> UnsafeMutableRawBufferPointer {
        unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[..<count])
    }

    /// The first `count` bytes, to read.
    @inline(__always)
    func readable(_ count: Int) -> UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(bytes)[..<count])
    }
}
