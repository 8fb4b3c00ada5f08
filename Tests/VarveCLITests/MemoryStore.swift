import Foundation
import VarveEngine

@testable import VarveCLI

/// A store in memory for the tests of the commands: ordered, with the progress of loads beside the data.
final class MemoryStore: StoreCommands {
    private(set) var entries: [[UInt8]: Record] = [:]
    private(set) var progress: [[UInt8]: [UInt8]] = [:]
    /// The records of each commit, in order.
    private(set) var commits: [[Record]] = []
    /// The commit, counted from 1, that fails before it does anything.
    var failingCommit: Int?

    struct Killed: Error {}

    func get(_ key: [UInt8], in namespace: String) throws -> Record? { entries[key] }

    func scan(_ range: ScanRange, _ visit: (Record) throws -> Bool) throws {
        for record in entries.values.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
            guard try visit(record) else { return }
        }
    }

    func put(_ record: Record, _ options: WriteOptions) throws { entries[record.key] = record }
    func delete(_ keys: [[UInt8]], _ options: WriteOptions) throws { for key in keys { entries[key] = nil } }

    func commit(_ records: [Record], progress update: LoadProgressUpdate, _ options: WriteOptions) throws {
        if failingCommit == commits.count + 1 { throw Killed() }
        commits.append(records)
        for record in records { entries[record.key] = record }
        progress[update.key] = update.value
    }

    func loadProgress(_ key: [UInt8]) throws -> [UInt8]? { progress[key] }
    func statistics() throws -> String { "{}" }
    func flush() throws {}
    func compact(_ progress: ProgressHandler) throws {}
    func verify(_ progress: ProgressHandler) throws -> String { "{}" }
    func checkpoint(to directory: String, slot: String?, _ progress: ProgressHandler) throws -> LogPosition {
        LogPosition(timeline: TimelineID(ordinal: 1, unique: UniqueID(high: 0, low: 0)), lsn: .zero, runningHash: 0)
    }
    func removeSlot(_ name: String) throws -> Bool { false }
    func changes(_ request: OwnerChangesRequest, _ visit: (Change) throws -> Void) throws {}
    func close() throws {}
}

/// An input whose pieces arrive as a test says.
final class PiecewiseSource: InputSource {
    let name = "input"
    var byteCount: UInt64? { nil }
    private let bytes: [UInt8]
    private let pieceBytes: Int
    private var position = 0

    init(bytes: [UInt8], pieceBytes: Int = .max) {
        self.bytes = bytes
        self.pieceBytes = pieceBytes
    }

    convenience init(_ text: String, pieceBytes: Int = .max) {
        self.init(bytes: Array(text.utf8), pieceBytes: pieceBytes)
    }

    func read(into buffer: inout [UInt8]) throws -> InputState {
        guard position < bytes.count else { return .end }
        let end = min(bytes.count, position + min(pieceBytes, bytes.count))
        buffer += bytes[position..<end]
        position = end
        return .more
    }

    func keep(_ start: [UInt8]) throws {}
    func seek(to offset: UInt64) throws { position = Int(offset) }
}
