internal import VarveIO

/// Reads frames over segments in order, as far as they continue one another.
///
/// One thread at a time. It judges nothing: where it stops it says at which place and why.
@safe
final class LogScanner {
    /// Why no frame follows.
    struct Stop {
        /// The place: a segment by its index, and the offset in it.
        let index: Int
        let offset: Int
        let fault: FrameFault
    }

    let segments: [LogSegment]
    private let fileSystem: any FileSystem
    private(set) var index: Int
    let decoder: FrameDecoder
    private var file: SegmentFile
    private var lastLength = 0
    private(set) var stop: Stop?

    /// Begins at the first frame of a segment.
    init(_ fileSystem: any FileSystem, _ segments: [LogSegment], from index: Int) throws(VarveError) {
        self.fileSystem = fileSystem
        self.segments = segments
        self.index = index
        decoder = FrameDecoder(segments[index].header)
        file = try SegmentFile(fileSystem, segments[index].path)
    }

    /// The place after the last frame.
    var position: LogPosition { decoder.position ?? segments[index].header.position }
    var segment: LogSegment { segments[index] }
    /// Where the frame last returned begins.
    var offset: Int { file.offset }

    /// The next frame, valid until the next call; nil where none follows: then `stop` says why.
    func next() throws(VarveError) -> DecodedFrame? {
        guard stop == nil else { return nil }
        file.advance(lastLength)
        lastLength = 0
        while true {
            switch try file.decode(decoder) {
            case .success(let frame):
                lastLength = frame.length
                return frame
            case .failure(let fault):
                if case .unsupported = fault {
                    throw LogScanner.error(fault, segment, offset: file.offset)
                }
                guard try enterNext() else {
                    stop = Stop(index: index, offset: file.offset, fault: fault)
                    return nil
                }
            }
        }
    }

    /// Goes on in the next segment if that begins exactly here.
    private func enterNext() throws(VarveError) -> Bool {
        guard index + 1 < segments.count, segments[index + 1].header.position == position else { return false }
        do throws(FrameFault) { try decoder.beginSegment(segments[index + 1].header) } catch { return false }
        index += 1
        file = try SegmentFile(fileSystem, segments[index].path)
        return true
    }

    /// A fault as the error that names its place.
    static func error(_ fault: FrameFault, _ segment: LogSegment, offset: Int, proof: String? = nil) -> VarveError {
        let place = UInt64(offset)
        if case .unsupported = fault {
            return VarveError(.unsupportedFormat, "\(segment.path): \(fault.text)", path: segment.path, offset: place)
        }
        let why = proof.map { "; \($0)" } ?? ""
        return .corruption("\(fault.text)\(why)", path: segment.path, offset: place)
    }
}
