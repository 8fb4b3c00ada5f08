/// From hashes to slots: open addressing with linear probing. A cell holds the hash's low 32 bits and the slot, so a probe
/// follows a slot only where those bits agree. Removal shifts back what follows, so there are no tombstones.
@safe
struct BlockCacheTable: ~Copyable {
    private var cells: UnsafeMutableBufferPointer<UInt64>
    private var mask: Int
    private var used = 0

    /// A power of two.
    init(capacity: Int) {
        unsafe cells = .allocate(capacity: capacity)
        unsafe cells.initialize(repeating: 0)
        mask = capacity - 1
    }

    deinit { unsafe cells.deallocate() }

    struct Probe {
        fileprivate var place: Int
        fileprivate let tag: UInt64
    }

    @inline(__always)
    private func home(_ tag: UInt64) -> Int { Int(truncatingIfNeeded: tag) & mask }

    @inline(__always)
    func probe(_ hash: UInt64) -> Probe {
        let tag = hash & 0xFFFF_FFFF
        return Probe(place: home(tag), tag: tag)
    }

    /// The next slot whose hash may be the one asked for.
    @inline(__always)
    func next(_ probe: inout Probe) -> UInt32? {
        while true {
            // mask keeps every place inside.
            let cell = unsafe cells.baseAddress.unsafelyUnwrapped[probe.place]
            if cell == 0 { return nil }
            probe.place = (probe.place &+ 1) & mask
            if cell >> 32 == probe.tag { return UInt32(truncatingIfNeeded: cell) }
        }
    }

    /// `slot` is not 0.
    mutating func insert(_ hash: UInt64, _ slot: UInt32) {
        if (used + 1) * 8 > (mask + 1) * 5 { grow() }
        place((hash & 0xFFFF_FFFF) << 32 | UInt64(slot))
        used += 1
    }

    private func place(_ cell: UInt64) {
        var index = home(cell >> 32)
        while unsafe cells[index] != 0 { index = (index + 1) & mask }
        unsafe cells[index] = cell
    }

    private mutating func grow() {
        let old = unsafe cells
        unsafe cells = .allocate(capacity: old.count * 2)
        unsafe cells.initialize(repeating: 0)
        mask = unsafe cells.count - 1
        for index in old.indices where unsafe old[index] != 0 { unsafe place(old[index]) }
        unsafe old.deallocate()
    }

    mutating func remove(_ hash: UInt64, _ slot: UInt32) {
        let wanted = (hash & 0xFFFF_FFFF) << 32 | UInt64(slot)
        var index = home(wanted >> 32)
        while unsafe cells[index] != wanted {
            if unsafe cells[index] == 0 { return }
            index = (index + 1) & mask
        }
        used -= 1
        var hole = index
        var next = (hole + 1) & mask
        while unsafe cells[next] != 0 {
            // A cell may move into the hole if its home is not behind it.
            let distance = (next - home(unsafe cells[next] >> 32)) & mask
            if distance >= (next - hole) & mask {
                unsafe cells[hole] = cells[next]
                hole = next
            }
            next = (next + 1) & mask
        }
        unsafe cells[hole] = 0
    }
}

/// Remembers, about, which blocks left the small queue lately: a hash table of (hash, time) that overwrites on collision.
struct BlockCacheGhosts {
    private var cells: [UInt64] = []
    private var time: UInt32 = 0
    private var lasting: UInt32 = 0

    /// `among`: how many blocks the shard holds; as many evictions later a ghost is gone.
    mutating func insert(_ hash: UInt64, among blocks: Int) {
        if cells.count < blocks { cells = [UInt64](repeating: 0, count: max(64, blocks * 2)) }
        lasting = UInt32(clamping: max(16, blocks))
        time &+= 1
        cells[place(hash)] = (hash >> 32) << 32 | UInt64(time)
    }

    /// Whether the block left lately; it is forgotten by asking.
    mutating func remove(_ hash: UInt64) -> Bool {
        guard !cells.isEmpty else { return false }
        let cell = cells[place(hash)]
        guard cell != 0, cell >> 32 == hash >> 32, time &- UInt32(truncatingIfNeeded: cell) <= lasting else {
            return false
        }
        cells[place(hash)] = 0
        return true
    }

    private func place(_ hash: UInt64) -> Int { Int((hash & 0xFFFF_FFFF) * UInt64(cells.count) >> 32) }
}
