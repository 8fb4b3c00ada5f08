/// The bench's values: made from (id, version), checkable by their first word, and half of what they seem, since the
/// second half repeats the first, which LZ4 finds.
enum BenchValues {
    static func make(id: UInt64, version: UInt64, into value: UnsafeMutableRawBufferPointer) {
        let half = (value.count + 1) / 2
        var x = Mix64.mix(id &* Mix64.step &+ version)
        if x == 0 { x = Mix64.step }
        var word = Mix64.mix(id)
        var place = 0
        while place < half {
            if place > 0 {
                x ^= x >> 12
                x ^= x << 25
                x ^= x >> 27
                word = x &* 0x2545_F491_4F6C_DD1D
            }
            unsafe store(word, into: value, at: place, until: half)
            place += 8
        }
        guard half < value.count, let base = value.baseAddress else { return }
        unsafe (base + half).copyMemory(from: base, byteCount: value.count - half)
    }

    /// Little endian; the last word of a half is cut where the half ends.
    @inline(__always)
    private static func store(
        _ word: UInt64, into value: UnsafeMutableRawBufferPointer, at place: Int, until end: Int
    ) {
        if end - place >= 8 {
            unsafe value.storeBytes(of: word.littleEndian, toByteOffset: place, as: UInt64.self)
        } else {
            for index in 0..<end - place {
                unsafe value[place + index] = UInt8(truncatingIfNeeded: word >> (8 * UInt64(index)))
            }
        }
    }

    /// Whether a value read has the right length and first word (of a shorter value: as much of it as there is).
    @inline(__always)
    static func isRight(_ value: UnsafeRawBufferPointer, length: Int, id: UInt64) -> Bool {
        guard value.count == length else { return false }
        let word = Mix64.mix(id)
        // The first half of a value up to 14 bytes is shorter than a word.
        guard (length + 1) / 2 >= 8 else {
            return (0..<(length + 1) / 2).allSatisfy {
                unsafe value[$0] == UInt8(truncatingIfNeeded: word >> (8 * UInt64($0)))
            }
        }
        return unsafe UInt64(littleEndian: value.loadUnaligned(as: UInt64.self)) == word
    }

    /// The wrapping sum of a value's little-endian words, the last one filled up with zeros.
    @inline(__always)
    static func sumWords(_ value: UnsafeRawBufferPointer) -> UInt64 {
        var sum: UInt64 = 0
        var place = 0
        while place + 8 <= value.count {
            sum &+= UInt64(littleEndian: unsafe value.loadUnaligned(fromByteOffset: place, as: UInt64.self))
            place += 8
        }
        var tail: UInt64 = 0
        var shift: UInt64 = 0
        while place < value.count {
            tail |= UInt64(unsafe value[place]) << shift
            shift += 8
            place += 1
        }
        return sum &+ tail
    }
}
