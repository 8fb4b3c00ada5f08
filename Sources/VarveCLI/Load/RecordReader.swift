import Foundation

/// Cuts an input into records, keeps count of lines and bytes, and hashes what was taken.
struct RecordReader: ~Copyable {
    enum Step {
        /// A record's bytes without its line end, and the number of its first line.
        case record(ArraySlice<UInt8>, line: UInt64)
        case idle
        case end
    }

    /// A place between two records.
    struct Place: Hashable, Sendable {
        var bytes: UInt64 = 0
        var lines: UInt64 = 0
        var digest = InputHash.Digest(high: 0, low: 0)
    }

    /// The largest value and key with each byte escaped: a longer record cannot be one.
    static let recordBytesLimit = 280 << 20

    private let source: any InputSource
    private let isQuoted: Bool
    private var buffer: [UInt8] = []
    /// Where the next record begins in the buffer, and how far it was searched for its end.
    private var start = 0
    private var scanned = 0
    private var isInQuotes = false
    private var linesInRecord: UInt64 = 0
    /// The end, with its line end, of the record that was shown and not yet accepted.
    private var pendingEnd = 0
    private var isAtEnd = false
    private var hash = InputHash()
    private var takenBytes: UInt64 = 0
    private var takenLines: UInt64 = 0

    /// - Parameter isQuoted: line ends between double quotes belong to the record (CSV).
    init(_ source: any InputSource, isQuoted: Bool) {
        self.source = source
        self.isQuoted = isQuoted
    }

    /// Where the next record begins.
    var place: Place { Place(bytes: takenBytes, lines: takenLines, digest: hash.digest) }

    /// The next record, to be accepted before the one after it is asked for; `idle` where the input has none yet.
    mutating func next() throws -> Step {
        while true {
            if let end = findEnd() { return step(through: end, lineEnd: 1) }
            if isAtEnd {
                guard start < buffer.count else { return .end }
                linesInRecord += 1
                return step(through: buffer.count, lineEnd: 0)
            }
            guard buffer.count - start <= RecordReader.recordBytesLimit else {
                throw InputFailure(
                    "\(source.name), line \(takenLines + 1): a record of more than"
                        + " \(SizeText.describe(UInt64(RecordReader.recordBytesLimit))); is a quote not closed?")
            }
            switch try fill() {
            case .more: continue
            case .idle: return .idle
            case .end: isAtEnd = true
            }
        }
    }

    /// The bytes of the first line, not taken, up to `limit`; nil while the input has not brought them yet.
    mutating func peekFirstLine(limit: Int) throws -> ArraySlice<UInt8>? {
        precondition(takenBytes == 0, "the first line is asked for before anything is taken")
        while true {
            if let end = buffer.firstIndex(of: 0x0A) { return buffer[..<min(end + 1, limit)] }
            if isAtEnd || buffer.count >= limit { return buffer.prefix(limit) }
            switch try fill() {
            case .more: continue
            case .idle: return nil
            case .end: isAtEnd = true
            }
        }
    }

    /// Goes on from one of `places`, the furthest whose bytes stand at the front of this input; its index. Where none
    /// fits, the input is read from its beginning.
    mutating func resume(at places: [Place]) throws -> Int? {
        precondition(takenBytes == 0, "a load resumes before anything is taken")
        guard !places.isEmpty else { return nil }
        try source.keep(buffer)
        var best: Int?
        for (index, place) in places.enumerated().sorted(by: { $0.element.bytes < $1.element.bytes }) {
            guard try skip(to: place.bytes) else { break }
            if hash.digest == place.digest { best = index }
        }
        try rewind(to: best.map { places[$0] } ?? Place())
        return best
    }

    /// Hashes and forgets what comes before `offset`; false where the input ends before it.
    private mutating func skip(to offset: UInt64) throws -> Bool {
        while takenBytes < offset {
            let count = Int(min(offset - takenBytes, UInt64(buffer.count - start)))
            hash.update(buffer[start..<start + count])
            start += count
            takenBytes += UInt64(count)
            if takenBytes == offset { break }
            if isAtEnd { return false }
            if case .end = try fill() { isAtEnd = true }
        }
        return true
    }

    /// Begins again at a place, whose bytes are hashed once more unless it is where the skipping ended.
    private mutating func rewind(to place: Place) throws {
        if takenBytes != place.bytes {
            try seek(to: 0)
            hash = InputHash()
            takenBytes = 0
            _ = try skip(to: place.bytes)
        }
        try seek(to: place.bytes)
        takenLines = place.lines
    }

    private mutating func seek(to offset: UInt64) throws {
        try source.seek(to: offset)
        buffer.removeAll(keepingCapacity: true)
        start = 0
        scanned = 0
        isAtEnd = false
    }

    private mutating func fill() throws -> InputState {
        if start == buffer.count || start > 1 << 20 {
            buffer.removeFirst(start)
            scanned -= start
            start = 0
        }
        return try source.read(into: &buffer)
    }

    /// The index of the line end that closes the record at `start`.
    private mutating func findEnd() -> Int? {
        guard isQuoted else {
            guard let end = newline(from: scanned) else {
                scanned = buffer.count
                return nil
            }
            linesInRecord += 1
            return end
        }
        while scanned < buffer.count {
            let byte = buffer[scanned]
            scanned += 1
            if byte == UInt8(ascii: "\"") { isInQuotes.toggle() }
            guard byte == 0x0A else { continue }
            linesInRecord += 1
            if !isInQuotes { return scanned - 1 }
        }
        return nil
    }

    private func newline(from index: Int) -> Int? {
        unsafe buffer.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress, index < bytes.count,
                let found = unsafe memchr(base + index, 0x0A, bytes.count - index)
            else { return nil }
            return unsafe UnsafeRawPointer(found) - base
        }
    }

    private mutating func step(through end: Int, lineEnd: Int) -> Step {
        pendingEnd = end + lineEnd
        return .record(buffer[start..<end], line: takenLines + 1)
    }

    /// Takes the record that `next` has shown: `place` is behind it from then on.
    mutating func accept() {
        hash.update(buffer[start..<pendingEnd])
        takenBytes += UInt64(pendingEnd - start)
        takenLines += linesInRecord
        linesInRecord = 0
        isInQuotes = false
        start = pendingEnd
        scanned = start
    }
}
