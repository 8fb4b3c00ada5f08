/// Finds the table of a sorted level that may hold a key.
///
/// Kept apart from the tables so that a point read does not chase a pointer a step: the eight bytes after the common
/// prefix of all largest keys stand in one array, and only ties compare whole keys. A value, built once for a version.
struct LevelIndex: Sendable {
    private let largestKeys: [[UInt8]]
    /// Whether the largest key itself is outside its table.
    private let exclusive: [Bool]
    /// Shared by all largest keys.
    private let prefix: [UInt8]
    /// The next eight bytes of each, big-endian, zero-filled; ascending.
    private let chunks: [UInt64]

    init(_ tables: [TableFile]) {
        largestKeys = tables.map(\.properties.largestKey)
        exclusive = tables.map(\.properties.largestKeyIsExclusive)
        var shared = largestKeys.first ?? []
        if let last = largestKeys.last {
            // The keys are sorted, so what the first and the last share all share.
            shared = Array(zip(shared, last).prefix { $0 == $1 }.map(\.0))
        }
        prefix = shared
        chunks = largestKeys.map { key in unsafe key.withUnsafeBytes { unsafe Self.chunk($0, after: shared.count) } }
    }

    /// The index of the first table that does not lie entirely before `key`; the count of tables where all do.
    func firstTable(notBefore key: UnsafeRawBufferPointer) -> Int {
        guard !chunks.isEmpty else { return 0 }
        let order = unsafe prefix.withUnsafeBytes { prefix in
            let head = unsafe UnsafeRawBufferPointer(rebasing: key[..<min(key.count, prefix.count)])
            return unsafe FullKey.compare(head, prefix)
        }
        // A key that is itself a prefix of the common prefix sorts before every largest key, too.
        if order < 0 { return 0 }
        if order > 0 { return chunks.count }
        let wanted = unsafe Self.chunk(key, after: prefix.count)
        var low = 0
        var high = chunks.count
        while low < high {
            let middle = (low + high) / 2
            if unsafe chunks[middle] < wanted || (chunks[middle] == wanted && liesBefore(key, middle)) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        return low
    }

    private func liesBefore(_ key: UnsafeRawBufferPointer, _ index: Int) -> Bool {
        let order = unsafe largestKeys[index].withUnsafeBytes { unsafe FullKey.compare($0, key) }
        return order < 0 || (order == 0 && exclusive[index])
    }

    @inline(__always)
    private static func chunk(_ key: UnsafeRawBufferPointer, after skipped: Int) -> UInt64 {
        let rest = key.count - skipped
        if rest >= 8 {
            return unsafe UInt64(bigEndian: key.loadUnaligned(fromByteOffset: skipped, as: UInt64.self))
        }
        var value: UInt64 = 0
        for offset in 0..<max(0, rest) {
            value |= unsafe UInt64(key[skipped + offset]) << UInt64(56 - 8 * offset)
        }
        return value
    }
}
