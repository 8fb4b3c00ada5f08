internal import CVarveHints

/// A data block in place (`BlockFormat`): points into bytes that someone else keeps.
///
/// `init` measures the header against the bytes; each entry is measured when it is asked for, since a mapped page may
/// turn to zeros under us. A bad one shows as nil, never as a read outside the bytes.
@safe
struct Block {
    let count: Int
    private let base: UnsafeRawPointer
    /// Where the entries begin and end, from `base`.
    private let heap: Int
    private let end: Int
    private let prefixLength: Int
    private let lsnWidth: Int
    private let lsnBase: UInt64

    init(_ bytes: UnsafeRawBufferPointer) throws(DecodeError) {
        guard let base = bytes.baseAddress, bytes.count >= BlockFormat.headerBytes else { throw .truncated }
        unsafe self.base = base
        count = unsafe Int(UInt16(littleEndian: base.loadUnaligned(as: UInt16.self)))
        prefixLength = unsafe Int(UInt16(littleEndian: base.loadUnaligned(fromByteOffset: 2, as: UInt16.self)))
        lsnWidth = unsafe Int(base.load(fromByteOffset: 4, as: UInt8.self))
        lsnBase = unsafe UInt64(littleEndian: base.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        end = bytes.count
        heap = BlockFormat.headerBytes + prefixLength + count * 3
        guard count > 0, heap < end else { throw .malformed("a block whose header is longer than the block") }
        guard lsnWidth <= 7, lsnBase <= LSN.max.rawValue else { throw .outOfRange("a block's LSN base") }
    }

    /// The prefix that all keys share.
    @inline(__always)
    var prefix: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: base + BlockFormat.headerBytes, count: prefixLength)
    }

    /// Whether eight bytes from `place`, which lies in the block, may be read.
    @inline(__always)
    func hasWord(at place: UnsafeRawPointer) -> Bool { unsafe place - base &+ 8 <= end }

    /// One entry in place.
    @safe
    struct Entry {
        /// What follows the block's prefix in the full key.
        let suffix: UnsafeRawBufferPointer
        let trailer: Trailer
        let bytes: UnsafeRawBufferPointer
    }

    /// The entry at `index`, which is in 0..<count; nil where its bytes contradict each other.
    @inline(__always)
    func entry(_ index: Int) -> Entry? {
        guard let (start, stop) = bounds(index) else { return nil }
        var position = start
        var length = unsafe Int(base.load(fromByteOffset: position, as: UInt8.self))
        position &+= 1
        if length >= 0x80 {
            guard let long = longLength(&position, stop) else { return nil }
            length = long
        }
        // position <= stop <= end and length < 2^21, so nothing here can overflow.
        let tail = position &+ length
        let content = tail &+ 1 &+ lsnWidth
        guard content <= stop else { return nil }
        let kind = unsafe base.load(fromByteOffset: tail, as: UInt8.self)
        var distance: UInt64 = 0
        if tail &+ 9 <= end {
            let word = unsafe UInt64(littleEndian: base.loadUnaligned(fromByteOffset: tail &+ 1, as: UInt64.self))
            distance = word & ((1 &<< UInt64(lsnWidth &* 8)) &- 1)
        } else {
            for index in 0..<lsnWidth {
                let byte = unsafe base.load(fromByteOffset: tail &+ 1 &+ index, as: UInt8.self)
                distance |= UInt64(byte) &<< UInt64(index &* 8)
            }
        }
        // Both are below 2^56.
        let trailer = Trailer(rawValue: (lsnBase &+ distance) &<< 8 | UInt64(kind))
        return unsafe Entry(
            suffix: UnsafeRawBufferPointer(start: base + position, count: length), trailer: trailer,
            bytes: UnsafeRawBufferPointer(start: base + content, count: stop &- content))
    }

    /// Where an entry lies, from `base`: at least one byte, inside the block.
    @inline(__always)
    private func bounds(_ index: Int) -> (Int, Int)? {
        let slot = heap &- (count &- index) &* 2
        let start = unsafe heap &+ Int(UInt16(littleEndian: base.loadUnaligned(fromByteOffset: slot, as: UInt16.self)))
        var stop = end
        if index &+ 1 < count {
            let next = unsafe base.loadUnaligned(fromByteOffset: slot &+ 2, as: UInt16.self)
            stop = heap &+ Int(UInt16(littleEndian: next))
        }
        guard start < stop, stop <= end else { return nil }
        return (start, stop)
    }

    /// The rest of a length of more than one byte; at most three, which hold any key's.
    @inline(never)
    private func longLength(_ position: inout Int, _ stop: Int) -> Int? {
        var result = unsafe Int(base.load(fromByteOffset: position &- 1, as: UInt8.self) & 0x7F)
        for shift in [7, 14] {
            guard position < stop else { return nil }
            let byte = unsafe base.load(fromByteOffset: position, as: UInt8.self)
            position &+= 1
            result |= Int(byte & 0x7F) << shift
            if byte < 0x80 { return byte == 0 ? nil : result }
        }
        return nil
    }
}

extension Block {
    @safe
    enum Search {
        case found(Trailer, UnsafeRawBufferPointer)
        /// No version in this block; one may begin the next block only where the key sorts after all of this one.
        case absent
        case damaged
    }

    /// The newest version of `key` that a reader at `seek` (a `Trailer(seekingAt:)`) sees, by fingerprints.
    @inline(__always)
    func find(_ key: UnsafeRawBufferPointer, hash: UInt64, _ seek: Trailer) -> Search {
        guard key.count >= prefixLength, unsafe matches(key, prefix, prefixLength) else { return .absent }
        let length = key.count &- prefixLength
        let suffix = unsafe UnsafeRawBufferPointer(rebasing: key[prefixLength...])
        let fingerprints = BlockFormat.headerBytes &+ prefixLength
        let pattern = UInt64(BlockFormat.fingerprint(hash)) &* 0x0101_0101_0101_0101
        var index = 0
        while index < count {
            // Behind the n fingerprints stand 2 n bytes of offsets and at least one of entries: a word read at the last
            // fingerprint may cross them and the block's end only where the block is tiny.
            let place = fingerprints &+ index
            var word: UInt64
            if place &+ 8 <= end {
                word = unsafe UInt64(littleEndian: base.loadUnaligned(fromByteOffset: place, as: UInt64.self))
            } else {
                word = partialWord(place)
            }
            word ^= pattern
            // The bytes that are zero now (and, above a zero byte, perhaps one that is 1: sorted out by comparing keys).
            var hits = (word &- 0x0101_0101_0101_0101) & ~word & 0x8080_8080_8080_8080
            while hits != 0 {
                let candidate = index &+ hits.trailingZeroBitCount &>> 3
                if candidate >= count { return .absent }
                prefetchValue(of: candidate)
                guard let entry = entry(candidate) else { return .damaged }
                if unsafe entry.suffix.count == length, unsafe matches(entry.suffix, suffix, length),
                    entry.trailer <= seek
                {
                    return unsafe .found(entry.trailer, entry.bytes)
                }
                hits &= hits &- 1
            }
            index &+= 8
        }
        return .absent
    }

    /// Has the processor fetch what lies behind an entry's key, which is compared next: the value is copied then.
    @inline(__always)
    private func prefetchValue(of index: Int) {
        guard let (start, stop) = bounds(index) else { return }
        var place = start &+ 64
        while place < min(stop, start &+ 1024) {
            unsafe varve_prefetch(base + place)
            place &+= 64
        }
    }

    private func partialWord(_ place: Int) -> UInt64 {
        var word: UInt64 = 0
        for index in 0..<(end - place) {
            word |= unsafe UInt64(base.load(fromByteOffset: place + index, as: UInt8.self)) << UInt64(index * 8)
        }
        return word
    }

    /// The first entry at or after (key, trailer); `count` where there is none. Nil where the block is damaged.
    func lowerBound(_ key: UnsafeRawBufferPointer, _ trailer: Trailer) -> Int? {
        let shared = unsafe commonPrefix(key, prefix, atMost: prefixLength)
        if shared < prefixLength {
            if shared == key.count { return 0 }
            return unsafe key[shared] < prefix[shared] ? 0 : count
        }
        let suffix = unsafe UnsafeRawBufferPointer(rebasing: key[prefixLength...])
        var low = 0
        var high = count
        while low < high {
            let middle = (low &+ high) &>> 1
            guard let entry = entry(middle) else { return nil }
            if unsafe FullKey.compare(entry.suffix, entry.trailer, suffix, trailer) < 0 {
                low = middle &+ 1
            } else {
                high = middle
            }
        }
        return low
    }
}

/// Whether the first `count` bytes of both are equal; both are at least as long. Short keys are compared word by word,
/// without a call.
@inline(__always)
func matches(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer, _ count: Int) -> Bool {
    guard count > 0, let left = a.baseAddress, let right = b.baseAddress else { return true }
    var index = 0
    while index &+ 8 <= count {
        let x = unsafe left.loadUnaligned(fromByteOffset: index, as: UInt64.self)
        let y = unsafe right.loadUnaligned(fromByteOffset: index, as: UInt64.self)
        if x != y { return false }
        index &+= 8
    }
    while index < count {
        let x = unsafe left.load(fromByteOffset: index, as: UInt8.self)
        if unsafe x != right.load(fromByteOffset: index, as: UInt8.self) { return false }
        index &+= 1
    }
    return true
}
