/// Finds an entry's slot by the hash of its key: open addressing with linear probing, sixteen bytes a place, backward shift
/// on removal, so that there are no tombstones and a table never has to be swept (Knuth, TAOCP vol. 3, 6.4, algorithm R).
///
/// A place holds the lower half of the hash, which tells its home too, and the slot: neither growing nor removing looks at
/// an entry. Whether the key is the one wanted is for the caller to say. Beside these lies the address of what holds the
/// value, for the processor alone: it fetches key and value at once, not one after the other. Not thread-safe: a shard's
/// lock guards it.
@usableFromInline
struct SlotTable: Sendable {
    @usableFromInline
    struct Place: Sendable {
        /// The hash's low half in the upper half, slot + 1 in the lower; 0: free.
        @usableFromInline var word: UInt64
        /// The address of what holds the value, never read through; 0: the value is no reference.
        @usableFromInline var object: UInt

        @usableFromInline init(word: UInt64 = 0, object: UInt = 0) {
            self.word = word
            self.object = object
        }
    }

    @usableFromInline var places: [Place]
    @usableFromInline private(set) var count = 0

    @inlinable var mask: Int { places.count - 1 }

    init() { places = [Place](repeating: Place(), count: 16) }

    /// Where the search for a hash begins. The shard took the top bits.
    @inlinable
    func home(_ hash: UInt64) -> Int { Int(truncatingIfNeeded: hash & 0xFFFF_FFFF) & mask }

    /// The slot for which `matches` holds among those of this hash.
    @inlinable @inline(__always)
    func find(_ hash: UInt64, _ matches: (Int) -> Bool) -> Int? {
        let wanted = hash & 0xFFFF_FFFF
        var index = home(hash)
        while true {
            let place = places[index]
            if place.word == 0 { return nil }
            if place.word >> 32 == wanted {
                if place.object != 0 { Prefetch.object(at: place.object) }
                let slot = Int(truncatingIfNeeded: place.word & 0xFFFF_FFFF) - 1
                if matches(slot) { return slot }
            }
            index = (index + 1) & mask
        }
    }

    /// Adds a slot that is not there.
    @usableFromInline
    mutating func insert(_ hash: UInt64, slot: Int, object: UInt) {
        // At most three quarters full.
        if (count + 1) * 4 > places.count * 3 { resize(to: places.count * 2) }
        place(Place(word: hash << 32 | UInt64(slot + 1), object: object))
        count += 1
    }

    /// Removes a slot that is there.
    @usableFromInline
    mutating func remove(_ hash: UInt64, slot: Int) {
        var hole = index(hash, slot)
        // What follows moves up while that brings it no farther than its home.
        var next = (hole + 1) & mask
        while places[next].word != 0 {
            let start = home(places[next].word >> 32)
            if (next - start) & mask >= (next - hole) & mask {
                places[hole] = places[next]
                hole = next
            }
            next = (next + 1) & mask
        }
        places[hole] = Place()
        count -= 1
    }

    /// The value of a slot that is there lies somewhere else now.
    mutating func move(_ hash: UInt64, slot: Int, object: UInt) { places[index(hash, slot)].object = object }

    /// What was in a slot is in another one now.
    mutating func renumber(_ hash: UInt64, slot: Int, to other: Int) {
        places[index(hash, slot)].word = hash << 32 | UInt64(other + 1)
    }

    /// Takes a table that is at most half as large, as far as what is there leaves it room to grow.
    mutating func giveBackRoom() {
        var size = 16
        while (count + 1) * 2 > size { size *= 2 }
        if size < places.count { resize(to: size) }
    }

    /// Where the place of a slot lies.
    private func index(_ hash: UInt64, _ slot: Int) -> Int {
        let wanted = hash << 32 | UInt64(slot + 1)
        var index = home(hash)
        while places[index].word != wanted {
            precondition(places[index].word != 0, "the slot is not in the table")
            index = (index + 1) & mask
        }
        return index
    }

    private mutating func place(_ value: Place) {
        var index = home(value.word >> 32)
        while places[index].word != 0 { index = (index + 1) & mask }
        places[index] = value
    }

    private mutating func resize(to size: Int) {
        let old = places
        places = [Place](repeating: Place(), count: size)
        for value in old where value.word != 0 { place(value) }
    }
}
