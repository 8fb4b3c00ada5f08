/// Encodes operations as log records, with every limit checked at this door.
enum RecordWriter {
    static func checkKey(_ count: Int) throws(VarveError) {
        guard count <= Limits.keyBytes else {
            throw VarveError(.limitExceeded, "a key of \(count) bytes is above the limit of \(Limits.keyBytes)")
        }
    }

    private static func checkFields(_ fields: EntryFields) throws(VarveError) {
        guard fields.tags.count <= Limits.tagsPerEntry else {
            throw VarveError(.limitExceeded, "an entry takes at most \(Limits.tagsPerEntry) tags")
        }
        var extensions = 0
        for field in fields.extensions { extensions += field.bytes.count + 20 }
        guard extensions + fields.tags.count * 8 <= Limits.entryFieldBytes - 64 else {
            throw VarveError(.limitExceeded, "an entry's fields take at most \(Limits.entryFieldBytes) bytes")
        }
    }

    @inline(__always)
    static func put(
        _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, _ fields: EntryFields, _ namespace: NamespaceID,
        into payload: inout ByteBuffer
    ) throws(VarveError) {
        try checkKey(key.count)
        guard value.count <= Limits.valueBytes else {
            throw VarveError(
                .limitExceeded, "a value of \(value.count) bytes is above the limit of \(Limits.valueBytes)")
        }
        if fields == .none {
            try checkBatch(payload.count + key.count + value.count + 32)
            unsafe appendHead(.put, namespace, key, into: &payload)
            payload.appendVarint(UInt64(value.count + 1))
            payload.append(0)
            unsafe payload.append(value)
        } else {
            try checkFields(fields)
            var encoded = ByteBuffer(capacity: 128)
            EntryCodec.appendFields(fields, to: &encoded)
            try checkBatch(payload.count + key.count + value.count + encoded.count + 32)
            unsafe appendHead(.put, namespace, key, into: &payload)
            payload.appendVarint(UInt64(value.count + encoded.count))
            unsafe payload.append(encoded.bytes)
            unsafe payload.append(value)
        }
    }

    /// An entry as it lies in a store, under a full key.
    static func putEntry(_ fullKey: [UInt8], _ entry: [UInt8], into payload: inout ByteBuffer) throws(VarveError) {
        try checkKey(fullKey.count - FullKey.namespaceBytes)
        try checkBatch(payload.count + fullKey.count + entry.count + 32)
        let namespace = fullKey.prefix(FullKey.namespaceBytes).reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        unsafe fullKey.withBytes { key in
            let user = unsafe UnsafeRawBufferPointer(rebasing: key[FullKey.namespaceBytes...])
            unsafe appendHead(.put, NamespaceID(rawValue: namespace), user, into: &payload)
        }
        payload.appendVarint(UInt64(entry.count))
        payload.append(entry)
    }

    static func delete(
        _ key: UnsafeRawBufferPointer, _ fields: EntryFields, _ namespace: NamespaceID, into payload: inout ByteBuffer
    ) throws(VarveError) {
        try checkKey(key.count)
        var encoded = ByteBuffer(capacity: 16)
        if fields != .none {
            try checkFields(fields)
            EntryCodec.appendFields(fields, to: &encoded)
        }
        try checkBatch(payload.count + key.count + encoded.count + 32)
        unsafe appendHead(.delete, namespace, key, into: &payload)
        payload.appendVarint(UInt64(encoded.count))
        unsafe payload.append(encoded.bytes)
    }

    static func deleteRange(
        _ begin: [UInt8], _ end: [UInt8]?, _ namespace: NamespaceID, into payload: inout ByteBuffer
    ) throws(VarveError) {
        try checkKey(begin.count)
        if let end {
            try checkKey(end.count)
            // An empty end is how the format spells "to the end of the namespace", and no key sorts before "".
            guard !end.isEmpty, begin.lexicographicallyPrecedes(end) else {
                throw VarveError(.invalidArgument, "a range's end must sort after its begin")
            }
        }
        try checkBatch(payload.count + begin.count + (end?.count ?? 0) + 32)
        unsafe begin.withUnsafeBytes { unsafe appendHead(.rangeDelete, namespace, $0, into: &payload) }
        payload.appendVarint(UInt64(end?.count ?? 0))
        if let end { payload.append(end) }
    }

    @inline(__always)
    private static func appendHead(
        _ kind: RecordKind, _ namespace: NamespaceID, _ key: UnsafeRawBufferPointer, into payload: inout ByteBuffer
    ) {
        payload.append(kind.rawValue)
        payload.appendVarint(UInt64(namespace.rawValue))
        payload.appendVarint(UInt64(key.count))
        unsafe payload.append(key)
    }

    private static func checkBatch(_ bytes: Int) throws(VarveError) {
        guard bytes <= Limits.batchBytes else {
            throw VarveError(.limitExceeded, "a batch takes at most \(Limits.batchBytes) bytes; split it")
        }
    }
}
