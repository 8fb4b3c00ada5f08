/// Why a policy's state could not be taken up.
enum StateError: Error, Equatable {
    case truncated
    /// Another kind of policy, another version, or a size that cannot be.
    case foreign
}

/// Writes a policy's state: little-endian integers, nothing else.
struct StateWriter: Sendable {
    private(set) var bytes: [UInt8] = []

    mutating func append<T: FixedWidthInteger>(_ value: T) {
        // All at once: a large shard is held meanwhile. The pointer does not leave the closure.
        unsafe withUnsafeBytes(of: value.littleEndian) { unsafe bytes.append(contentsOf: $0) }
    }

    mutating func reserve(_ count: Int) { bytes.reserveCapacity(bytes.count + count) }
}

/// Reads it again. Never traps and never reads past the end, whatever the bytes are.
struct StateReader: Sendable {
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var remaining: Int { bytes.count - position }

    mutating func next<T: FixedWidthInteger & BitwiseCopyable>(_: T.Type = T.self) throws(StateError) -> T {
        let size = T.bitWidth / 8
        guard remaining >= size else { throw .truncated }
        // `size` bytes are left, as was just seen.
        let value = unsafe bytes.span.bytes.unsafeLoadUnaligned(fromByteOffset: position, as: T.self)
        position += size
        return T(littleEndian: value)
    }
}
