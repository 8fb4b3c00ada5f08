internal import Glibc
internal import VarveIO

/// Reads a segment's bytes in order through a buffer that holds at least the frame at hand.
///
/// By `read` and not through a map: the page cache is one, so it sees what the writer stored, and a file cut short under
/// it is a short read. One thread at a time.
@safe
final class SegmentFile {
    let path: String
    /// Where in the file `available` begins.
    private(set) var offset: Int
    private let file: any File
    private var buffer: UnsafeMutableRawBufferPointer
    private var start = 0
    private var count = 0

    private static let chunk = 256 << 10

    init(_ fileSystem: any FileSystem, _ path: String, at offset: Int = LogFormat.headerBytes) throws(VarveError) {
        self.path = path
        self.offset = offset
        file = try lifted { () throws(IOError) in try fileSystem.open(path, .read) }
        unsafe buffer = .allocate(byteCount: SegmentFile.chunk, alignment: 64)
    }

    deinit {
        file.close()
        unsafe buffer.deallocate()
    }

    /// What is buffered from `offset` on. Valid until the next call of anything here.
    @inline(__always)
    var available: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[start..<start + count])
    }

    /// Has `wanted` bytes buffered from `offset` on, or all that the file has. Returns how many there are.
    @discardableResult
    func fill(_ wanted: Int) throws(VarveError) -> Int {
        if count >= wanted { return count }
        let size = max(SegmentFile.chunk, wanted)
        let kept = unsafe UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[start..<start + count])
        if unsafe size > buffer.count {
            let larger = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 64)
            unsafe larger.copyMemory(from: kept)
            unsafe buffer.deallocate()
            unsafe buffer = larger
        } else if let source = kept.baseAddress, let target = unsafe buffer.baseAddress {
            unsafe memmove(target, source, count)
        }
        start = 0
        let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[count...])
        let from = UInt64(offset + count)
        count += try lifted { () throws(IOError) in unsafe try file.read(into: rest, at: from) }
        return count
    }

    /// Goes on behind `length` bytes, which are available.
    @inline(__always)
    func advance(_ length: Int) {
        precondition(length <= count, "advance within what is available")
        start += length
        count -= length
        offset += length
    }

    /// Forgets what is buffered and goes on at `offset`: the file may have changed there.
    func seek(_ offset: Int) {
        self.offset = offset
        start = 0
        count = 0
    }

    /// The frame at `offset`, decoded; the caller advances behind it.
    @inline(__always)
    func decode(_ decoder: FrameDecoder) throws(VarveError) -> Result<DecodedFrame, FrameFault> {
        if count < LogFormat.fixedFrameBytes { try fill(LogFormat.fixedFrameBytes) }
        while true {
            do {
                return unsafe .success(try decoder.decode(available))
            } catch {
                guard case .incomplete(let wanted) = error, wanted > count else { return .failure(error) }
                let had = count
                if try fill(wanted) == had { return .failure(had == 0 ? .absent : error) }
            }
        }
    }

    /// Everything from `offset` to the file's end, copied. A file that is longer than any segment is damage.
    func rest() throws(VarveError) -> ByteBuffer {
        let size = try size()
        guard size <= Limits.segmentFileBytes else {
            throw .corruption(
                "it is \(size) bytes long, and no segment is longer than \(Limits.segmentFileBytes)", path: path)
        }
        let length = max(0, size - offset)
        var bytes = ByteBuffer(capacity: length)
        let from = UInt64(offset)
        let source = file
        do throws(IOError) {
            unsafe try bytes.append(maximum: length) { room throws(IOError) in
                unsafe try source.read(into: room, at: from)
            }
        } catch {
            throw VarveError(error)
        }
        return bytes
    }

    func size() throws(VarveError) -> Int {
        Int(clamping: try lifted { () throws(IOError) in try file.size() })
    }
}

extension LogSegment {
    /// Opens the segment of that number: a bad header under a final name is damage, for it was durable before the name.
    static func open(_ fileSystem: any FileSystem, directory: String, number: UInt64) throws(VarveError) -> LogSegment {
        let path = FileName.log(number).path(in: directory)
        let file = try SegmentFile(fileSystem, path, at: 0)
        try file.fill(LogFormat.headerBytes)
        let header: SegmentHeader
        do {
            header = unsafe try SegmentHeader(decoding: file.available)
        } catch {
            throw .corruption(error, in: "the segment's header", path: path, offset: 0)
        }
        guard header.fileNumber == number else {
            throw .corruption(
                "its header names file number \(header.fileNumber); it is another file under this name", path: path)
        }
        return LogSegment(header: header, path: path)
    }

    /// Every segment in a folder, oldest first. Other stores' segments are refused by name.
    static func list(
        _ fileSystem: any FileSystem, directory: String, storeID: UniqueID? = nil
    ) throws(VarveError) -> [LogSegment] {
        let names = try lifted { () throws(IOError) in try fileSystem.list(directory) }
        var numbers: [UInt64] = []
        for name in names { if case .log(let number)? = FileName(name) { numbers.append(number) } }
        var segments: [LogSegment] = []
        for number in numbers.sorted() {
            let segment = try open(fileSystem, directory: directory, number: number)
            if let storeID, segment.header.storeID != storeID {
                throw .corruption("it belongs to store \(segment.header.storeID), not \(storeID)", path: segment.path)
            }
            if let last = segments.last, last.firstLSN > segment.firstLSN {
                throw .corruption(
                    "it begins at LSN \(segment.firstLSN), before its predecessor \(last.path)", path: segment.path)
            }
            segments.append(segment)
        }
        return segments
    }
}
