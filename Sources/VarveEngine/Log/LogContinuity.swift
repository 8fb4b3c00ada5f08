internal import VarveIO

/// Finds where the log that is really there begins.
///
/// Segments that tables hold are let go without a sync of the folder, so a power cut may bring some of their names back
/// and others not. Only the run without a hole that ends in the newest segment is the log; whoever asks for what lies
/// before it must hear of the gap, and not of damage.
enum LogContinuity {
    /// The index of the first segment from which on none is missing up to `index`.
    static func start(
        of segments: [LogSegment], before index: Int, _ fileSystem: any FileSystem
    ) throws(VarveError) -> Int {
        var first = index
        while first > 0, try !hasHole(from: segments[first - 1], to: segments[first], fileSystem) { first -= 1 }
        return first
    }

    /// Whether LSNs are missing between a segment's last frame and the segment after it. Frames that verify behind a
    /// place that does not say that the place is damaged, and so may what is too much to be searched: a reader will name
    /// it, and nothing is missing.
    private static func hasHole(
        from segment: LogSegment, to next: LogSegment, _ fileSystem: any FileSystem
    ) throws(VarveError) -> Bool {
        let file = try SegmentFile(fileSystem, segment.path)
        let salt = segment.header.salt
        var expected = segment.firstLSN
        while expected < next.firstLSN, let count = try count(of: file, at: expected, salt) {
            expected = LSN(expected.rawValue &+ count)
        }
        guard expected < next.firstLSN else { return false }
        let rest = try file.rest()
        let evidence = unsafe FrameSearch.evidence(in: rest.bytes, salt: salt, floor: expected)
        return evidence.frames == 0 && !evidence.gaveUp
    }

    /// How many LSNs the frame at hand spans, if it begins with the expected one; passes over it.
    private static func count(
        of file: SegmentFile, at expected: LSN, _ salt: UInt64
    ) throws(VarveError) -> UInt64? {
        try file.fill(LogFormat.fixedFrameBytes)
        guard let length = try? unsafe RawFrameHeader.claimedLength(file.available, salt: salt),
            try file.fill(length) >= length,
            let header = try? unsafe RawFrameHeader(verifying: file.available, salt: salt),
            header.restart?.firstLSN ?? header.firstLSN(notBefore: expected) == expected
        else { return nil }
        file.advance(length)
        return header.count
    }
}
