@testable import VarveEngine

/// One decoder under attack: what it is called, how bytes go through it, and where its fuzzing begins.
///
/// `decode` may find the bytes good or bad; what it must never do is trap, hang, read outside them or take memory out of
/// proportion. It also holds up what a decoder promises: what it accepts must survive being encoded and decoded again.
struct FuzzTarget: Sendable {
    let name: String
    /// Whether the bytes were good to the end.
    let decode: @Sendable (UnsafeRawBufferPointer) -> Bool
    /// Where a checksum guards: makes the checksums of mutated bytes right, so that the fuzzer gets behind them.
    var repair: (@Sendable (inout [UInt8]) -> Void)?
    /// Small good inputs by name.
    let seeds: @Sendable () throws -> [(name: String, bytes: [UInt8])]

    /// What a fuzzer calls: the bytes as they are, then repaired.
    func run(_ bytes: UnsafeRawBufferPointer) {
        _ = decode(bytes)
        guard let repair else { return }
        var mended = Array(bytes)
        repair(&mended)
        _ = decodes(mended)
    }

    /// Decodes a copy whose end is the end of its allocation, so that the address sanitizer sees every read beyond it.
    func decodes(_ bytes: [UInt8]) -> Bool {
        let exact = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 16)
        defer { exact.deallocate() }
        exact.copyBytes(from: bytes)
        return decode(UnsafeRawBufferPointer(exact))
    }

    static let all: [FuzzTarget] = [
        .segment, .frame, .batch, .entry, .block, .storedBlock, .filter, .index, .footer, .properties, .tombstones,
        .table, .versionEdit, .manifest, .closed, .current, .lock, .degraded, .ownerRequest, .ownerReply,
    ]

    static func named(_ name: String) -> FuzzTarget? { all.first { $0.name == name } }
}

/// Runs a decoder; whatever it throws means that the bytes were bad.
func accepts(_ body: () throws -> Void) -> Bool {
    do {
        try body()
        return true
    } catch {
        return false
    }
}

extension ByteBuffer {
    /// The bytes that `body` appends.
    static func made(_ body: (inout ByteBuffer) -> Void) -> [UInt8] {
        var buffer = ByteBuffer()
        body(&buffer)
        return buffer.array()
    }
}

extension [UInt8] {
    func number<T: FixedWidthInteger & BitwiseCopyable>(at offset: Int, _: T.Type = T.self) -> T {
        withUnsafeBytes { T(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: T.self)) }
    }

    mutating func setNumber<T: FixedWidthInteger>(_ value: T, at offset: Int) {
        for index in 0..<MemoryLayout<T>.size {
            self[offset + index] = UInt8(truncatingIfNeeded: value >> T(index * 8))
        }
    }

    /// XXH3 of a range of them.
    func hash(_ range: Range<Int>, seed: UInt64 = 0) -> UInt64 {
        withUnsafeBytes { XXH3.hash64(UnsafeRawBufferPointer(rebasing: $0[range]), seed: seed) }
    }
}
