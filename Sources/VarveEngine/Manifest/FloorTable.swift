/// The highest source version that was ever dropped, by key hash: a late writer with an older version must not bring
/// old data back after compaction has forgotten the newer entry.
///
/// Fixed in size, so that keys share slots: a floor may be too high for a key, never too low, and a write refused by it
/// is a miss, which a cache may have. A value; versions share its storage until one raises a floor.
struct FloorTable: Hashable, Sendable {
    static let slotCount = 4096

    /// One slot's floor, as edits carry it.
    struct Floor: Hashable, Sendable {
        var slot: UInt16
        var version: UInt64
    }

    /// Empty until the first floor is raised.
    private var versions: [UInt64] = []

    /// The slot of a key, by the hash of its full key. Frozen: part of the file format.
    @inline(__always)
    static func slot(ofKeyHash hash: UInt64) -> UInt16 { UInt16(truncatingIfNeeded: hash >> 52) }

    /// The version below which a write to a key of this hash is refused; 0: none.
    @inline(__always)
    func floor(forKeyHash hash: UInt64) -> UInt64 {
        versions.isEmpty ? 0 : versions[Int(Self.slot(ofKeyHash: hash))]
    }

    func floor(ofSlot slot: UInt16) -> UInt64 { versions.isEmpty ? 0 : versions[Int(slot) % Self.slotCount] }

    /// Raises a floor; a lower one changes nothing.
    mutating func raise(_ floor: Floor) {
        guard floor.version > 0 else { return }
        if versions.isEmpty { versions = Array(repeating: 0, count: Self.slotCount) }
        let slot = Int(floor.slot) % Self.slotCount
        versions[slot] = max(versions[slot], floor.version)
    }

    /// Every raised floor, by slot.
    var raised: [Floor] {
        versions.indices.compactMap { slot in
            versions[slot] == 0 ? nil : Floor(slot: UInt16(slot), version: versions[slot])
        }
    }
}
