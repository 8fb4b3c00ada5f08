/// What one namespace has in a table.
struct NamespaceShare: Hashable, Sendable {
    let namespace: NamespaceID
    /// Puts, those among them that newer ones hide too.
    var putCount: UInt64 = 0
    /// Full keys and entries before compression, of deletes as well.
    var rawBytes: UInt64 = 0
    /// Its part of the data blocks as they lie in the file.
    var storedBytes: UInt64 = 0

    /// A table tells of so many; what others have in it is nobody's.
    static let limit = 4096
}

/// Counts what each namespace has in a table while the table is written. Keys come in order, so a namespace comes once.
struct NamespaceCounter {
    private var shares: [NamespaceShare] = []
    private var present: NamespaceShare?
    /// Of the block that is being filled: the first namespace in it, and what it had when the block began.
    private var firstInBlock = 0
    private var rawBefore: UInt64 = 0

    @inline(__always)
    mutating func add(_ key: UnsafeRawBufferPointer, isPut: Bool, bytes: Int) {
        guard let namespace = unsafe FullKey.namespace(of: key) else { return }
        if present?.namespace != namespace { begin(namespace) }
        present?.putCount &+= isPut ? 1 : 0
        present?.rawBytes &+= UInt64(bytes)
    }

    private mutating func begin(_ namespace: NamespaceID) {
        if let present { shares.append(present) }
        present = NamespaceShare(namespace: namespace)
    }

    /// The block with what was added last lies in the file with so many bytes: each namespace in it gets its part.
    mutating func endBlock(stored: UInt64) {
        if let present { shares.append(present) }
        var raw = shares[firstInBlock...].reduce(0) { $0 &+ $1.rawBytes } &- rawBefore
        var left = stored
        for index in firstInBlock..<shares.count {
            let own = shares[index].rawBytes &- (index == firstInBlock ? rawBefore : 0)
            let part = raw == 0 ? 0 : UInt64(Double(left) * (Double(own) / Double(raw)))
            shares[index].storedBytes &+= part
            (left, raw) = (left &- min(left, part), raw &- own)
        }
        present = shares.popLast()
        firstInBlock = shares.count
        rawBefore = present?.rawBytes ?? 0
    }

    /// After the last block.
    var finished: [NamespaceShare] { Array((shares + (present.map { [$0] } ?? [])).prefix(NamespaceShare.limit)) }
}

extension TableProperties {
    /// What each namespace has, by id; nil: several have something, and the table comes from before they were counted.
    var namespaceShares: [NamespaceShare]? {
        if !namespaces.isEmpty { return namespaces }
        guard entryCount > 0 else { return [] }
        return onlyNamespace.map {
            [
                NamespaceShare(
                    namespace: $0, putCount: putCount, rawBytes: rawKeyBytes &+ rawEntryBytes,
                    storedBytes: storedDataBytes)
            ]
        }
    }

    /// The namespace that all keys between the smallest and the largest have; nil: there may be several.
    var onlyNamespace: NamespaceID? {
        guard let first = unsafe smallestKey.withBytes({ unsafe FullKey.namespace(of: $0) }),
            var last = unsafe largestKey.withBytes({ unsafe FullKey.namespace(of: $0) })
        else { return nil }
        // Everything before the first key of the next namespace.
        if largestKeyIsExclusive, largestKey.count == FullKey.namespaceBytes, last.rawValue > 0 {
            last = NamespaceID(rawValue: last.rawValue - 1)
        }
        return first == last ? first : nil
    }
}

/// What each namespace has in the tables of a version.
struct NamespaceUse: Sendable {
    struct Use: Hashable, Sendable {
        /// Puts, those among them that newer ones hide too.
        var entries: UInt64 = 0
        /// As they lie on disk: data blocks, and in proportion what tables have beside them.
        var bytes: UInt64 = 0
    }

    let of: [NamespaceID: Use]

    init(_ tables: [TableFile]) {
        var all: [NamespaceID: Use] = [:]
        for table in tables {
            let whole = Double(table.bytes) / Double(max(1, table.properties.storedDataBytes))
            for share in table.properties.namespaceShares ?? [] {
                all[share.namespace, default: Use()].entries &+= share.putCount
                // Decoding has checked that it fits; whoever makes a table by hand is not refused for it.
                let bytes = UInt64(exactly: (Double(share.storedBytes) * whole).rounded(.down)) ?? table.bytes
                all[share.namespace, default: Use()].bytes &+= bytes
            }
        }
        of = all
    }

    subscript(_ namespace: NamespaceID) -> Use { of[namespace] ?? Use() }
}
