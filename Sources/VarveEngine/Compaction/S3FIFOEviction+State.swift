internal import Synchronization

/// The policy's memory as bytes, so that a restart does not begin with a cold one. Written between two moments, it is a
/// picture of neither; that costs a few credits.
///
///     magic "VARVES3F" | version u32 | expected entries u64 | ghost clock u32 | full u8 | credits | ghost | checksum u64
///
/// Credits and ghost are words as `AtomicWords` encodes them; the checksum is XXH3-64 of all before it. How fast sweeps go
/// is learnt anew from the first ones.
extension S3FIFOEviction {
    private static let magic: UInt64 = 0x4633_5345_5652_4156
    private static let version: UInt32 = 1

    /// At most as many bytes as the policy takes in memory and a sixty-fourth more.
    public func encodedState() -> [UInt8] { whole.withLock { _ in encoded() } }

    private func encoded() -> [UInt8] {
        var buffer = ByteBuffer(capacity: 1 << 12)
        buffer.appendFixed(S3FIFOEviction.magic)
        buffer.appendFixed(S3FIFOEviction.version)
        buffer.appendFixed(UInt64(expectedEntries))
        buffer.appendFixed(ghost.now)
        buffer.append(isFull ? 1 : 0)
        credits.words.encode(to: &buffer)
        ghost.words.encode(to: &buffer) { ghost.isFresh($0) }
        let hash = unsafe XXH3.hash64(buffer.bytes)
        buffer.appendFixed(hash)
        return buffer.array()
    }

    /// Takes over what another policy of the same size, or one that has grown from it, has remembered, before this one is used.
    /// False, with nothing changed but what is forgotten and the room for it, where the bytes are damaged, of another version
    /// or of another size.
    public func restore(_ state: [UInt8]) -> Bool { whole.withLock { _ in takeUp(state) } }

    private func takeUp(_ state: [UInt8]) -> Bool {
        unsafe state.withBytes { bytes in
            do throws(DecodeError) {
                return unsafe try restore(bytes)
            } catch {
                credits.words.clear()
                ghost.words.clear()
                credits.recount()
                return false
            }
        }
    }

    private func restore(_ bytes: UnsafeRawBufferPointer) throws(DecodeError) -> Bool {
        guard bytes.count > 8 else { throw .truncated }
        var end = unsafe ByteReader(UnsafeRawBufferPointer(rebasing: bytes[(bytes.count - 8)...]))
        let content = unsafe UnsafeRawBufferPointer(rebasing: bytes[..<(bytes.count - 8)])
        guard unsafe XXH3.hash64(content) == (try end.fixed(UInt64.self)) else { throw .malformed("checksum") }
        var reader = unsafe ByteReader(content)
        guard try reader.fixed(UInt64.self) == S3FIFOEviction.magic else { throw .malformed("magic") }
        guard try reader.fixed(UInt32.self) == S3FIFOEviction.version else { throw .unknown("a version") }
        let size = try reader.fixed(UInt64.self)
        guard canGrow(to: size) else { throw .malformed("size") }
        grow(to: Int(size))
        let now = try reader.fixed(UInt32.self)
        let full = try reader.byte() != 0
        try credits.words.decode(&reader)
        try ghost.words.decode(&reader)
        guard reader.isAtEnd else { throw .malformed("bytes behind the end") }
        credits.recount()
        ghost.now = now
        pace.restart(supposed: S3FIFOEviction.supposedTurn(ghost), now: now)
        setFull(full)
        return true
    }
}
