/// Decides what a place in the log means where no frame continues: the end that was never synced, or damage.
///
/// Every frame says up to where the log was synced when it was written. So if anything later, or the manifest, or the
/// record of a clean close says that this place had been synced, then what stood there has been lost and that is damage.
/// Otherwise it is the tail: it is cut, whatever follows it, for nothing of it was ever promised.
struct TailJudge: Equatable {
    /// The LSN that the frame here should have begun with.
    var expected: LSN
    /// The manifest says that tables hold everything up to here.
    var flushed = LSN.zero
    /// Where the record of a clean close says that the log ends; zero where there is none.
    var closedEnd = LSN.zero
    /// The highest synced LSN that a whole frame after this place states.
    var laterSynced = LSN.zero
    /// The search for later frames met its limit; nothing is known then.
    var searchGaveUp = false

    enum Verdict: Equatable {
        case tail
        /// Damage, and what proves it.
        case damage(String)
    }

    var verdict: Verdict {
        if flushed >= expected { return .damage("the manifest says that LSN \(flushed) had been synced") }
        if closedEnd >= expected { return .damage("the store was closed at LSN \(closedEnd)") }
        if laterSynced >= expected {
            return .damage("a later frame says that LSN \(laterSynced) had been synced")
        }
        if searchGaveUp { return .damage(FrameSearch.gaveUpText) }
        return .tail
    }
}

/// Looks for whole frames in bytes of which nothing is known, at every offset.
///
/// Segments are used again, and values are chosen by others, so any bytes may stand behind a log's end. A place is hashed
/// only where its length and LSN are possible and the header check is right. Whoever does not know the salt gets that
/// right at one place in 65,536.
enum FrameSearch {
    struct Evidence: Equatable {
        /// The highest synced LSN that a frame stated.
        var synced = LSN.zero
        var frames = 0
        var gaveUp = false
        /// Bytes of places with a right header check: how much work there was.
        var hashedBytes = 0
    }

    static let gaveUpText = "what follows cannot be told from frames with bounded work"

    /// How many bytes may be hashed before a search of `count` bytes gives up.
    ///
    /// Work by chance: in 16 MiB a length has a high byte of zero, and the one that begins a byte later is then below
    /// 64 KiB or too long. So in bytes made for it half of the places have a length that costs anything, and half of
    /// `count` on average, and one in 65,536 of them is hashed: that is count * count / 2^18, 1 GiB of 16 MiB in some 128
    /// pieces; random bytes cost 1.4 MiB. A header is tried once (see below), so the pieces are independent: eight times
    /// as much, and 64 MiB for where they are few, is beyond chance. In longer segments every place counts, which
    /// leaves a factor of four, and two where lengths meet the limit of a frame, over thousands of pieces.
    static func budget(_ count: Int) -> Int {
        count &* (min(count, Limits.frameBytes) >> 15) &+ (64 << 20)
    }

    /// Searches a segment's bytes for frames that verify under its salt and begin at or after `floor`.
    ///
    /// Kind, flags and codec do not matter: what a later version writes is a frame too.
    static func evidence(in bytes: UnsafeRawBufferPointer, salt: UInt64, floor: LSN) -> Evidence {
        var evidence = Evidence()
        let checksum = FrameChecksum(salt: salt)
        let budget = budget(bytes.count)
        // Headers that were right once, of frames that were not whole. A log holds no header twice (LSN and running hash
        // are in it), so what has the same one again copies it; copies of one that is right by chance are many.
        var tried: Set<UInt64> = []
        let low = UInt32(truncatingIfNeeded: floor.rawValue)
        var offset = 0
        while offset + LogFormat.fixedFrameBytes < bytes.count {
            // Length, kind, flags, codec and reserved byte in one load; zeros are what most tails consist of.
            let word = unsafe UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self))
            if word == 0 {
                // A place k bytes further has its length at 8 + k to 11 + k from here, all within the zeros at 8 to 15 up to
                // k = 4: no frame is of length zero. At k = 5 the length's high byte is not known.
                offset += 5
                continue
            }
            let length = Int(word & 0xFFFF_FFFF)
            guard length > LogFormat.fixedFrameBytes, length <= bytes.count - offset,
                unsafe UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset + 16, as: UInt32.self)) &- low
                    < UInt32(LogFormat.segmentLSNs)
            else {
                offset += 1
                continue
            }
            let frame = unsafe UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + length])
            let hash = unsafe checksum.headerHash(frame)
            let stored = unsafe UInt64(littleEndian: frame.loadUnaligned(as: UInt64.self))
            guard FrameChecksum.headerCheck(of: stored) == UInt16(truncatingIfNeeded: hash), !tried.contains(hash)
            else {
                offset += 1
                continue
            }
            guard evidence.hashedBytes + length <= budget else {
                evidence.gaveUp = true
                return evidence
            }
            evidence.hashedBytes += length
            guard let header = try? unsafe RawFrameHeader(verifying: frame, salt: salt) else {
                tried.insert(hash)
                offset += 1
                continue
            }
            let first = header.restart?.firstLSN ?? header.firstLSN(notBefore: floor)
            if first >= floor, first.rawValue - floor.rawValue < LogFormat.segmentLSNs {
                evidence.synced = max(evidence.synced, header.syncedLSN(first: first))
                evidence.frames += 1
            }
            offset += length
        }
        return evidence
    }
}
