package import VarveIO

/// The entries of another process's store, for commands: user keys of a namespace, fields decoded.
extension OwnerClient {
    /// An entry that was read, copied out.
    package struct Entry: Equatable, Sendable {
        package var key: [UInt8]
        package var value: [UInt8]
        /// The store-clock time from which it is expired; nil: never.
        package var usableUntil: Timestamp?
        /// What the value means to the layer that wrote it; 0: bytes.
        package var valueType: UInt8
        package var version: LSN
    }

    /// The owner of the store in `directory`, as its LOCK file names it. Throws `.storeInUse` where the owner offers no
    /// socket or does not answer; who asks has met the lock before.
    /// - Parameter limit: how long to wait for its greeting; then `.timedOut`.
    package static func connect(
        toStoreAt directory: String, _ files: any FileSystem, limit: Duration = .seconds(10)
    ) throws(VarveError) -> OwnerClient {
        try OwnerClient(try StoreLock.record(files, path: FileName.lock.path(in: directory)), limit: limit)
    }

    /// The entry under a user's key; nil where there is none.
    package func entry(_ key: [UInt8], in namespace: Namespace = .default) throws(VarveError) -> Entry? {
        guard let found = try get(fullKey: FullKey.make(namespace.id, key)) else { return nil }
        return try unsafe found.bytes.span.bytes.withUnsafeBytes { (bytes) throws(VarveError) in
            unsafe try OwnerClient.decode(key, found.lsn, bytes)
        }
    }

    /// Every entry with the prefix in [from, to), in order or from the last back, from one snapshot, until `visit`
    /// returns false.
    package func scan(
        in namespace: Namespace = .default, prefix: [UInt8], from: [UInt8]?, to: [UInt8]?, reverse: Bool,
        limit: UInt64?,
        _ visit: (Entry) throws(VarveError) -> Bool
    ) throws(VarveError) {
        let bounds = KeyBounds(namespace: namespace.id, prefix: prefix, from: from, to: to)
        let request = OwnerScanRequest(begin: bounds.lower, end: bounds.upper, isReverse: reverse, limit: limit)
        try scan(request) { (entry) throws(VarveError) in
            let key = unsafe Array(entry.key.dropFirst(FullKey.namespaceBytes))
            return try visit(unsafe try OwnerClient.decode(key, entry.lsn, entry.bytes))
        }
    }

    private static func decode(
        _ key: [UInt8], _ lsn: LSN, _ bytes: UnsafeRawBufferPointer
    ) throws(VarveError) -> Entry {
        do {
            let view = unsafe try EntryView(bytes)
            let until = view.usableUntil == .max ? nil : view.usableUntil
            let type = view.flags.contains(.valueType) ? try view.fields().valueType : 0
            return Entry(key: key, value: unsafe Array(view.value), usableUntil: until, valueType: type, version: lsn)
        } catch {
            throw VarveError(.io, "the process that has the store open sent an entry that cannot be read: \(error)")
        }
    }
}
