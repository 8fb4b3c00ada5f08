/// Who left lately, and when it was last used: a set-associative table of 16-bit fingerprints with a 16-bit time, four
/// bytes a ghost, eight ghosts a bucket. A bucket is a queue: the newest first, and a full one forgets its last. It is
/// wrong about one key in eight thousand, which costs at most one admission that was not deserved.
///
/// Ghost entries are of ARC (Megiddo and Modha 2003) and earlier of 2Q (Johnson and Shasha 1994); fingerprints in buckets
/// are what S3-FIFO (Yang et al. 2023) does.
struct GhostTable: Sendable {
    /// Four words a bucket: eight fingerprints (16 bits each, never 0; 0: free), then their eight times. A whole word is
    /// searched or moved at once.
    private var words: [UInt64]
    private var bucketCount: Int

    static let bucketSize = 8
    private static let wordsPerBucket = 4
    /// The lowest and the highest bit of each 16-bit lane.
    private static let low: UInt64 = 0x0001_0001_0001_0001
    private static let high: UInt64 = 0x8000_8000_8000_8000

    /// Room for about `capacity` ghosts.
    init(capacity: Int) {
        bucketCount = (max(1, capacity) + GhostTable.bucketSize - 1) / GhostTable.bucketSize
        words = [UInt64](repeating: 0, count: bucketCount * GhostTable.wordsPerBucket)
    }

    var capacity: Int { bucketCount * GhostTable.bucketSize }

    /// The first word of a key's bucket. The upper bits choose, so that a bucket's ghosts move to two known ones when the
    /// table doubles.
    @inline(__always)
    private func base(_ mixed: UInt64) -> Int {
        Int(truncatingIfNeeded: mixed.multipliedFullWidth(by: UInt64(bucketCount)).high) * GhostTable.wordsPerBucket
    }

    @inline(__always)
    private func fingerprint(_ mixed: UInt64) -> UInt64 { max(1, mixed & 0xFFFF) }

    /// The newest lane of a bucket that holds a fingerprint.
    @inline(__always)
    private func lane(_ base: Int, of fingerprint: UInt64) -> Int? {
        let wanted = fingerprint &* GhostTable.low
        for word in 0..<2 {
            // Lanes that hold it are 0 now; the lowest bit found below is exact, those above it may not be.
            let difference = words[base + word] ^ wanted
            let zeros = (difference &- GhostTable.low) & ~difference & GhostTable.high
            if zeros != 0 { return word * 4 + zeros.trailingZeroBitCount / 16 }
        }
        return nil
    }

    @inline(__always)
    private func tick(_ base: Int, _ lane: Int) -> UInt16 {
        UInt16(truncatingIfNeeded: words[base + 2 + lane / 4] >> UInt64(lane % 4 * 16))
    }

    /// Has the processor fetch the bucket of a key.
    @inline(__always)
    func prefetch(_ mixed: UInt64) { words.span.prefetch(base(mixed)) }

    /// When the key was last used, if it is remembered.
    func tick(of mixed: UInt64) -> UInt16? {
        let base = base(mixed)
        return lane(base, of: fingerprint(mixed)).map { tick(base, $0) }
    }

    /// The same, and forgets it.
    mutating func take(_ mixed: UInt64) -> UInt16? {
        let base = base(mixed)
        guard let lane = lane(base, of: fingerprint(mixed)) else { return nil }
        let tick = tick(base, lane)
        close(base, lane)
        close(base + 2, lane)
        return tick
    }

    /// Remembers a key that was last used at `tick` and is not remembered yet.
    mutating func insert(_ mixed: UInt64, tick: UInt16) {
        let base = base(mixed)
        push(base, fingerprint(mixed))
        push(base + 2, UInt64(tick))
    }

    /// Puts a lane before the eight of two words; the last falls out.
    @inline(__always)
    private mutating func push(_ at: Int, _ value: UInt64) {
        words[at + 1] = words[at + 1] << 16 | words[at] >> 48
        words[at] = words[at] << 16 | value
    }

    /// Takes a lane out of the eight of two words; those behind it move up.
    @inline(__always)
    private mutating func close(_ at: Int, _ lane: Int) {
        let word = at + lane / 4
        let before = (1 as UInt64) << UInt64(lane % 4 * 16) - 1
        words[word] = words[word] & before | words[word] >> 16 & ~before
        if lane < 4 {
            words[at] = words[at] & ~(0xFFFF << 48) | words[at + 1] << 48
            words[at + 1] >>= 16
        }
    }

    /// Twice the room. A bucket is copied to both that its keys may belong to now: where they do not belong they are never
    /// found, age and make room.
    mutating func double() {
        var larger: [UInt64] = []
        larger.reserveCapacity(words.count * 2)
        for base in stride(from: 0, to: words.count, by: GhostTable.wordsPerBucket) {
            let bucket = words[base..<base + GhostTable.wordsPerBucket]
            larger.append(contentsOf: bucket)
            larger.append(contentsOf: bucket)
        }
        words = larger
        bucketCount *= 2
    }

    func encode(into writer: inout StateWriter) {
        writer.reserve(4 + words.count * 8)
        writer.append(UInt32(bucketCount))
        for word in words { writer.append(word) }
    }

    /// A table with no fewer than `least` ghosts' room.
    init(from reader: inout StateReader, least: Int) throws(StateError) {
        bucketCount = Int(try reader.next(UInt32.self))
        guard bucketCount > 0, bucketCount <= reader.remaining / (8 * GhostTable.wordsPerBucket) else {
            throw .foreign
        }
        words = []
        words.reserveCapacity(bucketCount * GhostTable.wordsPerBucket)
        for _ in 0..<bucketCount * GhostTable.wordsPerBucket { words.append(try reader.next()) }
        while capacity < least { double() }
    }
}
