internal import Glibc

/// Comparing and copying keys by words. Keys are short (20 bytes in the benchmarks), so a call into libc costs as much as
/// the work itself: a merge compares twice per entry and measured a tenth faster with these.
enum KeyWords {
    /// As `FullKey.compare`: negative, zero or positive.
    @inline(__always)
    static func compare(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Int {
        let shared = min(a.count, b.count)
        guard shared >= 8, shared <= 64, let left = a.baseAddress, let right = b.baseAddress else {
            return unsafe FullKey.compare(a, b)
        }
        var offset = 0
        while true {
            let x = unsafe left.loadUnaligned(fromByteOffset: offset, as: UInt64.self).bigEndian
            let y = unsafe right.loadUnaligned(fromByteOffset: offset, as: UInt64.self).bigEndian
            if x != y { return x < y ? -1 : 1 }
            if offset == shared - 8 { return a.count - b.count }
            // The last word overlaps the one before it: those bytes are known to be equal.
            offset = min(offset + 8, shared - 8)
        }
    }

    /// As `FullKey.areEqual`, the last bytes first: neighbours in an order differ there.
    @inline(__always)
    static func areEqual(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Bool {
        guard a.count == b.count else { return false }
        guard a.count >= 8, let left = a.baseAddress, let right = b.baseAddress else {
            return unsafe FullKey.areEqual(a, b)
        }
        let last = a.count - 8
        let x = unsafe left.loadUnaligned(fromByteOffset: last, as: UInt64.self)
        let y = unsafe right.loadUnaligned(fromByteOffset: last, as: UInt64.self)
        return unsafe x == y && memcmp(left, right, last) == 0
    }
}

/// A copy of a key, in storage that is reused.
struct SavedKey: ~Copyable {
    private var buffer = ByteBuffer(capacity: 128)
    private(set) var isSet = false

    /// Valid until the next change.
    @inline(__always)
    var bytes: UnsafeRawBufferPointer { unsafe buffer.bytes }

    @inline(__always)
    mutating func assign(_ key: UnsafeRawBufferPointer) {
        isSet = true
        buffer.removeAll()
        if key.count >= 8, key.count <= 32, let source = key.baseAddress {
            unsafe assignShort(source, key.count)
        } else {
            unsafe buffer.append(key)
        }
    }

    /// 8 to 32 bytes, by words of which the last overlaps.
    @inline(__always)
    private mutating func assignShort(_ source: UnsafeRawPointer, _ count: Int) {
        unsafe buffer.append(maximum: 32) { room in
            guard let target = room.baseAddress else { return 0 }
            var offset = 0
            while true {
                let word = unsafe source.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                unsafe target.storeBytes(of: word, toByteOffset: offset, as: UInt64.self)
                if offset == count - 8 { return count }
                offset = min(offset + 8, count - 8)
            }
        }
    }

    mutating func clear() { isSet = false }

    /// Whether this is a copy of `key`.
    @inline(__always)
    func equals(_ key: UnsafeRawBufferPointer) -> Bool { unsafe isSet && KeyWords.areEqual(buffer.bytes, key) }
}

/// As `SavedKey`, for cursors.
///
/// A class over raw storage: a struct with mutating members, held by a cursor's class, would have its exclusivity checked
/// at run time with every entry, which took a fifth of a scan's time. One thread at a time.
@safe
final class KeyCopy {
    private var storage: UnsafeMutableRawBufferPointer
    private(set) var count = 0
    private(set) var isSet = false

    init() { unsafe storage = .allocate(byteCount: 128, alignment: 16) }
    deinit { unsafe storage.deallocate() }

    /// Valid until the next change.
    @inline(__always)
    var bytes: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: storage.baseAddress, count: count) }

    @inline(__always)
    func assign(_ key: UnsafeRawBufferPointer) {
        isSet = true
        count = key.count
        if unsafe count > storage.count { grow() }
        guard let source = key.baseAddress, let target = unsafe storage.baseAddress else { return }
        if count >= 8 && count <= 32 {
            var offset = 0
            // By words of which the last overlaps the one before it.
            while true {
                let word = unsafe source.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                unsafe target.storeBytes(of: word, toByteOffset: offset, as: UInt64.self)
                if offset == count - 8 { return }
                offset = min(offset + 8, count - 8)
            }
        }
        unsafe target.copyMemory(from: source, byteCount: count)
    }

    /// Room for `count` bytes; the content is about to be replaced.
    @inline(never)
    private func grow() {
        unsafe storage.deallocate()
        unsafe storage = .allocate(byteCount: count * 2, alignment: 16)
    }

    func clear() {
        isSet = false
        count = 0
    }

    /// Whether this is a copy of `key`.
    @inline(__always)
    func equals(_ key: UnsafeRawBufferPointer) -> Bool { unsafe isSet && KeyWords.areEqual(bytes, key) }
}
