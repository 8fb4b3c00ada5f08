/// Some of a table's puts, taken at about even distances of bytes, with the tags of those that carry any: enough to tell how
/// much of the table, about, nobody is shown any more once tags were dropped.
struct TagSample: Hashable, Sendable {
    struct Entry: Hashable, Sendable {
        let namespace: NamespaceID
        let version: LSN
        /// The first ones, `tagLimit` at most.
        let tags: [UInt64]
        /// How many of the samples fell on it.
        var weight: UInt64 = 1
    }

    /// Samples altogether: those of puts without tags are only counted.
    var count: UInt64 = 0
    var entries: [Entry] = []
    var isEmpty: Bool { entries.isEmpty }

    static let limit = 32
    static let tagLimit = 16
    /// The bytes that an encoded one may take.
    static let encodedLimit = 16 + limit * (5 + 10 + 10 + 1 + tagLimit * 8)

    /// The share of the table's bytes, in 0...1, that nobody who reads at `reader` or later is shown; and the LSN from which
    /// on it may be more, should all readers stand there, by what the judge knows now.
    func invalidated(by judge: any InvalidationJudge, from reader: LSN) -> (share: Double, until: LSN) {
        var (weight, until): (UInt64, LSN) = (0, .max)
        for entry in entries {
            let tagged = JudgedEntry(
                namespace: entry.namespace.rawValue, version: entry.version, tags: entry.tags)
            guard let drop = judge.invalidation(of: tagged) else { continue }
            if drop <= reader { weight += entry.weight } else { until = min(until, drop) }
        }
        return (Double(weight) / Double(max(1, count)), until)
    }

    func encode(to buffer: inout ByteBuffer) {
        buffer.appendVarint(count)
        for entry in entries {
            buffer.appendVarint(UInt64(entry.namespace.rawValue))
            buffer.appendVarint(entry.version.rawValue)
            buffer.appendVarint(entry.weight)
            buffer.appendVarint(UInt64(entry.tags.count))
            for tag in entry.tags { buffer.appendFixed(tag) }
        }
    }

    /// Reads all that is left of `field`.
    static func decode(from field: inout ByteReader) throws(DecodeError) -> TagSample {
        var sample = TagSample()
        sample.count = UInt64(try field.length(atMost: limit, "the number of samples"))
        var left = sample.count
        while !field.isAtEnd {
            guard let namespace = UInt32(exactly: try field.varint()) else { throw .outOfRange("a namespace") }
            let version = LSN(try field.varint())
            guard version <= .max else { throw .outOfRange("an LSN above 56 bits") }
            let weight = try field.varint()
            guard weight > 0, weight <= left else { throw .malformed("more samples than there are") }
            left -= weight
            var tags: [UInt64] = []
            for _ in 0..<(try field.length(atMost: tagLimit, "the number of tags")) { tags.append(try field.fixed()) }
            guard !tags.isEmpty else { throw .malformed("a sample without tags") }
            sample.entries.append(
                Entry(namespace: NamespaceID(rawValue: namespace), version: version, tags: tags, weight: weight))
        }
        guard !sample.isEmpty else { throw .malformed("a sample of nothing") }
        return sample
    }
}

/// Takes a `TagSample` while a table is written: the put at about every n-th byte, and n twice as large whenever the samples
/// would pass their bound. The distances vary, lest they fall in with how tags lie among the keys; they follow from the
/// table's number, so the same input gives the same bytes.
struct TagSampler: ~Copyable {
    /// Nil: a put without tags.
    private var samples: [TagSample.Entry?] = []
    private var stride: UInt64 = 64
    private var untilNext: UInt64 = 1
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    @inline(__always)
    mutating func add(
        _ key: UnsafeRawBufferPointer, _ version: LSN, _ view: EntryView?, bytes: Int
    ) {
        if UInt64(bytes) < untilNext {
            untilNext -= UInt64(bytes)
        } else {
            unsafe take(key, version, view, bytes: bytes)
        }
    }

    @inline(never)
    private mutating func take(
        _ key: UnsafeRawBufferPointer, _ version: LSN, _ view: EntryView?, bytes: Int
    ) {
        let sample = unsafe TagSampler.sample(key, version, view)
        var rest = UInt64(bytes)
        while rest >= untilNext {
            rest -= untilNext
            untilNext = distance()
            samples.append(sample)
            if samples.count == TagSample.limit { thinOut() }
        }
        untilNext -= rest
    }

    /// What does not decode, and the store's own records, nobody can drop by a tag.
    private static func sample(
        _ key: UnsafeRawBufferPointer, _ version: LSN, _ view: EntryView?
    ) -> TagSample.Entry? {
        guard let namespace = unsafe FullKey.namespace(of: key), namespace >= .firstUser else { return nil }
        guard let view, view.flags.contains(.tags), let tags = try? view.fields().tags, !tags.isEmpty else {
            return nil
        }
        return TagSample.Entry(
            namespace: namespace, version: version, tags: Array(tags.prefix(TagSample.tagLimit)))
    }

    /// From 1 to nearly twice the stride.
    private mutating func distance() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return 1 + (mixed ^ (mixed >> 31)) % (2 * stride - 1)
    }

    /// Keeps every second sample.
    private mutating func thinOut() {
        for index in 0..<TagSample.limit / 2 { samples[index] = samples[index * 2] }
        samples.removeLast(TagSample.limit / 2)
        untilNext += distance()
        stride *= 2
    }

    /// Empty where no sample has tags.
    func sample() -> TagSample {
        var result = TagSample()
        for (index, sample) in samples.enumerated() {
            guard let sample else { continue }
            if index > 0, samples[index - 1] == sample {
                result.entries[result.entries.count - 1].weight += 1
            } else {
                result.entries.append(sample)
            }
        }
        if !result.isEmpty { result.count = UInt64(samples.count) }
        return result
    }
}
