/// Reads a trace: one little-endian unsigned 64-bit id a request, nothing before, between or after.
struct IDReader {
    private static let idBytes = 8
    private let source: any InputSource
    private var buffer: [UInt8] = []
    /// Where in `buffer` the next id begins.
    private var next = 0
    /// Ids that were handed out.
    private(set) var count: UInt64 = 0
    var byteCount: UInt64? { source.byteCount }

    /// A file's length is judged at once, before any work is done for it.
    init(_ source: any InputSource) throws {
        self.source = source
        if let bytes = source.byteCount { try check(bytes) }
    }

    /// The ids of the next piece of the input; nil at its end.
    mutating func piece() throws -> [UInt64]? {
        buffer.removeSubrange(..<next)
        next = 0
        while true {
            let state = try source.read(into: &buffer)
            let whole = buffer.count / IDReader.idBytes
            if state == .end {
                // Whatever is left is less than an id: everything before was handed out.
                try check(count * UInt64(IDReader.idBytes) + UInt64(buffer.count))
                return nil
            }
            if whole == 0 { continue }
            next = whole * IDReader.idBytes
            count += UInt64(whole)
            return (0..<whole).map { id(at: $0 * IDReader.idBytes) }
        }
    }

    private func id(at offset: Int) -> UInt64 {
        (0..<IDReader.idBytes).reduce(0) { $0 | UInt64(buffer[offset + $1]) << UInt64($1 * 8) }
    }

    private func check(_ bytes: UInt64) throws {
        if bytes == 0 { throw InputFailure("\(source.name) is empty: there is nothing to replay") }
        let rest = bytes % UInt64(IDReader.idBytes)
        if rest != 0 {
            throw InputFailure(
                "\(source.name) is truncated: after \(bytes / UInt64(IDReader.idBytes)) ids of 8 bytes"
                    + " there are \(rest) bytes left")
        }
    }
}
