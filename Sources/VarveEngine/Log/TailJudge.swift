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
        if searchGaveUp { return .damage("what follows cannot be told from frames with bounded work") }
        return .tail
    }
}

/// Looks for whole frames in bytes of which nothing is known, at every offset.
enum FrameSearch {
    struct Evidence: Equatable {
        /// The highest synced LSN that a frame stated.
        var synced = LSN.zero
        var frames = 0
        var gaveUp = false
    }

    /// Searches a segment's bytes for frames that verify under its salt and begin at or after `floor`.
    ///
    /// A place is looked at closer only where length, kind, flags, codec and LSN are possible, so a whole segment takes some
    /// tens of milliseconds. What a segment held before it was used again may look like frames in many places: each is
    /// hashed in vain, for which there is a budget of a second or so. Only bytes made for it run into that limit.
    static func evidence(in bytes: UnsafeRawBufferPointer, salt: UInt64, floor: LSN) -> Evidence {
        var evidence = Evidence()
        var budget = bytes.count &* 256 &+ (64 << 20)
        var offset = 0
        let low = UInt32(truncatingIfNeeded: floor.rawValue)
        while offset + LogFormat.fixedFrameBytes < bytes.count {
            // Length, kind, flags, codec and reserved byte in one load; zeros are what most tails consist of.
            let word = unsafe UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self))
            if word == 0 {
                offset += 5
                continue
            }
            let length = Int(word & 0xFFFF_FFFF)
            let kind = FrameKind(rawValue: UInt8(truncatingIfNeeded: word >> 32))
            let flags = FrameFlags(rawValue: UInt8(truncatingIfNeeded: word >> 40))
            let codec = UInt8(truncatingIfNeeded: word >> 48)
            guard length > LogFormat.fixedFrameBytes, length <= bytes.count - offset, word >> 56 == 0,
                codec <= FrameCodec.lz4, kind.isKnown, FrameFlags.known.isSuperset(of: flags),
                unsafe UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset + 16, as: UInt32.self)) &- low
                    < UInt32(LogFormat.segmentLSNs)
            else {
                offset += 1
                continue
            }
            let frame = unsafe UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + length])
            guard unsafe isPlausible(frame) else {
                offset += 1
                continue
            }
            budget -= length
            guard budget > 0 else {
                evidence.gaveUp = true
                return evidence
            }
            guard let header = try? unsafe RawFrameHeader(verifying: frame, salt: salt) else {
                offset += 1
                continue
            }
            let first = header.restart?.firstLSN ?? header.firstLSN(notBefore: floor)
            if first >= floor {
                evidence.synced = max(evidence.synced, header.syncedLSN(first: first))
                evidence.frames += 1
            }
            offset += length
        }
        return evidence
    }

    /// Whether a frame's header can be one, before all of it is hashed.
    private static func isPlausible(_ frame: UnsafeRawBufferPointer) -> Bool {
        guard let header = try? unsafe RawFrameHeader(frame) else { return false }
        if header.restart == nil, header.timeDelta == 0 { return false }
        let payload = unsafe UnsafeRawBufferPointer(rebasing: frame[header.payloadOffset...])
        // What would not shrink is stored.
        if header.codec == FrameCodec.lz4 { return header.rawLength >= payload.count }
        guard header.codec == FrameCodec.stored, header.kind == .batch, let first = unsafe payload.first else {
            return true
        }
        return RecordKind(rawValue: first) != nil
    }
}
