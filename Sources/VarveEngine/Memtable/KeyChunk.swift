/// Eight bytes of a key as one big-endian integer, so that most comparisons are one instruction and touch no key.
enum KeyChunk {
    /// The bytes from `skip` on, zero-filled. Chunks order keys that share their first `skip` bytes; equal chunks say
    /// nothing.
    @inline(__always)
    static func make(_ key: UnsafeRawBufferPointer, skipping skip: Int) -> UInt64 {
        let rest = key.count - skip
        guard rest > 0, let start = key.baseAddress else { return 0 }
        if rest >= 8 { return unsafe UInt64(bigEndian: (start + skip).loadUnaligned(as: UInt64.self)) }
        if key.count >= 8 {
            let last = unsafe UInt64(bigEndian: (start + key.count - 8).loadUnaligned(as: UInt64.self))
            return last << UInt64(64 - rest * 8)
        }
        var chunk: UInt64 = 0
        for index in 0..<rest { chunk |= unsafe UInt64(key[skip + index]) << UInt64(56 - index * 8) }
        return chunk
    }

    /// How many leading bytes two keys share.
    static func sharedBytes(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Int {
        let limit = min(a.count, b.count)
        var shared = 0
        while shared < limit, unsafe a[shared] == b[shared] { shared += 1 }
        return shared
    }

    /// How many bytes a node should skip whose keys all share `shared` bytes: no more than leaves the whole of a key's
    /// end in its chunk, so that keys which count upward seldom leave the prefix.
    static func skip(shared: Int, key: UnsafeRawBufferPointer) -> Int { min(shared, max(0, key.count - 8)) }
}
