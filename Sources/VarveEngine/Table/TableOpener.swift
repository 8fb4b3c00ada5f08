internal import VarveIO

/// Opens a table's file, reads what is needed to serve it, and checks all of that.
struct TableOpener {
    /// What a reader keeps. Index and filter lie in the map.
    struct Parts {
        let properties: TableProperties
        let rangeTombstones: RangeTombstones
        let index: BlockIndex
        let filter: FilterReader?
    }

    let path: String
    let file: any File

    init(_ fileSystem: any FileSystem, path: String) throws(VarveError) {
        self.path = path
        do throws(IOError) {
            file = try fileSystem.open(path, .read)
        } catch {
            guard error.isNotFound else { throw VarveError(error) }
            throw VarveError(
                .missingFile, "the table \(path) is not there; restore it from a backup or a replica", path: path,
                underlying: error)
        }
    }

    func readParts(expected: TableProperties?) throws(VarveError) -> (TableFooter, any FileMap, Parts) {
        let size = try lifted { () throws(IOError) in try file.size() }
        if let expected, expected.fileBytes != 0, expected.fileBytes != size {
            throw .corruption("it has \(size) bytes and should have \(expected.fileBytes)", path: path)
        }
        let footer = try readFooter(size)
        if let expected, expected.fileID != footer.fileID {
            throw VarveError(
                .missingFile,
                "\(path) is another table: it was written as number \(footer.fileID), not "
                    + "\(expected.fileID); files were swapped", path: path)
        }
        let map = try lifted { () throws(IOError) in try file.map(length: size, advice: .random) }
        let properties = try decodeBlock(footer.properties, footer, "properties") { reader throws(DecodeError) in
            try TableProperties.decode(from: &reader)
        }
        try check(properties, footer, size, expected)
        var rangeTombstones = RangeTombstones.none
        if !footer.rangeTombstones.isNone {
            rangeTombstones = try decodeBlock(footer.rangeTombstones, footer, "range tombstones") {
                reader throws(DecodeError) in
                let decoded = try RangeTombstones.decode(from: &reader)
                guard reader.isAtEnd else { throw .malformed("bytes behind the last one") }
                return decoded
            }
        }
        let index = unsafe try place(footer.index, footer, map, "index") { bytes throws(DecodeError) in
            unsafe try BlockIndex(bytes)
        }
        guard index.dataEnd <= footer.index.offset, UInt64(index.count) == properties.dataBlockCount else {
            throw .corruption("the index does not fit the table", path: path, offset: footer.index.offset)
        }
        var filter: FilterReader?
        if !footer.filter.isNone {
            filter = unsafe try place(footer.filter, footer, map, "filter") { bytes throws(DecodeError) in
                unsafe try FilterReader(bytes)
            }
        }
        let parts = Parts(properties: properties, rangeTombstones: rangeTombstones, index: index, filter: filter)
        if map.isDamaged { throw .corruption("the file was truncated, or the device failed", path: path) }
        return (footer, map, parts)
    }

    private func readFooter(_ size: UInt64) throws(VarveError) -> TableFooter {
        guard size >= UInt64(TableFooter.byteCount), size <= UInt64(Int64.max) else {
            throw .corruption("\(size) bytes are too few for a table", path: path)
        }
        let offset = size - UInt64(TableFooter.byteCount)
        var failure: DecodeError?
        let footer = unsafe try withBytes(offset, TableFooter.byteCount) { bytes throws(VarveError) -> TableFooter? in
            do throws(DecodeError) { return unsafe try TableFooter.decode(bytes, fileBytes: size) } catch {
                failure = error
                return nil
            }
        }
        if let footer { return footer }
        throw .corruption(failure ?? .truncated, in: "the footer", path: path, offset: offset)
    }

    /// The table's own properties against the footer and the manifest's.
    private func check(
        _ own: TableProperties, _ footer: TableFooter, _ size: UInt64, _ expected: TableProperties?
    ) throws(VarveError) {
        guard own.fileID == footer.fileID else {
            throw .corruption("its properties are another table's", path: path, offset: footer.properties.offset)
        }
        guard var wanted = expected else { return }
        wanted.contentHash = nil
        wanted.fileBytes = 0
        // A version that does not know them has passed the manifest on without.
        if footer.optionalFeatures & TableFooter.countsNamespaces != 0, wanted.namespaces.isEmpty {
            wanted.namespaces = own.namespaces
        }
        if footer.optionalFeatures & TableFooter.samplesTags != 0, wanted.tagSample.isEmpty {
            wanted.tagSample = own.tagSample
        }
        guard wanted == own else {
            throw VarveError(
                .missingFile, "\(path) is another table than the manifest names: its properties differ", path: path)
        }
    }

    /// Reads `count` bytes at `offset` and hands them to `body`.
    private func withBytes<T>(
        _ offset: UInt64, _ count: Int, _ body: (UnsafeRawBufferPointer) throws(VarveError) -> T
    ) throws(VarveError) -> T {
        let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 64)
        defer { unsafe scratch.deallocate() }
        let read = try lifted { () throws(IOError) in unsafe try file.read(into: scratch, at: offset) }
        guard read == count else {
            throw .corruption("the file ends \(count - read) bytes too soon", path: path, offset: offset)
        }
        return unsafe try body(UnsafeRawBufferPointer(scratch))
    }

    /// Reads a block, verifies it and decodes it into a value of its own.
    private func decodeBlock<T>(
        _ handle: BlockHandle, _ footer: TableFooter, _ what: String,
        _ body: (inout ByteReader) throws(DecodeError) -> T
    ) throws(VarveError) -> T {
        unsafe try withBytes(handle.offset, Int(handle.size)) { bytes throws(VarveError) -> T in
            let payload = unsafe try verified(bytes, handle, footer)
            do throws(DecodeError) {
                var reader = unsafe ByteReader(payload)
                return try body(&reader)
            } catch {
                throw .corruption(error, in: what, path: path, offset: handle.offset)
            }
        }
    }

    /// Verifies a block by reading it from the file, then decodes it in place in the map.
    private func place<T>(
        _ handle: BlockHandle, _ footer: TableFooter, _ map: any FileMap, _ what: String,
        _ body: (UnsafeRawBufferPointer) throws(DecodeError) -> T
    ) throws(VarveError) -> T {
        let length = unsafe try withBytes(handle.offset, Int(handle.size)) { bytes throws(VarveError) -> Int in
            unsafe try verified(bytes, handle, footer).count
        }
        guard let end = handle.end, end <= UInt64(map.count) else {
            throw .corruption("the map is shorter than the file", path: path, offset: handle.offset)
        }
        do throws(DecodeError) {
            return unsafe try body(UnsafeRawBufferPointer(start: map.base + Int(handle.offset), count: length))
        } catch {
            throw .corruption(error, in: what, path: path, offset: handle.offset)
        }
    }

    private func verified(
        _ bytes: UnsafeRawBufferPointer, _ handle: BlockHandle, _ footer: TableFooter
    ) throws(VarveError) -> UnsafeRawBufferPointer {
        let (codec, payload) = unsafe try StoredBlock.open(
            bytes, fileID: footer.fileID, offset: handle.offset, path: path)
        guard codec == .stored else {
            throw .corruption("a compressed block among those used in place", path: path, offset: handle.offset)
        }
        return unsafe payload
    }
}
