/// A growable run of raw bytes with one owner: what encoders write into. Its storage is kept by `removeAll`, so a buffer
/// that is reused allocates nothing.
@safe
struct ByteBuffer: ~Copyable, @unchecked Sendable {
    // Unchecked: the storage has this value as its only owner.
    private var storage: UnsafeMutableRawBufferPointer
    private(set) var count: Int

    init(capacity: Int = 256) {
        unsafe storage = .allocate(byteCount: Swift.max(16, capacity), alignment: 16)
        count = 0
    }

    deinit { unsafe storage.deallocate() }

    /// The bytes written so far; valid until the next mutation.
    @inline(__always)
    var bytes: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(storage)[..<count])
    }
    @inline(__always)
    var mutableBytes: UnsafeMutableRawBufferPointer {
        unsafe UnsafeMutableRawBufferPointer(rebasing: storage[..<count])
    }
    var isEmpty: Bool { count == 0 }
    var capacity: Int { unsafe storage.count }

    /// Forgets the content from `length` on.
    mutating func truncate(to length: Int) {
        precondition(length >= 0 && length <= count, "truncate within the content")
        count = length
    }
    mutating func removeAll() { count = 0 }

    /// Removes the first `length` bytes; what follows moves to the beginning.
    mutating func removeFirst(_ length: Int) {
        precondition(length >= 0 && length <= count, "outside the buffer")
        let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[length...])
        unsafe storage.copyMemory(from: rest)
        count -= length
    }

    /// Makes room for `extra` more bytes.
    @inline(__always)
    mutating func reserve(_ extra: Int) {
        if unsafe storage.count - count < extra { grow(extra) }
    }

    @inline(never)
    private mutating func grow(_ extra: Int) {
        let wanted = Swift.max(unsafe storage.count * 2, count + extra)
        let larger = UnsafeMutableRawBufferPointer.allocate(byteCount: wanted, alignment: 16)
        unsafe larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(storage)[..<count]))
        unsafe storage.deallocate()
        unsafe storage = larger
    }

    @inline(__always)
    mutating func append(_ byte: UInt8) {
        reserve(1)
        unsafe storage[count] = byte
        count += 1
    }

    @inline(__always)
    mutating func append(_ source: UnsafeRawBufferPointer) {
        guard let address = source.baseAddress, source.count > 0 else { return }
        reserve(source.count)
        // Room for it was just reserved.
        unsafe storage.baseAddress.unsafelyUnwrapped.advanced(by: count).copyMemory(
            from: address, byteCount: source.count)
        count += source.count
    }

    mutating func append(_ source: [UInt8]) {
        unsafe source.withUnsafeBytes { unsafe append($0) }
    }

    /// A little-endian integer of fixed width.
    @inline(__always)
    mutating func appendFixed<T: FixedWidthInteger & BitwiseCopyable>(_ value: T) {
        reserve(MemoryLayout<T>.size)
        unsafe storage.storeBytes(of: value.littleEndian, toByteOffset: count, as: T.self)
        count += MemoryLayout<T>.size
    }

    /// An unsigned LEB128 integer.
    @inline(__always)
    mutating func appendVarint(_ value: UInt64) {
        reserve(10)
        var rest = value
        while rest >= 0x80 {
            unsafe storage[count] = UInt8(truncatingIfNeeded: rest) | 0x80
            count += 1
            rest >>= 7
        }
        unsafe storage[count] = UInt8(truncatingIfNeeded: rest)
        count += 1
    }

    /// Overwrites a fixed-width integer that was written before, at `offset`.
    mutating func overwriteFixed<T: FixedWidthInteger & BitwiseCopyable>(_ value: T, at offset: Int) {
        precondition(offset >= 0 && offset + MemoryLayout<T>.size <= count, "overwrite within the content")
        unsafe storage.storeBytes(of: value.littleEndian, toByteOffset: offset, as: T.self)
    }

    /// Appends `maximum` bytes of room, lets `body` fill them, and keeps as many as it returns.
    mutating func append<E: Error>(
        maximum: Int, _ body: (UnsafeMutableRawBufferPointer) throws(E) -> Int
    ) throws(E) {
        reserve(maximum)
        let used = unsafe try body(UnsafeMutableRawBufferPointer(rebasing: storage[count..<count + maximum]))
        precondition(used >= 0 && used <= maximum, "a body returns how much of its room it used")
        count += used
    }

    /// A copy as an array.
    func array() -> [UInt8] { unsafe Array(bytes) }
}
