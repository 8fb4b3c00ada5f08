public import VarveEngine

/// The store as it should be: every version of every key in plain dictionaries, so simple that it is right by reading.
///
/// Keys are user keys of one namespace. It is told what was committed, with the LSNs that the engine gave out, and then
/// answers any read as of any LSN and time.
public struct ModelStore: Sendable {
    public struct Entry: Sendable, Hashable {
        public var value: [UInt8]
        public var usableUntil: Timestamp?
        public init(value: [UInt8], usableUntil: Timestamp? = nil) {
            self.value = value
            self.usableUntil = usableUntil
        }
    }

    public enum Operation: Sendable, Hashable {
        case put([UInt8], Entry)
        case delete([UInt8])
        /// [begin, end); nil: to the end.
        case deleteRange([UInt8], [UInt8]?)
    }

    /// Versions of a key, oldest first; nil: absent from there on.
    private var versions: [[UInt8]: [(lsn: LSN, entry: Entry?)]] = [:]
    /// Every operation that was applied, by LSN from 1 where the model saw all of them.
    public private(set) var last = LSN.zero

    public init() {}

    /// Applies the operations of one batch; the last one has the LSN `end`.
    public mutating func apply(_ operations: [Operation], endingAt end: LSN) {
        var lsn = LSN(end.rawValue - UInt64(operations.count) + 1)
        for operation in operations {
            switch operation {
            case .put(let key, let entry): versions[key, default: []].append((lsn, entry))
            case .delete(let key): versions[key, default: []].append((lsn, nil))
            case .deleteRange(let begin, let end):
                for key in versions.keys where ModelStore.isWithin(key, begin, end) {
                    versions[key]?.append((lsn, nil))
                }
            }
            lsn = lsn.next
        }
        last = end
    }

    private static func isWithin(_ key: [UInt8], _ begin: [UInt8], _ end: [UInt8]?) -> Bool {
        if key.lexicographicallyPrecedes(begin) { return false }
        guard let end else { return true }
        return key.lexicographicallyPrecedes(end)
    }

    /// The newest version of `key` at `lsn`, and its LSN; nil where absent or expired at `now`.
    public func get(_ key: [UInt8], at lsn: LSN = .max, now: Timestamp = .min) -> (lsn: LSN, entry: Entry)? {
        guard let version = versions[key]?.last(where: { $0.lsn <= lsn }), let entry = version.entry else { return nil }
        if let until = entry.usableUntil, until <= now { return nil }
        return (version.lsn, entry)
    }

    /// Every entry in [begin, end), in order.
    public func scan(
        from begin: [UInt8] = [], to end: [UInt8]? = nil, at lsn: LSN = .max, now: Timestamp = .min
    ) -> [(key: [UInt8], lsn: LSN, entry: Entry)] {
        var result: [(key: [UInt8], lsn: LSN, entry: Entry)] = []
        for key in versions.keys where ModelStore.isWithin(key, begin, end) {
            if let found = get(key, at: lsn, now: now) { result.append((key, found.lsn, found.entry)) }
        }
        return result.sorted { $0.key.lexicographicallyPrecedes($1.key) }
    }

    /// Forgets what came after `lsn`: an unsynced tail that a power cut was allowed to take.
    public mutating func truncate(after lsn: LSN) {
        for key in versions.keys { versions[key]?.removeAll { $0.lsn > lsn } }
        last = min(last, lsn)
    }
}
