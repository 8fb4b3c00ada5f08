import Foundation
internal import Varve
internal import VarveEngine

/// A store that another process has open: its owner answers what reads; what writes is refused with the owner's name.
final class OwnedStore: StoreCommands {
    private let client: OwnerClient

    init(_ client: OwnerClient) { self.client = client }

    private var refusal: VarveError {
        VarveError(
            .storeInUse,
            "\(client.program) (process \(client.processID)) has the store open and takes writes through its own door only"
        )
    }

    func get(_ key: [UInt8], in namespace: String) throws -> Record? {
        try client.entry(key, in: try client.namespace(named: namespace)).flatMap(OwnedStore.record)
    }

    func scan(_ range: ScanRange, _ visit: (Record) throws -> Bool) throws {
        var failure: (any Error)?
        var left = range.limit
        guard left > 0 else { return }
        // What has no value does not count, so the owner is stopped here.
        try client.scan(
            in: try client.namespace(named: range.namespace), prefix: range.prefix ?? [], from: range.from,
            to: range.to, reverse: range.isReverse, limit: nil
        ) { (entry) throws(VarveError) in
            guard let record = OwnedStore.record(entry) else { return true }
            left -= 1
            do { return try visit(record) && left > 0 } catch {
                failure = error
                return false
            }
        }
        if let failure { throw failure }
    }

    /// Nil for what says that there is none.
    private static func record(_ entry: OwnerClient.Entry) -> Record? {
        if StoredAbsence.isMarked(by: entry.valueType) { return nil }
        return Record(key: entry.key, value: entry.value, expiresAt: entry.usableUntil)
    }

    func put(_ record: Record, _ options: WriteOptions) throws { throw refusal }
    func delete(_ keys: [[UInt8]], _ options: WriteOptions) throws { throw refusal }
    func commit(_ records: [Record], progress: LoadProgressUpdate, _ options: WriteOptions) throws { throw refusal }
    func loadProgress(_ key: [UInt8]) throws -> [UInt8]? { throw refusal }

    func statistics() throws -> String { try client.statistics() }
    func flush() throws { try client.flush() }

    func compact(_ progress: ProgressHandler) throws {
        try client.compact(from: nil, to: nil) { OwnedStore.tell($0, progress) }
    }

    func verify(_ progress: ProgressHandler) throws -> String {
        try client.verify { OwnedStore.tell($0, progress) }
    }

    func checkpoint(to directory: String, slot: String?, _ progress: ProgressHandler) throws -> LogPosition {
        try client.checkpoint(to: directory, slot: slot) { OwnedStore.tell($0, progress) }
    }

    func changes(_ request: OwnerChangesRequest, _ visit: (Change) throws -> Void) throws {
        var failure: (any Error)?
        do {
            try client.forEachChange(request) { (change) throws(VarveError) in
                do { try visit(change) } catch { failure = error }
                return failure == nil
            }
        } catch {
            // Where the owner closed the store, or died, what it had made durable has come.
            guard error.code == .closed, request.follows else { throw error }
        }
        if let failure { throw failure }
    }

    func removeSlot(_ name: String) throws -> Bool { try client.removeSlot(name) }
    func close() throws { client.close() }

    private static func tell(_ now: OwnerProgress, _ progress: ProgressHandler) -> Bool {
        progress(now.stage, now.done, now.total)
        return true
    }
}
