/// Where a store may hold records that are older than the inputs of a merge and are not among them: the keys of which a
/// tombstone must stay, because it may still hide something.
///
/// Sorted, disjoint spans of full keys. Too much is safe, too little is not. A value, safe on any thread.
struct KeysBeneath: Sendable {
    private enum Extent: Sendable {
        case everything
        /// Ends are exclusive.
        case spans([(begin: [UInt8], end: [UInt8])])
    }
    private let extent: Extent
    /// The tables that the spans are of, where their filters are to be asked.
    private var tables: [TableReader]?

    /// Nothing is known: every tombstone stays. What a flush uses.
    static let everything = KeysBeneath(.everything)
    /// Nothing older exists.
    static let nothing = KeysBeneath(.spans([]))

    private init(_ extent: Extent) { self.extent = extent }

    /// Spans in any order; `isExclusive`: `largest` itself is outside.
    init(_ spans: [(smallest: [UInt8], largest: [UInt8], isExclusive: Bool)]) {
        let sorted =
            spans
            // The first key after an inclusive bound is that bound and a zero byte.
            .map { (begin: $0.smallest, end: $0.isExclusive ? $0.largest : $0.largest + [0]) }
            .sorted { RangeTombstone.isBefore($0.begin, $1.begin) }
        var merged: [(begin: [UInt8], end: [UInt8])] = []
        for span in sorted {
            guard let last = merged.last, !RangeTombstone.isBefore(last.end, span.begin) else {
                merged.append(span)
                continue
            }
            if RangeTombstone.isBefore(last.end, span.end) { merged[merged.count - 1].end = span.end }
        }
        self.init(.spans(merged))
    }

    /// Whether an older record of `key` may exist.
    func mayHold(_ key: UnsafeRawBufferPointer) -> Bool {
        guard case .spans(let spans) = extent else { return true }
        var low = 0
        var high = spans.count
        while low < high {
            let middle = (low + high) / 2
            let isPast = unsafe spans[middle].end.withUnsafeBytes { unsafe FullKey.compare($0, key) <= 0 }
            if isPast { low = middle + 1 } else { high = middle }
        }
        guard low < spans.count else { return false }
        guard unsafe spans[low].begin.withUnsafeBytes({ unsafe FullKey.compare($0, key) <= 0 }) else { return false }
        guard let tables else { return true }
        let hash = unsafe XXH3.hash64(key)
        return tables.contains { !$0.excludes(keyHash: hash) }
    }

    /// The same where the filter of one of `tables`, which hold all that is beneath, must know the key. Of ranges nothing
    /// is asked.
    func narrowed(to tables: [TableReader]) -> KeysBeneath {
        var narrowed = self
        narrowed.tables = tables
        return narrowed
    }

    /// The parts of [begin, end) in which older records may exist.
    func parts(of begin: [UInt8], _ end: [UInt8]) -> [(begin: [UInt8], end: [UInt8])] {
        guard case .spans(let spans) = extent else { return [(begin, end)] }
        return spans.compactMap { span in
            let low = RangeTombstone.isBefore(span.begin, begin) ? begin : span.begin
            let high = RangeTombstone.isBefore(span.end, end) ? span.end : end
            return RangeTombstone.isBefore(low, high) ? (low, high) : nil
        }
    }
}
