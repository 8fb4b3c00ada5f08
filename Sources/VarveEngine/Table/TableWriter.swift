internal import VarveIO

/// Writes one table: entries in order, range tombstones at any time, then `finish`.
///
/// Blocks are collected and written in large runs. One thread at a time. After an error the writer may only be dropped;
/// its file is the caller's to remove. The file is synced by `finish`; its name is the caller's to make durable.
@safe
final class TableWriter {
    private let file: any File
    private let options: TableOptions
    private var properties = TableProperties()
    private var block = BlockBuilder()
    private var index = IndexBuilder()
    private var filter: FilterBuilder
    private var sampler = ExpirySampler()
    private var tagSampler: TagSampler
    private var namespaces = NamespaceCounter()
    private var rangeTombstones: [RangeTombstone] = []
    private var compressor = BlockCompressor()
    private var hasher = ContentHasher()
    /// What is not written yet, and where it will stand.
    private var output: ByteBuffer
    private var written: UInt64 = 0
    private var raw = ByteBuffer(capacity: 8192)
    /// The end of the last finished block, whose separator waits for the next key.
    private var lastKey = SavedKey()
    private var lastTrailer = Trailer.oldest
    private var pendingBlock: UInt64?
    private var rangeTombstoneBytes = 0
    private var isFinished = false

    init(file: any File, fileNumber: UInt64, options: TableOptions = TableOptions()) {
        precondition(TableOptions.blockByteRange.contains(options.blockBytes), "block size in range")
        precondition(TableOptions.filterBitRange.contains(options.filterBitsPerKey), "filter bits in range")
        self.file = file
        self.options = options
        filter = FilterBuilder(bitsPerKey: options.filterBitsPerKey)
        output = ByteBuffer(capacity: options.writeBufferBytes + options.blockBytes * 2)
        properties.fileID = fileNumber
        tagSampler = TagSampler(seed: fileNumber)
    }

    var isEmpty: Bool { properties.isEmpty }
    var entryCount: UInt64 { properties.entryCount }

    /// About the size of the file if it were finished now.
    var estimatedBytes: UInt64 {
        position + UInt64(block.estimatedBytes + index.estimatedBytes + filter.estimatedBytes + rangeTombstoneBytes)
    }

    private var position: UInt64 { written + UInt64(output.count) }

    /// Adds a point entry. It sorts after every one before it.
    func add(_ key: UnsafeRawBufferPointer, _ trailer: Trailer, _ entry: UnsafeRawBufferPointer) throws(VarveError) {
        unsafe try add(key, hash: XXH3.hash64(key), trailer, entry)
    }

    /// The same for a caller that has the key's hash at hand.
    func add(
        _ key: UnsafeRawBufferPointer, hash: UInt64, _ trailer: Trailer, _ entry: UnsafeRawBufferPointer
    ) throws(VarveError) {
        precondition(!isFinished, "a finished table takes no more")
        precondition(key.count <= Limits.fullKeyBytes && entry.count <= Limits.entryBytes, "checked at the door")
        unsafe checkOrder(key, trailer)
        let needed = key.count + entry.count + 16
        if !block.isEmpty, block.estimatedBytes + needed - commonSavings > options.blockBytes {
            try finishBlock()
        }
        if let offset = pendingBlock { unsafe closeSeparator(offset, before: key, trailer) }
        unsafe block.add(key, hash: hash, trailer, entry)
        filter.add(hash)
        unsafe count(key, trailer, entry)
        if block.estimatedBytes >= options.blockBytes { try finishBlock() }
    }

    /// The key bytes that the block's prefix will most likely save.
    private var commonSavings: Int { block.prefixLength }

    @inline(__always)
    private func checkOrder(_ key: UnsafeRawBufferPointer, _ trailer: Trailer) {
        #if VARVE_INVARIANTS
            if !block.isEmpty {
                let order = unsafe FullKey.compare(block.lastKey, block.lastTrailer, key, trailer)
                precondition(order < 0, "entries come in order")
            } else if pendingBlock != nil {
                let order = unsafe FullKey.compare(lastKey.bytes, lastTrailer, key, trailer)
                precondition(order < 0, "entries come in order")
            }
        #endif
    }

    func addRangeTombstone(_ tombstone: RangeTombstone) {
        precondition(!isFinished, "a finished table takes no more")
        guard !tombstone.isEmpty else { return }
        rangeTombstones.append(tombstone)
        rangeTombstoneBytes += tombstone.begin.count + tombstone.end.count + 16
        properties.rangeTombstoneCount += 1
    }

    func addRangeTombstones(_ tombstones: RangeTombstones) {
        for tombstone in tombstones.tombstones() { addRangeTombstone(tombstone) }
    }

    /// The commit times of the changes within, which entries do not carry.
    func setCommitTimes(smallest: Timestamp, largest: Timestamp) {
        properties.smallestCommitTime = smallest
        properties.largestCommitTime = largest
    }

    private func count(_ key: UnsafeRawBufferPointer, _ trailer: Trailer, _ entry: UnsafeRawBufferPointer) {
        if properties.entryCount == 0 { properties.smallestKey = unsafe Array(key) }
        properties.smallestLSN = min(properties.smallestLSN, trailer.lsn)
        properties.largestLSN = max(properties.largestLSN, trailer.lsn)
        properties.rawKeyBytes += UInt64(key.count)
        properties.rawEntryBytes += UInt64(entry.count)
        unsafe namespaces.add(key, isPut: trailer.kind == .put, bytes: key.count + entry.count)
        // An entry that does not decode was checked at the door of the log; here it counts as one without fields.
        let view = unsafe try? EntryView(entry)
        if let version = view?.sourceVersion {
            properties.sourceVersionCount += 1
            properties.highestSourceVersion = max(properties.highestSourceVersion, version)
        }
        guard trailer.kind == .put else {
            properties.deleteCount += 1
            return
        }
        properties.putCount += 1
        let until = view?.usableUntil ?? .max
        properties.earliestUsableUntil = min(properties.earliestUsableUntil, until)
        properties.latestUsableUntil = max(properties.latestUsableUntil, until)
        sampler.add(until, bytes: key.count + entry.count)
        unsafe tagSampler.add(key, trailer.lsn, view, bytes: key.count + entry.count)
    }

    private func closeSeparator(_ offset: UInt64, before key: UnsafeRawBufferPointer, _ trailer: Trailer) {
        if unsafe lastKey.equals(key) {
            index.add(separator: unsafe Array(key), trailer: lastTrailer, offset: offset)
        } else {
            let separator = unsafe IndexBuilder.separator(after: lastKey.bytes, before: key)
            index.add(separator: separator, trailer: .oldest, offset: offset)
        }
        pendingBlock = nil
    }

    private func finishBlock() throws(VarveError) {
        unsafe lastKey.assign(block.lastKey)
        lastTrailer = block.lastTrailer
        let offset = position
        let start = output.count
        var codec = BlockCodec.stored
        if options.codec == .lz4 {
            raw.removeAll()
            block.finish(into: &raw)
            if unsafe compressor.append(raw.bytes, to: &output) {
                codec = .lz4
            } else {
                unsafe output.append(raw.bytes)
            }
        } else {
            block.finish(into: &output)
        }
        StoredBlock.seal(&output, from: start, codec: codec, fileID: properties.fileID, offset: offset)
        pendingBlock = offset
        properties.dataBlockCount += 1
        properties.storedDataBytes += UInt64(output.count - start)
        namespaces.endBlock(stored: UInt64(output.count - start))
        let buffer = options.writeBufferBytes
        if output.count >= buffer { try writeOut(output.count / buffer * buffer) }
    }

    /// Whole buffers but at the end: readers through the map then wait less for the translation of addresses
    /// (`TableOptions.writeBufferBytes`).
    private func writeOut(_ count: Int) throws(VarveError) {
        guard count > 0 else { return }
        let bytes = unsafe UnsafeRawBufferPointer(rebasing: output.bytes[..<count])
        unsafe hasher.update(bytes)
        try lifted { () throws(IOError) in unsafe try file.write(bytes, at: written) }
        written += UInt64(count)
        output.removeFirst(count)
    }

    /// Writes what is left and syncs the file. Returns what the manifest keeps of it.
    func finish() throws(VarveError) -> TableProperties {
        precondition(!isFinished, "a table is finished once")
        isFinished = true
        if !block.isEmpty { try finishBlock() }
        if let offset = pendingBlock {
            index.add(separator: unsafe Array(lastKey.bytes), trailer: .oldest, offset: offset)
            properties.largestKey = unsafe Array(lastKey.bytes)
        }
        let dataEnd = position
        let tombstones = RangeTombstones(rangeTombstones)
        closeProperties(tombstones)

        var footer = TableFooter(fileID: properties.fileID, index: .none, properties: .none, fileBytes: 0)
        if !properties.namespaces.isEmpty { footer.optionalFeatures |= TableFooter.countsNamespaces }
        if !properties.tagSample.isEmpty { footer.optionalFeatures |= TableFooter.samplesTags }
        if options.filterBitsPerKey > 0, !filter.isEmpty {
            footer.filter = writeMeta { filter.finish(into: &$0) }
        }
        footer.index = writeMeta { index.finish(dataEnd: dataEnd, into: &$0) }
        if !tombstones.isEmpty { footer.rangeTombstones = writeMeta { tombstones.encode(to: &$0) } }
        footer.properties = writeMeta { properties.encode(to: &$0) }
        footer.fileBytes = position + UInt64(TableFooter.byteCount)
        footer.encode(to: &output)
        try writeOut(output.count)
        try lifted { () throws(IOError) in try file.sync() }
        properties.fileBytes = written
        properties.contentHash = hasher.finalize()
        return properties
    }

    private func closeProperties(_ tombstones: RangeTombstones) {
        properties.expiryQuantiles = sampler.quantiles()
        if options.samplesTags { properties.tagSample = tagSampler.sample() }
        defer { closeNamespaces() }
        guard let begin = tombstones.begin, let end = tombstones.end else { return }
        let hasEntries = properties.entryCount > 0
        if !hasEntries || RangeTombstone.isBefore(begin, properties.smallestKey) { properties.smallestKey = begin }
        if !hasEntries || RangeTombstone.isBefore(properties.largestKey, end) {
            properties.largestKey = end
            properties.largestKeyIsExclusive = true
        }
        properties.smallestLSN = min(properties.smallestLSN, tombstones.oldestLSN ?? .max)
        properties.largestLSN = max(properties.largestLSN, tombstones.newestLSN ?? .zero)
    }

    /// Where the keys tell that one namespace has all, nothing more needs saying.
    private func closeNamespaces() {
        let shares = namespaces.finished
        guard options.countsNamespaces, shares.map(\.namespace) != [properties.onlyNamespace].compactMap({ $0 }) else {
            return
        }
        properties.namespaces = shares
    }

    /// Appends a block that is used in place: its bytes begin at a multiple of 64 in the file.
    private func writeMeta(_ body: (inout ByteBuffer) -> Void) -> BlockHandle {
        while position % 64 != 0 { output.append(0) }
        let offset = position
        let start = output.count
        body(&output)
        StoredBlock.seal(&output, from: start, codec: .stored, fileID: properties.fileID, offset: offset)
        return BlockHandle(offset: offset, size: UInt64(output.count - start))
    }
}
