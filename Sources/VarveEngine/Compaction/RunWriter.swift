/// Where merged entries go: one table being written. A class per kind of output, so that the loop calls it directly.
protocol RunOutput: AnyObject {
    var number: FileNumber { get }
    /// About as many bytes as the file will have by what was added so far; 0: nothing was.
    var estimatedBytes: UInt64 { get }
    func add(_ key: UnsafeRawBufferPointer, _ trailer: Trailer, _ entry: UnsafeRawBufferPointer) throws(VarveError)
    /// Completes the table, durable but for its name.
    func finish(_ tombstones: RangeTombstones) throws(VarveError) -> TableProperties
}

/// A table that a job has written.
struct WrittenTable: Hashable, Sendable {
    let number: FileNumber
    let properties: TableProperties
}

/// What a job made: for the version edit and for the statistics.
struct RunResult: Sendable {
    var tables: [WrittenTable] = []
    var floors: [FloorTable.Floor] = []
    var counts = RetentionCounts()
    var bytesWritten: UInt64 { tables.reduce(0) { $0 &+ $1.properties.fileBytes } }
}

/// The loop of flush and compaction: reads a merge, asks the retention of each version, and writes what stays into
/// tables.
///
/// A table ends only between user keys, and the range tombstones are cut where the tables are, so the tables of one
/// output never overlap. Tombstones that no entry comes after stand in the last table, which may hold nothing else.
///
/// One thread. When it throws, the tables that were opened are the caller's to remove.
struct RunWriter<Output: RunOutput>: ~Copyable {
    private let merge: MergingCursor
    /// For each source, whether it lies above the output level.
    private let isFromAbove: [Bool]
    private let tombstones: RangeTombstones
    private let control: JobControl
    private let open: () throws(VarveError) -> Output
    private var retention: EntryRetention
    private var splitter: OutputSplitter

    private var output: Output?
    /// Where the range of the table being written begins; nil: at the first key of all.
    private var begin: [UInt8]?
    private var wroteKey = false
    private var result = RunResult()
    private var progress = JobProgress()
    private var finishedBytes: UInt64 = 0
    private var tombstoneEntry = ByteBuffer()

    init(
        _ merge: MergingCursor, isFromAbove: [Bool], rules: RetentionRules, eviction: (any EvictionPass)? = nil,
        splitter: OutputSplitter, control: JobControl, open: @escaping () throws(VarveError) -> Output
    ) {
        self.merge = merge
        self.isFromAbove = isFromAbove
        self.splitter = splitter
        self.control = control
        self.open = open
        tombstones = rules.survivingTombstones()
        retention = EntryRetention(rules, eviction: eviction)
    }

    private static var entriesPerStep: UInt64 { 512 }

    consuming func run() throws(VarveError) -> RunResult {
        try merge.seekToFirst()
        while merge.isValid {
            try copyOne()
            try merge.next()
            if retention.counts.read % Self.entriesPerStep == 0 { try step() }
        }
        try finishTable(end: nil)
        try step()
        result.floors = retention.floors
        result.counts = retention.counts
        return result
    }

    /// Decides the current version, and writes what stays of it.
    @inline(__always)
    private mutating func copyOne() throws(VarveError) {
        let (key, trailer, entry) = unsafe (merge.key, merge.trailer, merge.entry)
        if unsafe retention.isNewKey(key) { wroteKey = false }
        let verdict = try unsafe retention.judge(key, trailer, entry, isFromAbove: isFromAbove[merge.sourceIndex])
        switch verdict {
        case .drop: return
        case .keep:
            try unsafe writable(for: key).add(key, trailer, entry)
        case .tombstone(let sourceVersion):
            tombstoneEntry.removeAll()
            if let sourceVersion {
                EntryCodec.appendFields(EntryFields(sourceVersion: sourceVersion), to: &tombstoneEntry)
            }
            try unsafe writable(for: key).add(key, Trailer(trailer.lsn, .delete), tombstoneEntry.bytes)
        }
        wroteKey = true
    }

    /// The table that takes `key`: the present one, or the next where that one should end.
    @inline(__always)
    private mutating func writable(for key: UnsafeRawBufferPointer) throws(VarveError) -> Output {
        if !wroteKey, unsafe splitter.endsTable(before: key, bytes: output?.estimatedBytes ?? 0) {
            unsafe try finishTable(end: Array(key))
        }
        if let output { return output }
        let fresh = try open()
        output = fresh
        return fresh
    }

    /// Ends the present table before `end` (nil: the end of all), with the tombstones of its range.
    private mutating func finishTable(end: [UInt8]?) throws(VarveError) {
        let held = tombstones.clipped(from: begin, to: end)
        if output == nil, held.isEmpty { return }
        let table: Output
        if let output { table = output } else { table = try open() }
        output = nil
        let properties = try table.finish(held)
        result.tables.append(WrittenTable(number: table.number, properties: properties))
        finishedBytes &+= properties.fileBytes
        progress.tablesFinished += 1
        begin = end
    }

    private mutating func step() throws(VarveError) {
        let bytes = finishedBytes &+ (output?.estimatedBytes ?? 0)
        // A finished table may have come out smaller than it was estimated.
        let fresh = bytes > progress.bytesWritten ? bytes - progress.bytesWritten : 0
        progress.bytesWritten = max(progress.bytesWritten, bytes)
        progress.entriesRead = retention.counts.read
        try control.step(progress, newBytes: fresh)
    }
}
