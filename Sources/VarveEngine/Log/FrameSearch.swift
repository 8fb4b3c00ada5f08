/// Looks for whole frames in bytes of which nothing is known, at every offset.
///
/// Segments are used again, and values are chosen by others, so any bytes may stand behind a log's end. A place is hashed
/// only where its length and LSN are possible and the header check is right. Whoever does not know the salt gets that
/// right at one place in 65,536. Kind, flags and codec do not matter: what a later version writes is a frame too.
@safe
struct FrameSearch {
    /// A frame that verifies.
    struct Found {
        let offset: Int
        let header: RawFrameHeader
        let firstLSN: LSN
    }

    /// What frames said.
    struct Evidence: Equatable {
        /// The highest synced LSN that a frame stated.
        var synced = LSN.zero
        var frames = 0
        var gaveUp = false
        /// Bytes of places with a right header check: how much work there was.
        var hashedBytes = 0
    }

    static let gaveUpText = "what follows cannot be told from frames with bounded work"

    private let bytes: UnsafeRawBufferPointer
    private let salt: UInt64
    private let checksum: FrameChecksum
    private let floor: LSN
    private let budget: Int
    private let longest: Int
    /// What is looked at next.
    private var place = 0
    /// Headers that were right once, of frames that were not whole. A log holds no header twice (LSN and running hash are
    /// in it), so what has the same one again copies it; copies of one that is right by chance are many.
    private var tried: Set<UInt64> = []
    private(set) var hashedBytes = 0
    /// The search met its limit: nothing is known of what follows.
    private(set) var gaveUp = false

    /// Searches a segment's bytes, which outlive it, for frames that verify under its salt and begin at or
    /// after `floor`.
    init(_ bytes: UnsafeRawBufferPointer, salt: UInt64, floor: LSN, longest: Int = Limits.frameBytes) {
        unsafe self.bytes = bytes
        self.longest = longest
        self.salt = salt
        self.floor = floor
        checksum = FrameChecksum(salt: salt)
        budget = FrameSearch.budget(bytes.count)
    }

    /// How many bytes may be hashed before a search of `count` bytes gives up.
    ///
    /// Work by chance: in 16 MiB a length has a high byte of zero, and the one that begins a byte later is then below
    /// 64 KiB or too long. So in bytes made for it half of the places have a length that costs anything, and half of
    /// `count` on average, and one in 65,536 of them is hashed: that is count * count / 2^18, 1 GiB of 16 MiB in some
    /// 128 pieces; random bytes cost 1.4 MiB. A header is tried once (see `tried`), so the pieces are independent:
    /// eight times as much, and 64 MiB for where they are few, is beyond chance. In longer segments every place counts,
    /// which leaves a factor of four, and two where lengths meet the limit of a frame, over thousands of pieces.
    static func budget(_ count: Int) -> Int {
        count &* (min(count, Limits.frameBytes) >> 15) &+ (64 << 20)
    }

    /// What all frames say.
    static func evidence(in bytes: UnsafeRawBufferPointer, salt: UInt64, floor: LSN) -> Evidence {
        var search = unsafe FrameSearch(bytes, salt: salt, floor: floor)
        var evidence = Evidence()
        while let found = search.next() {
            evidence.synced = max(evidence.synced, found.header.syncedLSN(first: found.firstLSN))
            evidence.frames += 1
        }
        evidence.gaveUp = search.gaveUp
        evidence.hashedBytes = search.hashedBytes
        return evidence
    }

    /// Goes on at a place, unless it is beyond that.
    mutating func move(to place: Int) { self.place = max(self.place, place) }

    /// The next frame; nil where there is none, or where it gave up.
    mutating func next() -> Found? {
        let count = unsafe bytes.count
        let low = UInt32(truncatingIfNeeded: floor.rawValue)
        while !gaveUp, place + LogFormat.fixedFrameBytes < count {
            // Length, kind, flags, codec and reserved byte in one load; zeros are what most tails consist of.
            let word = unsafe UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: place + 8, as: UInt64.self))
            if word == 0 {
                // A place k bytes further has its length at 8 + k to 11 + k from here, all within the zeros at 8 to 15 up to
                // k = 4: no frame is of length zero. At k = 5 the length's high byte is not known.
                place += 5
                continue
            }
            let length = Int(word & 0xFFFF_FFFF)
            if length > LogFormat.fixedFrameBytes, length <= min(count - place, longest),
                unsafe UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: place + 16, as: UInt32.self)) &- low
                    < UInt32(LogFormat.segmentLSNs),
                let header = frame(of: length)
            {
                let offset = place
                place += length
                let first = header.restart?.firstLSN ?? header.firstLSN(notBefore: floor)
                if first >= floor, first.rawValue - floor.rawValue < LogFormat.segmentLSNs {
                    return Found(offset: offset, header: header, firstLSN: first)
                }
                continue
            }
            place += 1
        }
        return nil
    }

    /// The header of the frame of this length at the present place, if there is one.
    private mutating func frame(of length: Int) -> RawFrameHeader? {
        let frame = unsafe UnsafeRawBufferPointer(rebasing: bytes[place..<place + length])
        let hash = unsafe checksum.headerHash(frame)
        let stored = unsafe UInt64(littleEndian: frame.loadUnaligned(as: UInt64.self))
        guard FrameChecksum.headerCheck(of: stored) == UInt16(truncatingIfNeeded: hash), !tried.contains(hash) else {
            return nil
        }
        guard hashedBytes + length <= budget else {
            gaveUp = true
            return nil
        }
        hashedBytes += length
        guard let header = try? unsafe RawFrameHeader(verifying: frame, salt: salt) else {
            tried.insert(hash)
            return nil
        }
        return header
    }
}
