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
        for shift in stride(from: 0, to: T.bitWidth, by: 8) {
            bytes.append(UInt8(truncatingIfNeeded: value >> T(truncatingIfNeeded: shift)))
        }
    }

    mutating func reserve(_ count: Int) { bytes.reserveCapacity(bytes.count + count) }
}

/// Reads it again. Never traps and never reads past the end, whatever the bytes are.
struct StateReader: Sendable {
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var remaining: Int { bytes.count - position }

    mutating func next<T: FixedWidthInteger>(_: T.Type = T.self) throws(StateError) -> T {
        let size = T.bitWidth / 8
        guard remaining >= size else { throw .truncated }
        var value: T = 0
        for index in 0..<size {
            value |= T(truncatingIfNeeded: bytes[position + index]) << T(truncatingIfNeeded: index * 8)
        }
        position += size
        return value
    }
}
