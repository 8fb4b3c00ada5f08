/// Who left lately, and when it was last used: a set-associative table of 16-bit fingerprints with a 16-bit time, four
/// bytes a ghost, eight ghosts a bucket. A full bucket forgets its oldest. It is wrong about one key in eight thousand,
/// which costs at most one admission that was not deserved.
///
/// Ghost entries are of ARC (Megiddo and Modha 2003) and earlier of 2Q (Johnson and Shasha 1994); fingerprints in buckets
/// are what S3-FIFO (Yang et al. 2023) does.
struct GhostTable: Sendable {
    /// A ghost is the fingerprint (never 0) above the time; 0: free.
    private var buckets: [SIMD8<UInt32>]

    static let bucketSize = 8

    /// Room for about `capacity` ghosts.
    init(capacity: Int) {
        let count = (max(1, capacity) + GhostTable.bucketSize - 1) / GhostTable.bucketSize
        buckets = [SIMD8<UInt32>](repeating: .zero, count: count)
    }

    var capacity: Int { buckets.count * GhostTable.bucketSize }

    /// The upper bits choose the bucket, so that a bucket's ghosts move to two known ones when the table doubles.
    @inline(__always)
    private func bucket(_ mixed: UInt64) -> Int { Int(mixed.multipliedFullWidth(by: UInt64(buckets.count)).high) }

    @inline(__always)
    private func fingerprint(_ mixed: UInt64) -> UInt32 { max(1, UInt32(mixed & 0xFFFF)) << 16 }

    @inline(__always)
    private func lane(_ bucket: SIMD8<UInt32>, of fingerprint: UInt32) -> Int? {
        let same = (bucket & 0xFFFF_0000) .== fingerprint
        guard any(same) else { return nil }
        for index in 0..<GhostTable.bucketSize where same[index] { return index }
        return nil
    }

    /// When the key was last used, if it is remembered.
    func tick(of mixed: UInt64) -> UInt16? {
        let bucket = buckets[bucket(mixed)]
        return lane(bucket, of: fingerprint(mixed)).map { UInt16(truncatingIfNeeded: bucket[$0]) }
    }

    /// The same, and forgets it.
    mutating func take(_ mixed: UInt64) -> UInt16? {
        let index = bucket(mixed)
        guard let lane = lane(buckets[index], of: fingerprint(mixed)) else { return nil }
        let tick = UInt16(truncatingIfNeeded: buckets[index][lane])
        buckets[index][lane] = 0
        return tick
    }

    /// Remembers a key that was last used at `tick`. `now` tells the oldest of a full bucket.
    mutating func insert(_ mixed: UInt64, tick: UInt16, now: UInt16) {
        let index = bucket(mixed)
        let fingerprint = fingerprint(mixed)
        let bucket = buckets[index]
        buckets[index][lane(bucket, of: fingerprint) ?? place(bucket, now)] = fingerprint | UInt32(tick)
    }

    /// A free lane, or the oldest.
    private func place(_ bucket: SIMD8<UInt32>, _ now: UInt16) -> Int {
        var oldest = 0
        var age: UInt16 = 0
        for index in 0..<GhostTable.bucketSize {
            if bucket[index] == 0 { return index }
            let own = now &- UInt16(truncatingIfNeeded: bucket[index])
            if own >= age {
                age = own
                oldest = index
            }
        }
        return oldest
    }

    /// Twice the room. A bucket is copied to both that its keys may belong to now: where they do not belong they are never
    /// found, age and make room.
    mutating func double() {
        var larger: [SIMD8<UInt32>] = []
        larger.reserveCapacity(buckets.count * 2)
        for bucket in buckets {
            larger.append(bucket)
            larger.append(bucket)
        }
        buckets = larger
    }

    func encode(into writer: inout StateWriter) {
        writer.reserve(4 + capacity * 4)
        writer.append(UInt32(buckets.count))
        for bucket in buckets { for lane in 0..<GhostTable.bucketSize { writer.append(bucket[lane]) } }
    }

    /// A table with no fewer than `least` ghosts' room.
    init(from reader: inout StateReader, least: Int) throws(StateError) {
        let count = Int(try reader.next(UInt32.self))
        guard count > 0, count <= reader.remaining / (4 * GhostTable.bucketSize) else { throw .foreign }
        buckets = []
        buckets.reserveCapacity(count)
        for _ in 0..<count {
            var bucket = SIMD8<UInt32>.zero
            for lane in 0..<GhostTable.bucketSize { bucket[lane] = try reader.next() }
            buckets.append(bucket)
        }
        while capacity < least { double() }
    }
}
