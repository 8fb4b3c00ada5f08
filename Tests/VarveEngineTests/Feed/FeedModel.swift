import VarveTestSupport

@testable import VarveEngine

/// One change as a test expects it, without what depends on time.
struct Told: Hashable, CustomStringConvertible {
    enum Kind: Hashable { case put([UInt8]), delete, range([UInt8]?), tag(UInt64), other(String) }
    var lsn: UInt64
    var key: [UInt8]
    var kind: Kind

    init(_ lsn: UInt64, _ key: [UInt8], _ kind: Kind) {
        self.lsn = lsn
        self.key = key
        self.kind = kind
    }

    init(_ change: Change) {
        lsn = change.lsn.rawValue
        key = change.key
        kind =
            switch change.kind {
            case .put(let value, _): .put(value)
            case .delete: .delete
            case .deleteRange(let end): .range(end)
            case .tagDrop(let number): .tag(number)
            case .sourceFloors: .other("floors")
            case .namespaceMade: .other("namespace")
            case .clock: .other("clock")
            case .mark: .other("mark")
            case .progress: .other("progress")
            }
    }

    var description: String { "\(lsn) \(kind) \(String(decoding: key, as: UTF8.self))" }
}

/// Writes random batches and remembers what a feed must tell of them. Any thread.
final class FeedWriter: Sendable {
    private let made = Watched<[Told]>([])
    private let engine: Engine

    init(_ engine: Engine, continuing other: FeedWriter? = nil) {
        self.engine = engine
        if let other { made.update { $0 = other.all } }
    }

    /// In the log's order.
    var all: [Told] { made.current.sorted { $0.lsn < $1.lsn } }

    func write(_ random: inout SplitMix, durability: Durability = .interval) throws {
        var batch = WriteBatch()
        var kinds: [(key: [UInt8], kind: Told.Kind)] = []
        for _ in 0...(random.next() % 4) {
            let key = Fixture.key(Int(random.next() % 200))
            switch random.next() % 8 {
            case 0:
                try batch.delete(key)
                kinds.append((key, .delete))
            case 1:
                let end = random.next() % 4 == 0 ? nil : Fixture.key(Int(random.next() % 200) + 200)
                try batch.deleteRange(from: key, to: end)
                kinds.append((key, .range(end)))
            default:
                let value = Fixture.value(Int(random.next() % 1000), 0, Int(random.next() % 300))
                try batch.put(key, value)
                kinds.append((key, .put(value)))
            }
        }
        let last = try engine.write(batch, durability: durability).rawValue
        let first = last - UInt64(kinds.count) + 1
        made.update { made in
            for (index, one) in kinds.enumerated() { made.append(Told(first + UInt64(index), one.key, one.kind)) }
        }
    }
}

extension Engine {
    /// What a feed tells that ends with what is acknowledged now, and where it ended.
    func told(
        _ scope: ChangeScope = ChangeScope(), from start: ChangeStart
    ) throws -> (changes: [Told], cursor: ChangeCursor?) {
        var told: [Told] = []
        var cursor: ChangeCursor?
        try forEachChange(scope, from: start) { change in
            told.append(Told(change))
            if change.endsBatch { cursor = change.cursor }
            return true
        }
        return (told, cursor)
    }
}

extension ChangeReader {
    /// Everything that is durable now.
    func drain(_ namespaces: [Namespace] = [.default]) throws -> [Change] {
        var found: [Change] = []
        while case .chunk(let chunk) = try fill() {
            var changes = try ChangeFeed.reader(chunk, namespaces)
            while let change = try ChangeFeed.next(of: &changes) {
                if case .progress = change.kind { continue }
                found.append(change)
            }
        }
        return found
    }
}
