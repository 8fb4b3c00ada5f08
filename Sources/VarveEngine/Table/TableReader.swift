internal import CVarveHints
internal import VarveIO

/// An entry found in a table, in place. `owner` keeps the bytes alive.
@safe
struct TableLookup: @unchecked Sendable {
    // Unchecked: the bytes are constant, and kept alive by `owner`.
    let trailer: Trailer
    let entry: UnsafeRawBufferPointer
    /// The block in memory, or the table whose map the bytes lie in.
    let owner: AnyObject

    /// Call after copying out of `entry` or decoding it, before trusting the copy: bytes read through a map may have turned
    /// to zeros under the reader.
    @inline(__always)
    func confirm() throws(VarveError) {
        // `get` makes the table the owner of what lies in its map.
        if isMapped { try unsafe unsafeDowncast(owner, to: TableReader.self).confirmMap() }
    }

    fileprivate let isMapped: Bool
}

/// An open table. Index and filter are used in place from the map; blocks that are stored uncompressed too, after the
/// first touch of each was read and verified; compressed ones go through the block cache.
///
/// Safe on any thread; nothing here changes after opening but what is remembered of blocks (`BlockStates`, atomics).
@safe
final class TableReader: @unchecked Sendable {
    // Unchecked: constants after init; the pointers lie in `map`, which lives as long as this.
    let path: String
    let fileNumber: UInt64
    let properties: TableProperties
    let rangeTombstones: RangeTombstones
    let fileBytes: UInt64
    let footer: TableFooter
    let index: BlockIndex
    let filter: FilterReader?
    private let file: any File
    private let map: any FileMap
    private let base: UnsafeRawPointer
    private let cache: BlockCache
    private let states: BlockStates

    init(
        path: String, fileNumber: UInt64, cache: BlockCache, file: any File, map: any FileMap, footer: TableFooter,
        parts: TableOpener.Parts
    ) {
        self.path = path
        self.fileNumber = fileNumber
        self.cache = cache
        self.file = file
        self.map = map
        unsafe base = map.base
        self.footer = footer
        fileBytes = footer.fileBytes
        properties = parts.properties
        rangeTombstones = parts.rangeTombstones
        index = parts.index
        filter = parts.filter
        states = BlockStates(count: parts.index.count)
    }

    deinit { file.close() }

    /// Opens the table at `path` and checks footer, index, filter, range tombstones and properties. `expected` are the
    /// manifest's: a file that is another one is named as swapped. Data blocks are checked at their first reading.
    static func open(
        _ fileSystem: any FileSystem, path: String, fileNumber: UInt64, expected: TableProperties? = nil,
        cache: BlockCache
    ) throws(VarveError) -> TableReader {
        let opener = try TableOpener(fileSystem, path: path)
        do throws(VarveError) {
            let (footer, map, parts) = try opener.readParts(expected: expected)
            return TableReader(
                path: path, fileNumber: fileNumber, cache: cache, file: opener.file, map: map, footer: footer,
                parts: parts)
        } catch {
            opener.file.close()
            throw error
        }
    }

    /// Throws where bytes read through the map can no longer be trusted.
    @inline(__always)
    func confirmMap() throws(VarveError) {
        if map.isDamaged { throw mapDamage() }
    }

    @inline(never)
    private func mapDamage() -> VarveError {
        .corruption("the file was truncated, or the device failed, under its map", path: path)
    }

    /// False: no version of the key is here. By the filter alone.
    @inline(__always)
    func mayContain(keyHash: UInt64) -> Bool { filter?.mayContain(keyHash) ?? true }

    /// Whether no version of the key is here, by a filter that is as it was written: one whose map has failed reads as zeros
    /// and knows no key.
    func excludes(keyHash: UInt64) -> Bool { !mayContain(keyHash: keyHash) && !map.isDamaged }

    /// The newest version of a full key that a reader at `lsn` sees; range tombstones are asked separately.
    /// `keyHash` is XXH3-64 of the key.
    func get(
        _ key: UnsafeRawBufferPointer, keyHash: UInt64, at lsn: LSN, mode: ReadMode = .mayBlock
    ) throws(VarveError) -> TableLookup? {
        guard mayContain(keyHash: keyHash) else {
            try confirmMap()
            return nil
        }
        return unsafe try get(
            key, keyHash: keyHash, at: lsn, in: index.firstBlock(atOrAfter: key, Trailer(seekingAt: lsn)), mode: mode)
    }

    /// The number of the only block in which `get` would look for the key, with that block on its way to the processor;
    /// nil where the filter tells that no version is here. Waits for nothing and throws nothing.
    @inline(__always)
    func approach(_ key: UnsafeRawBufferPointer, keyHash: UInt64, at lsn: LSN) -> Int? {
        filter?.prefetch(keyHash)
        let descent = unsafe index.descend(to: key)
        if let descent { states.prefetch(descent.firstBlock) }
        // Only now: what it looks at has arrived meanwhile.
        guard mayContain(keyHash: keyHash) else { return nil }
        let number = unsafe index.firstBlock(atOrAfter: key, Trailer(seekingAt: lsn), from: descent)
        guard number < index.count, states.isMapped(number), let extent = index.extent(of: number) else {
            return number
        }
        // The header may lie across two lines, and the block across two pages: neither is waited for twice.
        let start = unsafe base + extent.lowerBound
        let secondPage = unsafe UnsafeRawPointer(bitPattern: (UInt(bitPattern: start) | 4095) &+ 1)
        unsafe varve_prefetch(start)
        unsafe varve_prefetch(start + 64)
        unsafe varve_prefetch(secondPage)
        return number
    }

    /// The same as `get` for who knows the block already. The separators carry trailers where versions of one key span
    /// blocks, so one block answers.
    func get(
        _ key: UnsafeRawBufferPointer, keyHash: UInt64, at lsn: LSN, in number: Int, mode: ReadMode
    ) throws(VarveError) -> TableLookup? {
        guard number < index.count else {
            try confirmMap()
            return nil
        }
        let pinned = try pin(number, mode)
        let block = try view(pinned, number)
        switch unsafe block.find(key, hash: keyHash, Trailer(seekingAt: lsn)) {
        case .found(let trailer, let entry):
            try confirmMap()
            return unsafe TableLookup(
                trailer: trailer, entry: entry, owner: pinned.owner?.storage ?? self, isMapped: pinned.owner == nil)
        case .absent:
            try confirmMap()
            return nil
        case .damaged:
            try confirmMap()
            throw contradiction(number)
        }
    }

    /// About how many bytes of the file lie before `key`.
    func approximateOffset(of key: UnsafeRawBufferPointer) -> UInt64 {
        let block = unsafe index.firstBlock(atOrAfter: key, .newest)
        guard block < index.count, let extent = index.extent(of: block) else { return index.dataEnd }
        return UInt64(extent.lowerBound)
    }

    func makeCursor(mode: ReadMode = .mayBlock, access: TableCursor.Access = .point) -> TableCursor {
        TableCursor(self, mode: mode, access: access)
    }

    /// Asks the kernel whether it still has in memory what it was found to have, by a few blocks. Where one is gone all is
    /// forgotten, so that reads which may not wait ask again; each asking costs them a call. For the engine to call every
    /// few seconds.
    func checkResidency() {
        for block in states.sampleResident(TableReader.residencySample, from: states.randomWord) {
            guard let extent = index.extent(of: block), extent.upperBound <= map.count,
                map.isResident(offset: extent.lowerBound, length: extent.count)
            else { return forgetResidency() }
        }
    }

    func forgetResidency() { states.forgetResidency() }

    private static let residencySample = 16
}

/// A block that stays where it is as long as this value.
@safe
struct PinnedBlock {
    let bytes: UnsafeRawBufferPointer
    /// Nil: the bytes lie in the table's map.
    let owner: CachedBlock?
}

extension TableReader {
    @inline(__always)
    func view(_ pinned: PinnedBlock, _ number: Int) throws(VarveError) -> Block {
        do throws(DecodeError) {
            return unsafe try Block(pinned.bytes)
        } catch {
            try confirmMap()
            throw .corruption(error, in: "block \(number)", path: path, offset: offset(of: number))
        }
    }

    func contradiction(_ number: Int) -> VarveError {
        .corruption("block \(number) contradicts itself", path: path, offset: offset(of: number))
    }

    private func offset(of number: Int) -> UInt64? { index.extent(of: number).map { UInt64($0.lowerBound) } }

    func extent(of number: Int) throws(VarveError) -> Range<Int> {
        if let extent = index.extent(of: number) { return extent }
        try confirmMap()
        throw .corruption("the index contradicts itself at block \(number)", path: path)
    }

    /// The block's raw bytes: from the map, the cache, or read and verified now. Who may not wait reads too what the kernel
    /// has in memory: a hand-over to another thread costs more than the whole read.
    @inline(__always)
    func pin(_ number: Int, _ mode: ReadMode) throws(VarveError) -> PinnedBlock {
        if let present = try pinPresent(number, mode) { return present }
        return try load(number, mode)
    }

    /// The same for who may wait, without a trace in the cache. A present block counts as used no more than by a lookup.
    func pinAside(_ number: Int) throws(VarveError) -> PinnedBlock {
        if let present = try pinPresent(number, .mayBlock) { return present }
        return try load(number, .mayBlock, isKept: false)
    }

    /// The same without reading the file; nil where that is needed.
    @inline(__always)
    func pinPresent(_ number: Int, _ mode: ReadMode) throws(VarveError) -> PinnedBlock? {
        if states.isMapped(number) { return try pinMapped(number, mode) }
        guard let key = BlockKey(file: fileNumber, block: number), let block = cache.lookup(key) else { return nil }
        return unsafe PinnedBlock(bytes: block.bytes, owner: block)
    }

    private func pinMapped(_ number: Int, _ mode: ReadMode) throws(VarveError) -> PinnedBlock? {
        let extent = try extent(of: number)
        guard extent.upperBound <= map.count else { throw mapDamage() }
        if mode == .memoryOnly, !states.isResident(number) {
            guard map.isResident(offset: extent.lowerBound, length: extent.count) else { return nil }
            states.setResident(number)
        }
        let payload = extent.count - BlockFormat.trailerBytes
        return unsafe PinnedBlock(
            bytes: UnsafeRawBufferPointer(start: base + extent.lowerBound, count: payload), owner: nil)
    }

    /// Bytes of a block that a caller's own thread may read and verify.
    private static let quickBytes = 64 << 10

    /// Reads and verifies the block; remembers it in the cache where it `isKept`, or that it is served from the map.
    @inline(never)
    private func load(_ number: Int, _ mode: ReadMode, isKept: Bool = true) throws(VarveError) -> PinnedBlock {
        // What was verified is served from the map, where the kernel has it in memory: it was asked just now.
        if mode == .memoryOnly, states.isMapped(number) { throw .wouldBlock }
        let extent = try extent(of: number)
        // Who may not wait may not work for long either.
        if mode == .memoryOnly, extent.count > TableReader.quickBytes { throw .wouldBlock }
        let offset = UInt64(extent.lowerBound)
        let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: extent.count, alignment: 16)
        defer { unsafe scratch.deallocate() }
        if mode == .memoryOnly {
            guard unsafe file.readIfInMemory(into: scratch, at: offset) else { throw .wouldBlock }
        } else {
            unsafe try read(into: scratch, at: offset)
        }
        let (codec, payload) = unsafe try StoredBlock.open(
            UnsafeRawBufferPointer(scratch), fileID: footer.fileID, offset: offset, path: path)
        switch codec {
        case .stored:
            states.setMapped(number)
            states.setResident(number)
            if let mapped = try pinMapped(number, .mayBlock) { return mapped }
            throw mapDamage()
        case .lz4:
            let block: CachedBlock
            do throws(DecodeError) {
                block = unsafe try CachedBlock(count: StoredBlock.rawLength(ofLZ4: payload)) {
                    room throws(DecodeError) in
                    unsafe try StoredBlock.decompress(lz4: payload, into: room)
                }
            } catch {
                throw .corruption(error, in: "block \(number)", path: path, offset: offset)
            }
            guard isKept, let key = BlockKey(file: fileNumber, block: number) else {
                return unsafe PinnedBlock(bytes: block.bytes, owner: block)
            }
            let kept = cache.insert(key, block)
            return unsafe PinnedBlock(bytes: kept.bytes, owner: kept)
        }
    }

    /// Fills `buffer` from the file.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(VarveError) {
        let count = try lifted { () throws(IOError) in unsafe try file.read(into: buffer, at: offset) }
        guard count == buffer.count else {
            throw .corruption("the file ends \(buffer.count - count) bytes too soon", path: path, offset: offset)
        }
    }
}

extension VarveError {
    /// Made once: a read that may not wait meets it often.
    static let wouldBlock = VarveError(.wouldBlock, "memory alone cannot answer; read again and wait for the disk")
}
