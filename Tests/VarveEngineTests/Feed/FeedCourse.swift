import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// Feeds beside a writer, a step at a time and all of it from a seed, held against the plain list of what was written. No
/// thread runs but the test's.
///
/// Of every chunk that a feed reads ahead: it goes on where the one before it ended, with nothing that is not durable; but for
/// its last change it holds no more than a feed may read ahead; and the changes of one batch stand before it, all but the
/// last. Feeds are cut anywhere and go on from the last cursor that they told.
struct FeedCourse {
    /// What a feed is to tell, and the batch it was written in.
    private struct Written {
        var told: Told
        let first: UInt64
        let last: UInt64
    }

    private struct Feed {
        let prefix: [UInt8]
        var reader: ChangeReader
        /// The last change that was told, or where the feed began.
        var place: UInt64
        /// Where to go on.
        var cursor: ChangeCursor
        /// Whether the batch of the last change is still open.
        var isWithin = false
    }

    /// What happened, so that a course which never comes there is seen.
    struct Met {
        var parts = 0
        var larger = 0
    }

    private let seed: UInt64
    private var random: SplitMix
    private let engine: Engine
    private var written: [Written] = []
    private var feeds: [Feed] = []
    private var step = 0
    private(set) var met = Met()

    init(_ seed: UInt64) throws {
        self.seed = seed
        random = SplitMix(course: seed)
        engine = try Fixture.store(SimulatedFileSystem(), Fixture.options(clock: ManualClock()))
    }

    private var name: String { "seed \(seed), step \(step)" }
    private mutating func draw(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }

    mutating func run() throws {
        for prefix in ["", "", "key00001"] { feeds.append(try begin(.now, bytes(prefix))) }
        for number in 1...100 {
            step = number
            switch draw(20) {
            case 0..<6: try write()
            case 6, 7: try engine.sync()
            case 8 where draw(3) == 0:
                try engine.flush()
                try engine.runBackgroundWork()
            case 9: try cut(draw(feeds.count))
            case 10: try cancel(draw(feeds.count))
            default: try read(draw(feeds.count))
            }
        }
        try engine.sync()
        for index in feeds.indices {
            while try read(index) {}
            #expect(next(feeds[index]) == nil, "\(name), feed \(index): it ends before what is durable")
        }
        try engine.close()
    }

    // MARK: Writing

    /// A few small changes, many, or some of which one is larger than what a feed reads ahead.
    private mutating func write() throws {
        let size = draw(6)
        let count = size < 4 ? 1 + draw(6) : size == 4 ? 100 + draw(500) : 1 + draw(4)
        let large = size == 5 ? draw(count) : -1
        var batch = WriteBatch()
        var changes: [(key: [UInt8], kind: Told.Kind)] = []
        for index in 0..<count {
            let number = draw(200)
            let key = Fixture.key(number)
            switch draw(10) {
            case 0:
                try batch.delete(key)
                changes.append((key, .delete))
            case 1:
                let end = draw(4) == 0 ? nil : Fixture.key(number + 1 + draw(100))
                try batch.deleteRange(from: key, to: end)
                changes.append((key, .range(end)))
            default:
                let bytes = index == large ? (200 << 10) + draw(400 << 10) : draw(count > 10 ? 2000 : 500)
                let value = [UInt8](repeating: random.byte(), count: bytes)
                try batch.put(key, value)
                changes.append((key, .put(value)))
            }
        }
        let last = try engine.write(batch, durability: draw(4) == 0 ? .synced : .interval).rawValue
        let first = last - UInt64(count) + 1
        for (index, one) in changes.enumerated() {
            written.append(Written(told: Told(first + UInt64(index), one.key, one.kind), first: first, last: last))
        }
    }

    // MARK: Reading

    private func begin(_ start: ChangeStart, _ prefix: [UInt8]) throws -> Feed {
        let cursor =
            switch start {
            case .now: engine.changeCursor
            case .oldest: engine.oldestChangeCursor
            case .after(let cursor): cursor
            }
        let reader = try engine.makeChangeReader(ChangeScope(prefix: prefix), from: .after(cursor))
        return Feed(prefix: prefix, reader: reader, place: cursor.lsn.rawValue, cursor: cursor)
    }

    /// Its reader is gone; another one begins where the last cursor says, which may be before what was told of a batch.
    private mutating func cut(_ index: Int) throws {
        let feed = feeds[index]
        let kept = try #require(ChangeCursor(feed.cursor.description))
        do throws(VarveError) { feeds[index].reader = try makeReader(feed.prefix, kept) } catch {
            guard error.code == .logGap else { throw error }
            return try meetGap(index)
        }
        feeds[index].place = kept.lsn.rawValue
        feeds[index].isWithin = false
    }

    private func makeReader(_ prefix: [UInt8], _ cursor: ChangeCursor) throws(VarveError) -> ChangeReader {
        try engine.makeChangeReader(ChangeScope(prefix: prefix), from: .after(cursor))
    }

    /// What was cancelled tells nothing more, whatever there is.
    private mutating func cancel(_ index: Int) throws {
        feeds[index].reader.cancel()
        #expect(code { _ = try feeds[index].reader.fill() } == .cancelled, "\(name), feed \(index)")
        try cut(index)
    }

    /// The log has gone under a feed that stood still, as it says, and not otherwise.
    private mutating func meetGap(_ index: Int) throws {
        let oldest = engine.oldestChangeCursor
        #expect(oldest.lsn > feeds[index].cursor.lsn, "\(name), feed \(index): nothing is missing")
        feeds[index] = try begin(.oldest, feeds[index].prefix)
    }

    /// One chunk; false where there is none.
    @discardableResult
    private mutating func read(_ index: Int) throws -> Bool {
        let outcome: ChangeReader.Outcome
        do throws(VarveError) { outcome = try feeds[index].reader.fill() } catch {
            guard error.code == .logGap else { throw error }
            try meetGap(index)
            return true
        }
        #expect(engine.catalog.pinnedLSN == nil, "\(name), feed \(index): it holds back the log")
        guard case .chunk(let chunk) = outcome else {
            if let next = next(feeds[index]) {
                #expect(next.told.lsn > synced, "\(name), feed \(index): \(next.told.lsn) is durable and not told")
            }
            return false
        }
        var reader = try ChangeFeed.reader(chunk, [.default])
        var (ahead, last) = (0, 0)
        while let change = try ChangeFeed.next(of: &reader) {
            if case .progress = change.kind {
                feeds[index].cursor = change.cursor
                #expect(!feeds[index].isWithin, "\(name), feed \(index): its progress stands within a batch")
                continue
            }
            ahead += last
            last = change.key.count
            if case .put(let value, _) = change.kind { last += value.count }
            guard take(change, index) else { return false }
        }
        #expect(ahead <= 256 << 10, "\(name), feed \(index): so many bytes are read ahead")
        if last > 256 << 10 { met.larger += 1 }
        if feeds[index].isWithin { met.parts += 1 }
        return true
    }

    private var synced: UInt64 { engine.statistics.syncedLSN.rawValue }

    /// What a feed is to tell after its place.
    private func next(_ feed: Feed) -> Written? {
        var (low, high) = (0, written.count)
        while low < high {
            let middle = (low + high) / 2
            if written[middle].told.lsn <= feed.place { low = middle + 1 } else { high = middle }
        }
        while low < written.count {
            if let told = seen(written[low].told, feed.prefix) {
                return Written(told: told, first: written[low].first, last: written[low].last)
            }
            low += 1
        }
        return nil
    }

    /// A change as a feed of these keys tells it; nil: not at all.
    private func seen(_ told: Told, _ prefix: [UInt8]) -> Told? {
        guard !prefix.isEmpty else { return told }
        guard case .range(let end) = told.kind else { return told.key.starts(with: prefix) ? told : nil }
        let after = FullKey.successor(ofPrefix: prefix) ?? []
        let first = told.key.lexicographicallyPrecedes(prefix) ? prefix : told.key
        let last = end.map { $0.lexicographicallyPrecedes(after) ? $0 : after } ?? after
        return first.lexicographicallyPrecedes(last) ? Told(told.lsn, first, .range(last)) : nil
    }

    /// Compares a change with what comes next; false where it is another.
    private mutating func take(_ change: Change, _ index: Int) -> Bool {
        let told = Told(change)
        let place = "\(name), feed \(index), \(told.lsn)"
        guard let expected = next(feeds[index]), expected.told == told else {
            Issue.record("\(place): it was not to be told next")
            return false
        }
        #expect(told.lsn <= synced, "\(place): it is not durable")
        feeds[index].place = told.lsn
        let isLast = next(feeds[index])?.last != expected.last
        #expect(change.endsBatch == isLast, "\(place): where its batch ends")
        if isLast {
            #expect(change.cursor.lsn.rawValue == expected.last, "\(place): the end of its batch")
        } else {
            let before = feeds[index].cursor.lsn
            #expect(change.cursor.lsn.rawValue < expected.first, "\(place): a cursor within its batch")
            #expect(change.cursor.lsn >= before, "\(place): a cursor goes back")
            if feeds[index].isWithin { #expect(change.cursor.lsn == before, "\(place): another place of its batch") }
        }
        feeds[index].cursor = change.cursor
        feeds[index].isWithin = !isLast
        return true
    }
}
