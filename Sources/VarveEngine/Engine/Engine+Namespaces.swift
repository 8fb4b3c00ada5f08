extension Engine {
    /// The namespace of that name, made where there is none. Its keys are its own; making it is one small write.
    public func namespace(named name: String) throws(VarveError) -> Namespace {
        while true {
            if let known = try existingNamespace(named: name) { return known }
            do throws(VarveError) {
                return try makeNamespace(name)
            } catch {
                // Somebody made one at the same time.
                guard error.code == .conditionFailed else { throw error }
            }
        }
    }

    /// The namespace of that name; nil where there is none.
    public func existingNamespace(named name: String) throws(VarveError) -> Namespace? {
        if name == Namespace.default.name { return .default }
        try NamespaceCatalogue.check(name)
        let stored = unsafe try withEntry(NamespaceCatalogue.key(of: name).span.bytes, .catalogue, nil, .mayBlock) {
            entry, _ in
            unsafe Array(entry.value)
        }.value
        return try stored.map { (bytes) throws(VarveError) in
            note(Namespace(name: name, id: try NamespaceCatalogue.id(in: bytes)))
        }
    }

    /// Remembers the name for the statistics.
    private func note(_ namespace: Namespace) -> Namespace {
        accounts[namespace.id].update { $0.name = namespace.name }
        return namespace
    }

    /// Bounds what a namespace may take on disk, inside what the store may take; nil: no bound of its own. It holds from now
    /// on and until the store is closed. The namespace may be above it for as long as memtables and level 0 take to come
    /// down; then what of it was not read lately is forgotten, the oldest first. Pinned entries stay, and no other namespace
    /// loses anything for it.
    /// - Throws: `.invalidArgument` for a limit that is too small.
    public func setLimit(_ limit: NamespaceLimit?, of namespace: Namespace) throws(VarveError) {
        try limit?.validate()
        guard namespace.id >= .firstUser else {
            throw VarveError(.invalidArgument, "the store's own namespaces have no limits")
        }
        // Until it is opened anew, an engine that stands in keeps the limit for the one that does.
        let isStandIn = role == .readOnly && mark != nil
        let parts = isStandIn ? nil : try writable()
        accounts.setLimit(limit, of: namespace.id)
        parts?.compaction.wakeUp()
    }

    /// Whether a namespace has nearly filled the limit that is its own.
    package func isFull(_ namespace: Namespace) -> Bool { accounts.hasLimits && accounts[namespace.id].isFull }

    /// Every namespace, by name.
    public func namespaces() throws(VarveError) -> [Namespace] {
        let iterator = try makeIterator(
            in: NamespaceCatalogue.namespace, prefix: NamespaceCatalogue.namePrefix)
        var found = [Namespace.default]
        try iterator.seekToFirst()
        while iterator.isValid {
            let name = String(decoding: iterator.key.dropFirst(NamespaceCatalogue.namePrefix.count), as: UTF8.self)
            found.append(note(Namespace(name: name, id: try NamespaceCatalogue.id(in: iterator.value))))
            try iterator.next()
        }
        return found
    }

    private func makeNamespace(_ name: String) throws(VarveError) -> Namespace {
        let key = NamespaceCatalogue.key(of: name)
        let counter = NamespaceCatalogue.counterKey
        let last = try get(counter, in: NamespaceCatalogue.namespace)
        let id = try last.map { (value) throws(VarveError) in try NamespaceCatalogue.id(in: value.bytes).rawValue }
        let next = NamespaceID(rawValue: (id ?? NamespaceID.firstUser.rawValue) + 1)
        var batch = WriteBatch()
        try batch.require(key, version: nil, in: NamespaceCatalogue.namespace)
        try batch.require(counter, version: last?.version, in: NamespaceCatalogue.namespace)
        try batch.put(key, NamespaceCatalogue.bytes(of: next), in: NamespaceCatalogue.namespace)
        try batch.put(counter, NamespaceCatalogue.bytes(of: next), in: NamespaceCatalogue.namespace)
        try write(batch, durability: .synced)
        return note(Namespace(name: name, id: next))
    }
}

/// How the catalogue of namespaces is stored, in a namespace of the store's own: names and their ids, and the last id
/// that was given out. Ids are never used twice.
enum NamespaceCatalogue {
    static let namespace = Namespace(name: "catalogue", id: .catalogue)
    static let namePrefix = Array("name/".utf8)
    static let counterKey = Array("last".utf8)

    static func key(of name: String) -> [UInt8] { namePrefix + Array(name.utf8) }

    static func check(_ name: String) throws(VarveError) {
        guard !name.isEmpty, name.utf8.count <= Limits.namespaceNameBytes else {
            throw VarveError(.invalidArgument, "a namespace's name has 1 to \(Limits.namespaceNameBytes) bytes")
        }
    }

    static func bytes(of id: NamespaceID) -> [UInt8] {
        var buffer = ByteBuffer(capacity: 16)
        buffer.appendFixed(id.rawValue)
        return buffer.array()
    }

    static func id(in bytes: [UInt8]) throws(VarveError) -> NamespaceID {
        let id: UInt32? = unsafe bytes.withBytes { bytes in
            var reader = unsafe ByteReader(bytes)
            return try? reader.fixed()
        }
        guard let id else { throw VarveError(.corruption, "the catalogue of namespaces holds a malformed id") }
        return NamespaceID(rawValue: id)
    }
}
