/// What a record is called in a chunk of changes.
enum ChangeTag: UInt8 {
    case delete = 0
    case put = 1
    case rangeDelete = 2
    case tagDrop = 3
    case namespaceMade = 4
    case clock = 5
    case mark = 6
    case sourceFloors = 7

    /// Whether it concerns the store, and none of its namespaces.
    var isOfStore: Bool {
        switch self {
        case .namespaceMade, .clock, .mark: true
        case .delete, .put, .rangeDelete, .tagDrop, .sourceFloors: false
        }
    }
}

/// Picks the records that a feed tells of. A pure value.
struct ChangeFilter: Sendable {
    private let namespaces: [NamespaceID]
    private let prefix: [UInt8]
    private let prefixEnd: [UInt8]?
    private let hasValues: Bool
    let includesStoreRecords: Bool

    init(_ scope: ChangeScope) {
        namespaces = scope.namespaces.map(\.id)
        prefix = scope.prefix
        prefixEnd = FullKey.successor(ofPrefix: scope.prefix)
        hasValues = scope.hasValues
        includesStoreRecords = scope.includesStoreRecords
    }

    /// A record that is told of. It points into the batch.
    @safe
    struct Match {
        let tag: ChangeTag
        /// Which of the feed's namespaces.
        let namespace: Int
        let key: UnsafeRawBufferPointer
        let entry: UnsafeRawBufferPointer
    }

    func match(_ record: BatchRecord) -> Match? {
        if let index = namespaces.firstIndex(of: record.namespace) { return match(record, index) }
        switch record.namespace {
        case .tagEpochs: return matchTagDrop(record)
        case .sourceFloors: return matchSourceFloors(record)
        case .catalogue: return includesStoreRecords ? matchNamespace(record) : nil
        default: return nil
        }
    }

    private func match(_ record: BatchRecord, _ index: Int) -> Match? {
        let none = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        switch record.kind {
        case .rangeDelete:
            guard overlapsPrefix(record) else { return nil }
            return unsafe Match(tag: .rangeDelete, namespace: index, key: record.key, entry: record.entry)
        case .put:
            guard unsafe beginsWithPrefix(record.key) else { return nil }
            return unsafe Match(
                tag: .put, namespace: index, key: record.key, entry: hasValues ? record.entry : none)
        case .delete:
            guard unsafe beginsWithPrefix(record.key) else { return nil }
            return unsafe Match(
                tag: .delete, namespace: index, key: record.key, entry: hasValues ? record.entry : none)
        }
    }

    @inline(__always)
    private func beginsWithPrefix(_ key: UnsafeRawBufferPointer) -> Bool {
        if prefix.isEmpty { return true }
        return unsafe key.starts(with: prefix)
    }

    private func overlapsPrefix(_ record: BatchRecord) -> Bool {
        if prefix.isEmpty { return true }
        let range = unsafe clipped(from: Array(record.key), to: record.entry.isEmpty ? nil : Array(record.entry))
        guard let end = range.end else { return true }
        return range.begin.lexicographicallyPrecedes(end)
    }

    /// A range less what does not begin with the prefix.
    func clipped(from begin: [UInt8], to end: [UInt8]?) -> (begin: [UInt8], end: [UInt8]?) {
        let first = begin.lexicographicallyPrecedes(prefix) ? prefix : begin
        guard let end else { return (first, prefixEnd) }
        guard let prefixEnd, prefixEnd.lexicographicallyPrecedes(end) else { return (first, end) }
        return (first, prefixEnd)
    }

    /// Drops of tags lie in a namespace of the store's own, each under the namespace that it concerns and its number.
    private func matchTagDrop(_ record: BatchRecord) -> Match? {
        guard record.kind == .put, unsafe record.key.count == FullKey.namespaceBytes + 8 else { return nil }
        let id = unsafe NamespaceID(
            rawValue: UInt32(bigEndian: record.key.loadUnaligned(fromByteOffset: 0, as: UInt32.self)))
        guard let index = namespaces.firstIndex(of: id) else { return nil }
        let number = unsafe UnsafeRawBufferPointer(rebasing: record.key[FullKey.namespaceBytes...])
        return unsafe Match(
            tag: .tagDrop, namespace: index, key: number, entry: UnsafeRawBufferPointer(start: nil, count: 0))
    }

    /// The floors of a namespace lie under its number. What they say is in the value, so that comes along in any case.
    private func matchSourceFloors(_ record: BatchRecord) -> Match? {
        guard record.kind == .put, unsafe record.key.count == FullKey.namespaceBytes else { return nil }
        let id = unsafe NamespaceID(rawValue: UInt32(bigEndian: record.key.loadUnaligned(as: UInt32.self)))
        guard let index = namespaces.firstIndex(of: id) else { return nil }
        let none = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        return unsafe Match(tag: .sourceFloors, namespace: index, key: none, entry: record.entry)
    }

    private func matchNamespace(_ record: BatchRecord) -> Match? {
        let lead = NamespaceCatalogue.namePrefix
        guard record.kind == .put, unsafe record.key.starts(with: lead) else { return nil }
        return unsafe Match(
            tag: .namespaceMade, namespace: 0, key: UnsafeRawBufferPointer(rebasing: record.key[lead.count...]),
            entry: UnsafeRawBufferPointer(start: nil, count: 0))
    }
}
