internal import Synchronization

/// Keys that were seen lately and are not there: fingerprints of 32 bits with the moment of their sighting, counted in
/// sightings. One is forgotten after `capacity` others, or when its line of eight is full of younger ones.
///
/// 12 to 24 bytes for each key of its capacity. Any thread, no locks: of two sightings that meet in one place one may be
/// lost.
final class GhostTable: Sendable {
    let words: AtomicWords
    private let room: Atomic<UInt32>
    private let clock = Atomic<UInt32>(1)

    /// `growth`: how many times as large it may become.
    init(capacity: Int, growth: Int = 1) {
        let capacity = UInt32(clamping: max(1, capacity))
        room = Atomic(capacity)
        var lines = 8
        while lines * 8 * 2 < Int(capacity) * 3 { lines *= 2 }
        words = AtomicWords(lines * 8, most: lines * 8 * growth)
    }

    /// After how many others a sighting is forgotten.
    var capacity: UInt32 { room.load(ordering: .relaxed) }

    /// Remembers twice as many from now on, and again what it was just about to forget. One thread at a time.
    func double() {
        words.double()
        room.store(capacity &* 2, ordering: .relaxed)
    }

    /// How many sightings there were.
    var now: UInt32 {
        get { clock.load(ordering: .relaxed) }
        set { clock.store(newValue, ordering: .relaxed) }
    }

    @inline(__always)
    private func line(_ hash: UInt64) -> Int { (Int(truncatingIfNeeded: hash >> 12) & (words.count / 8 - 1)) * 8 }
    /// Never zero, so that a word which holds one is never zero.
    @inline(__always)
    private func fingerprint(_ hash: UInt64) -> UInt64 { (hash &* 0x9E37_79B9_7F4A_7C15) >> 32 | 1 }

    /// Whether a word's sighting is still remembered.
    func isFresh(_ word: UInt64) -> Bool { now &- UInt32(truncatingIfNeeded: word) < capacity }

    /// Whether a key was seen, and no longer ago than `limit` sightings.
    func contains(_ hash: UInt64, within limit: UInt32 = .max) -> Bool {
        let limit = min(limit, capacity)
        let now = now
        let line = line(hash)
        let print = fingerprint(hash)
        for index in line..<line + 8 {
            let word = words.load(index)
            if word >> 32 == print, now &- UInt32(truncatingIfNeeded: word) < limit { return true }
        }
        return false
    }

    func insert(_ hash: UInt64) {
        let line = line(hash)
        let print = fingerprint(hash)
        let now = clock.add(1, ordering: .relaxed).newValue
        var place = line
        var age: UInt32 = 0
        for index in line..<line + 8 {
            let word = words.load(index)
            if word == 0 || word >> 32 == print {
                place = index
                break
            }
            let found = now &- UInt32(truncatingIfNeeded: word)
            if found >= age { (place, age) = (index, found) }
        }
        words.store(place, print << 32 | UInt64(now))
    }
}
