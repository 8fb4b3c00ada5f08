/// Reads a whole table and checks all that can be checked: every byte against the content hash where one is known, every
/// block's checksum, the order of the entries, and the counts and bounds in the properties.
struct TableVerifier {
    private let table: TableReader
    private static let pieceBytes = 1 << 20

    init(_ table: TableReader) { self.table = table }

    /// `progress` gets the bytes read so far, of twice the file's length, and returns false to stop.
    func verify(contentHash: ContentHash?, progress: (UInt64) -> Bool) throws(VarveError) {
        let difference = try contentDifference(contentHash, progress)
        // The blocks' own checksums name the place, which the hash of the whole cannot.
        try verifyEntries(progress)
        if let difference { throw difference }
    }

    /// What the file's hash has to say; nil: it is as it should be.
    private func contentDifference(
        _ expected: ContentHash?, _ progress: (UInt64) -> Bool
    ) throws(VarveError) -> VarveError? {
        guard let expected else { return nil }
        var hasher = ContentHasher()
        let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.pieceBytes, alignment: 64)
        defer { unsafe piece.deallocate() }
        var offset: UInt64 = 0
        while offset < table.fileBytes {
            let count = Int(min(UInt64(Self.pieceBytes), table.fileBytes - offset))
            let room = unsafe UnsafeMutableRawBufferPointer(rebasing: piece[..<count])
            unsafe try table.read(into: room, at: offset)
            unsafe hasher.update(UnsafeRawBufferPointer(room))
            offset += UInt64(count)
            guard progress(offset) else { throw VarveError(.cancelled, "verification was stopped", path: table.path) }
        }
        let found = hasher.finalize()
        if found == expected { return nil }
        return .corruption("its content hash is \(found) and should be \(expected)", path: table.path)
    }

    private func verifyEntries(_ progress: (UInt64) -> Bool) throws(VarveError) {
        let cursor = table.makeCursor(access: .sequential)
        let properties = table.properties
        var (puts, deletes, bytes) = (UInt64(0), UInt64(0), UInt64(0))
        var last = SavedKey()
        var lastTrailer = Trailer.newest
        try cursor.seekToFirst()
        while cursor.isValid {
            let key = unsafe cursor.key
            if last.isSet, unsafe FullKey.compare(last.bytes, lastTrailer, key, cursor.trailer) >= 0 {
                throw damaged("its entries are out of order", at: cursor)
            }
            try check(cursor, properties)
            if cursor.trailer.kind == .put { puts += 1 } else { deletes += 1 }
            bytes &+= UInt64(key.count)
            unsafe last.assign(key)
            lastTrailer = cursor.trailer
            if (puts + deletes) % 4096 == 0 {
                let offset = unsafe table.approximateOffset(of: key)
                guard progress(table.fileBytes &+ offset) else {
                    throw VarveError(.cancelled, "verification was stopped", path: table.path)
                }
            }
            try cursor.next()
        }
        guard puts == properties.putCount, deletes == properties.deleteCount, bytes == properties.rawKeyBytes else {
            throw .corruption("it holds other entries than its properties say", path: table.path)
        }
    }

    private func check(_ cursor: TableCursor, _ properties: TableProperties) throws(VarveError) {
        let key = unsafe cursor.key
        let trailer = cursor.trailer
        guard trailer.kind == .put || trailer.kind == .delete else {
            throw damaged("an entry of unknown kind", at: cursor)
        }
        let isInside =
            unsafe properties.smallestKey.withUnsafeBytes { unsafe FullKey.compare($0, key) <= 0 }
            && properties.largestKey.withUnsafeBytes { unsafe FullKey.compare(key, $0) <= 0 }
        guard isInside, trailer.lsn >= properties.smallestLSN, trailer.lsn <= properties.largestLSN else {
            throw damaged("an entry outside the bounds of its properties", at: cursor)
        }
        guard unsafe table.mayContain(keyHash: XXH3.hash64(key)) else {
            throw damaged("its filter denies a key that it holds", at: cursor)
        }
        do throws(DecodeError) { _ = unsafe try EntryView(cursor.entry) } catch {
            throw .corruption(error, in: "an entry", path: table.path, offset: offset(of: cursor))
        }
    }

    private func damaged(_ what: String, at cursor: TableCursor) -> VarveError {
        .corruption(what, path: table.path, offset: offset(of: cursor))
    }

    /// Where the cursor's block begins, as near as the index tells.
    private func offset(of cursor: TableCursor) -> UInt64 { unsafe table.approximateOffset(of: cursor.key) }
}

extension TableReader {
    /// Reads every block and checks everything; throws at the first fault. Pass the manifest's content hash where known.
    func verify(
        contentHash: ContentHash? = nil, progress: (UInt64) -> Bool = { _ in true }
    ) throws(VarveError) {
        try TableVerifier(self).verify(contentHash: contentHash, progress: progress)
        try confirmMap()
    }
}
