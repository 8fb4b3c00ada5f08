internal import Synchronization
internal import VarveIO

/// One segment of the log that is there to be read.
final class LogSegment: Sendable {
    let header: SegmentHeader
    let path: String
    var number: UInt64 { header.fileNumber }
    var firstLSN: LSN { header.firstLSN }
    /// Its file's length, remembered once another segment follows; it does not change any more. 0: nobody asked yet.
    private let sealedBytes = Atomic<UInt64>(0)

    init(header: SegmentHeader, path: String) {
        self.header = header
        self.path = path
    }

    /// The length of its file. One that `isSealed` is measured once.
    func bytes(_ fileSystem: any FileSystem, isSealed: Bool) throws(VarveError) -> UInt64 {
        let known = sealedBytes.load(ordering: .relaxed)
        if isSealed, known != 0 { return known }
        let size = try lifted { () throws(IOError) in
            let file = try fileSystem.open(path, .read)
            defer { file.close() }
            return try file.size()
        }
        if isSealed { sealedBytes.store(size, ordering: .relaxed) }
        return size
    }
}

/// The segments that a store's log consists of, oldest first, and who pins which.
///
/// Shared by the writer, which adds, readers, which look up and pin, and retention, which removes. Any thread.
final class LogCatalog: Sendable {
    let fileSystem: any FileSystem
    let directory: String

    private struct Entry {
        let segment: LogSegment
        var pins = 0
    }
    private let entries: Mutex<[Entry]>

    init(fileSystem: any FileSystem, directory: String, segments: [LogSegment] = []) {
        self.fileSystem = fileSystem
        self.directory = directory
        entries = Mutex(segments.map { Entry(segment: $0) })
    }

    var segments: [LogSegment] { entries.withLock { $0.map(\.segment) } }
    var last: LogSegment? { entries.withLock { $0.last?.segment } }

    func add(_ segment: LogSegment) {
        entries.withLock { entries in
            if let last = entries.last {
                precondition(last.segment.firstLSN <= segment.firstLSN, "segments are added in the log's order")
            }
            entries.append(Entry(segment: segment))
        }
    }

    /// The segment that holds `lsn` or will, pinned; nil where the log no longer goes back so far.
    func pinSegment(holding lsn: LSN) -> LogSegment? {
        entries.withLock { entries in
            guard let index = entries.lastIndex(where: { $0.segment.firstLSN <= lsn }) else { return nil }
            entries[index].pins += 1
            return entries[index].segment
        }
    }

    /// The segment after `segment`, pinned instead of it; nil where it is the last, which stays pinned.
    func exchangePinForNext(of segment: LogSegment) -> LogSegment? {
        entries.withLock { entries in
            guard let index = entries.firstIndex(where: { $0.segment === segment }), index + 1 < entries.count
            else { return nil }
            entries[index].pins -= 1
            entries[index + 1].pins += 1
            return entries[index + 1].segment
        }
    }

    /// Where the segment after `segment` begins; nil where it is the last.
    func nextFirstLSN(after segment: LogSegment) -> LSN? {
        entries.withLock { entries in
            guard let index = entries.firstIndex(where: { $0.segment === segment }), index + 1 < entries.count
            else { return nil }
            return entries[index + 1].segment.firstLSN
        }
    }

    /// Pins a segment that was pinned before; false where it has gone meanwhile.
    func pinAgain(_ segment: LogSegment) -> Bool {
        entries.withLock { entries in
            guard let index = entries.firstIndex(where: { $0.segment === segment }) else { return false }
            entries[index].pins += 1
            return true
        }
    }

    func unpin(_ segment: LogSegment) {
        entries.withLock { entries in
            guard let index = entries.firstIndex(where: { $0.segment === segment }) else { return }
            entries[index].pins -= 1
            precondition(entries[index].pins >= 0, "unpinned as often as pinned")
        }
    }

    /// The first LSN that a reader still pins.
    var pinnedLSN: LSN? { entries.withLock { entries in entries.first { $0.pins > 0 }?.segment.firstLSN } }

    /// The oldest LSN that can still be read.
    var oldestLSN: LSN? { entries.withLock { $0.first?.segment.firstLSN } }

    /// Takes out the oldest segments, up to `count` and never the last, as far as none is pinned.
    func removeOldest(_ count: Int) -> [LogSegment] {
        entries.withLock { entries in
            var taken = 0
            while taken < count, taken + 1 < entries.count, entries[taken].pins == 0 { taken += 1 }
            let removed = entries[..<taken].map(\.segment)
            entries.removeFirst(taken)
            return removed
        }
    }
}
