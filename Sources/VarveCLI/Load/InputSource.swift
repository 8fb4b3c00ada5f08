import Foundation

/// The bytes of an input, in pieces, with one way back: to a place in what was read since `keep`.
protocol InputSource: AnyObject {
    /// What to call it in messages.
    var name: String { get }
    /// Its size where that is known.
    var byteCount: UInt64? { get }
    /// Appends what can be read next to `buffer`.
    func read(into buffer: inout [UInt8]) throws -> InputState
    /// From now on what is read can be sought in again. `start` is all that was read before.
    func keep(_ start: [UInt8]) throws
    /// Goes on at `offset` from the input's beginning, and keeps nothing any more.
    func seek(to offset: UInt64) throws
}

enum InputState: Sendable {
    case more
    /// Nothing came for a while, but more may.
    case idle
    case end
}

/// Opens inputs.
enum Input {
    /// `-` is standard input.
    static func open(_ path: String) throws -> any InputSource {
        let isStandard = path == "-"
        let descriptor = isStandard ? STDIN_FILENO : unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw InputFailure("cannot open \(path): \(reason())") }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { throw InputFailure("cannot read \(path): \(reason())") }
        let name = isStandard ? "standard input" : path
        switch status.st_mode & S_IFMT {
        case S_IFDIR: throw InputFailure("\(path) is a folder")
        case S_IFREG where !isStandard:
            return FileSource(name: name, descriptor: descriptor, byteCount: UInt64(max(0, status.st_size)))
        default: return PipeSource(name: name, descriptor: descriptor)
        }
    }

    static func reason(_ code: Int32 = errno) -> String { unsafe String(cString: strerror(code)) }

    /// One read call, appended to `buffer`.
    static func read(_ descriptor: Int32, _ name: String, into buffer: inout [UInt8]) throws -> InputState {
        let pieceBytes = 256 << 10
        let start = buffer.count
        buffer.append(contentsOf: repeatElement(0, count: pieceBytes))
        let count = unsafe buffer.withUnsafeMutableBytes { bytes in
            unsafe Glibc.read(descriptor, bytes.baseAddress.map { unsafe $0 + start }, pieceBytes)
        }
        let code = errno
        buffer.removeLast(pieceBytes - max(0, count))
        if count < 0 {
            if code == EINTR || code == EAGAIN { return .idle }
            throw OutputFailure("cannot read \(name): \(reason(code))")
        }
        return count == 0 ? .end : .more
    }
}

/// A file by its path: it can be read again from any place.
final class FileSource: InputSource {
    let name: String
    let byteCount: UInt64?
    private let descriptor: Int32

    init(name: String, descriptor: Int32, byteCount: UInt64?) {
        self.name = name
        self.descriptor = descriptor
        self.byteCount = byteCount
    }

    deinit { close(descriptor) }

    func read(into buffer: inout [UInt8]) throws -> InputState {
        try Input.read(descriptor, name, into: &buffer)
    }

    func keep(_ start: [UInt8]) throws {}

    func seek(to offset: UInt64) throws {
        guard lseek(descriptor, Int(offset), SEEK_SET) >= 0 else {
            throw OutputFailure("cannot seek in \(name): \(Input.reason())")
        }
    }
}

/// A pipe or a terminal. What must be kept goes into a temporary file without a name.
final class PipeSource: InputSource {
    private static let patienceMilliseconds: Int32 = 20

    let name: String
    let byteCount: UInt64? = nil
    private let descriptor: Int32
    private var spool: FileHandle?
    private var isKeeping = false

    init(name: String, descriptor: Int32) {
        self.name = name
        self.descriptor = descriptor
    }

    func read(into buffer: inout [UInt8]) throws -> InputState {
        if let spool, !isKeeping {
            let piece = try spool.read(upToCount: 1 << 20) ?? Data()
            if !piece.isEmpty {
                buffer.append(contentsOf: piece)
                return .more
            }
            self.spool = nil
        }
        var interest = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard unsafe poll(&interest, 1, PipeSource.patienceMilliseconds) != 0 else { return .idle }
        let start = buffer.count
        let state = try Input.read(descriptor, name, into: &buffer)
        if isKeeping { try spool?.write(contentsOf: Data(buffer[start...])) }
        return state
    }

    func keep(_ start: [UInt8]) throws {
        var template = Array((NSTemporaryDirectory() + "/varve-load-XXXXXX").utf8CString)
        let file = unsafe mkstemp(&template)
        guard file >= 0 else { throw OutputFailure("cannot make a temporary file: \(Input.reason())") }
        _ = unsafe unlink(template)
        let spool = FileHandle(fileDescriptor: file, closeOnDealloc: true)
        try spool.write(contentsOf: Data(start))
        self.spool = spool
        isKeeping = true
    }

    func seek(to offset: UInt64) throws {
        try spool?.seek(toOffset: offset)
        isKeeping = false
    }
}
