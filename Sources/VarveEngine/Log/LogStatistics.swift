internal import Synchronization

/// What the log has done since it was opened.
struct LogStatistics: Sendable {
    let frames: UInt64
    /// Payload bytes before compression.
    let rawBytes: UInt64
    /// Bytes of whole frames as they lie in the log.
    let frameBytes: UInt64
    let segmentsCreated: UInt64
    let segmentsRecycled: UInt64
    let sync: GroupSync.Statistics

    init(_ counters: LogCounters, segments: (created: UInt64, recycled: UInt64), sync: GroupSync.Statistics) {
        frames = counters.frames.load(ordering: .relaxed)
        rawBytes = counters.rawBytes.load(ordering: .relaxed)
        frameBytes = counters.frameBytes.load(ordering: .relaxed)
        segmentsCreated = segments.created
        segmentsRecycled = segments.recycled
        self.sync = sync
    }
}

/// Counted by the one appending thread, read by any: plain loads and stores, no locked instruction.
final class LogCounters: Sendable {
    let frames = Atomic<UInt64>(0)
    let rawBytes = Atomic<UInt64>(0)
    let frameBytes = Atomic<UInt64>(0)

    @inline(__always)
    func count(frames more: UInt64 = 1, rawBytes raw: Int, frameBytes bytes: Int) {
        frames.store(frames.load(ordering: .relaxed) &+ more, ordering: .relaxed)
        rawBytes.store(rawBytes.load(ordering: .relaxed) &+ UInt64(raw), ordering: .relaxed)
        frameBytes.store(frameBytes.load(ordering: .relaxed) &+ UInt64(bytes), ordering: .relaxed)
    }
}
