/// How far loads have come, kept in the store so that a killed load goes on where it stopped.
///
/// An input is known by its content: the record's key comes from its format and first line, and each place in it holds
/// the hash of all bytes before it. So a file that was moved, or comes through a pipe this time, resumes; and one that
/// only begins alike starts from its beginning. The record is written in the batch that holds the data, and deleted in
/// the one that completes the load.
struct LoadProgress: Equatable, Sendable {
    /// One load that was begun.
    struct Mark: Hashable, Sendable {
        var place = RecordReader.Place()
        var records: UInt64 = 0
    }

    /// Inputs with one first line that can be told apart; beyond that the oldest is forgotten.
    static let marksLimit = 8
    static let firstLineLimit = 64 << 10
    private static let version: UInt8 = 1
    private static let markBytes = 40

    var marks: [Mark] = []

    /// The key under which inputs are found that begin with this line and were to go to this namespace.
    static func key(format: RecordFormat, firstLine: ArraySlice<UInt8>, namespace: String) -> [UInt8] {
        var hash = InputHash()
        hash.update(firstLine)
        let digest = hash.digest
        return Array(format.rawValue.utf8) + [0] + bytes(digest.high) + bytes(digest.low) + Array(namespace.utf8)
    }

    init(marks: [Mark] = []) { self.marks = marks }

    /// A value of an unknown version, or one that is malformed, says nothing.
    init(decoding value: [UInt8]) {
        guard value.first == LoadProgress.version, (value.count - 1) % LoadProgress.markBytes == 0 else { return }
        var index = 1
        func number() -> UInt64 {
            defer { index += 8 }
            return value[index..<index + 8].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        while index < value.count {
            var mark = Mark()
            mark.place.bytes = number()
            mark.place.lines = number()
            mark.records = number()
            mark.place.digest = InputHash.Digest(high: number(), low: number())
            marks.append(mark)
        }
    }

    /// Nil where nothing is left to remember.
    var encoded: [UInt8]? {
        guard !marks.isEmpty else { return nil }
        return marks.reduce(into: [LoadProgress.version]) { out, mark in
            out += LoadProgress.bytes(mark.place.bytes) + LoadProgress.bytes(mark.place.lines)
            out += LoadProgress.bytes(mark.records)
            out += LoadProgress.bytes(mark.place.digest.high) + LoadProgress.bytes(mark.place.digest.low)
        }
    }

    /// Little endian.
    private static func bytes(_ value: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) }
    }
}
