// The frozen numbers of the log's format; docs/formats/log.md tells what they mean.

/// What a frame holds. Not an enum: an unknown kind that is not critical is passed on as it is.
struct FrameKind: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    let rawValue: UInt8
    init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Records of one atomic batch, one LSN each.
    static let batch = FrameKind(rawValue: 1)
    /// A reading of the store clock, or a change of its offset.
    static let clock = FrameKind(rawValue: 2)
    /// The beginning of a timeline.
    static let timeline = FrameKind(rawValue: 3)
    /// A named moment.
    static let mark = FrameKind(rawValue: 4)
    static let noOp = FrameKind(rawValue: 5)
    /// Manifests only: a version edit.
    static let versionEdit = FrameKind(rawValue: 16)

    var isKnown: Bool { (1...5).contains(rawValue) || self == .versionEdit }

    var description: String {
        switch self {
        case .batch: return "batch"
        case .clock: return "clock"
        case .timeline: return "timeline"
        case .mark: return "mark"
        case .noOp: return "no-op"
        case .versionEdit: return "version-edit"
        default: return "kind-\(rawValue)"
        }
    }
}

struct FrameFlags: OptionSet, Hashable, Sendable {
    let rawValue: UInt8
    /// The frame carries its position in full and begins a new compression stream.
    static let restart = FrameFlags(rawValue: 1 << 0)
    /// Who does not know the frame's kind must refuse it.
    static let critical = FrameFlags(rawValue: 1 << 1)
    /// Written by the layer that took the change from its origin; part of the running hash.
    static let origin = FrameFlags(rawValue: 1 << 2)

    static let known: FrameFlags = [.restart, .critical, .origin]
}

/// How a frame's payload is stored.
enum FrameCodec {
    static let stored: UInt8 = 0
    /// LZ4 block over the stream of raw payloads since the last restart frame.
    static let lz4: UInt8 = 1
    /// What `stored` bytes of LZ4 decode to at most: a byte of length stands for 255 bytes, and the first and last few are
    /// free.
    static func lz4Bound(stored: Int) -> Int { stored * 255 + 64 }
    /// From here on: encrypted, not yet in use.
    static let firstEncrypted: UInt8 = 128
}

enum LogFormat {
    /// 0 had no header check in its frames. It is refused: its log would look like one whose tail was never synced.
    static let version: UInt32 = 1
    /// "VARVELOG" and "VARVEMAN", read as little-endian integers.
    static let logMagic: UInt64 = 0x474F_4C45_5652_4156
    static let manifestMagic: UInt64 = 0x4E41_4D45_5652_4156

    /// A segment's header fills one sector of its own, so that no torn write of a frame can touch it.
    static let headerBytes = 512
    /// The part of a frame's header that every frame has: checksum to running hash.
    static let fixedFrameBytes = 24
    /// What a restart frame has in full.
    static let restartBytes = 52
    /// Longest header: fixed part, restart part, and the two varints after it.
    static let maximumFrameHeaderBytes = fixedFrameBytes + restartBytes + 20
    /// Raw bytes that one compression stream spans; LZ4 cannot refer further back.
    static let windowBytes = 64 << 10
    /// A payload above this is a restart frame by itself, and the next frame restarts too.
    static let lonePayloadBytes = 32 << 10
    /// A segment ends before its LSNs could outgrow the 32 bits that a frame spells out.
    static let segmentLSNs: UInt64 = 1 << 31
    /// Commit times end here, in the year 2257, so that no arithmetic on them overflows. A log that has reached that is read,
    /// and takes no more writes.
    static let latestTime = Timestamp.max - (1 << 57)

    /// A frame of any payload of `count` bytes is at most this long.
    static func frameBound(_ count: Int) -> Int { maximumFrameHeaderBytes + count }
}

/// The running hash: one number that stands for every decoded record of a history up to a place.
///
/// It covers what a frame means (kind, origin flag, count, commit time, raw payload) and not how it is stored, so that
/// codecs and keys may differ by node. Each step is one XXH3 pass over the payload under a seed folded from the rest.
enum RunningHash {
    /// The hash before the first frame of a store's first timeline.
    static let initial: UInt64 = 0

    @inline(__always)
    static func after(
        _ before: UInt64, _ kind: FrameKind, _ flags: FrameFlags, count: UInt64, commitTime: Timestamp,
        payload: UnsafeRawBufferPointer
    ) -> UInt64 {
        let origin = UInt64(flags.intersection(.origin).rawValue)
        let shape = count &<< 16 ^ UInt64(kind.rawValue) &<< 8 ^ origin
        let seed = XXH3.seed(XXH3.seed(before, UInt64(bitPattern: commitTime)), shape)
        return unsafe XXH3.hash64(payload, seed: seed)
    }

    /// The hash at the beginning of a timeline, from the one that its record gave: two histories never share a position.
    static func reseeded(_ hash: UInt64, _ timeline: TimelineID) -> UInt64 {
        let folded = XXH3.seed(timeline.unique.high, timeline.unique.low) &+ UInt64(timeline.ordinal)
        return XXH3.seed(hash, folded)
    }
}
