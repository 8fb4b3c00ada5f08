import Foundation
internal import Varve
internal import VarveEngine

/// A store that this process opened.
final class EngineStore: StoreCommands {
    private let engine: Engine

    init(_ engine: Engine) { self.engine = engine }

    /// The namespace of that name, which must be there.
    private func known(_ name: String) throws -> Namespace {
        guard let namespace = try engine.existingNamespace(named: name) else {
            throw VarveError(.invalidArgument, "the store has no namespace named \"\(name)\"")
        }
        return namespace
    }

    func get(_ key: [UInt8], in namespace: String) throws -> Record? {
        guard let found = try engine.get(key, in: try known(namespace)),
            !StoredAbsence.isMarked(by: found.valueType)
        else { return nil }
        return Record(key: key, value: found.bytes, expiresAt: found.usableUntil)
    }

    func scan(_ range: ScanRange, _ visit: (Record) throws -> Bool) throws {
        let iterator = try engine.makeIterator(
            in: try known(range.namespace), prefix: range.prefix ?? [], from: range.from, to: range.to)
        if range.isReverse { try iterator.seekToLast() } else { try iterator.seekToFirst() }
        var left = range.limit
        while left > 0, iterator.isValid {
            let fields = try iterator.fields()
            if !StoredAbsence.isMarked(by: fields.valueType) {
                let record = Record(key: iterator.key, value: iterator.value, expiresAt: fields.usableUntil)
                guard try visit(record) else { return }
                left -= 1
            }
            if range.isReverse { try iterator.previous() } else { try iterator.next() }
        }
    }

    func put(_ record: Record, _ options: WriteOptions) throws {
        var batch = WriteBatch()
        try batch.put(
            record.key, record.value, fields(record, options), in: try engine.namespace(named: options.namespace))
        try engine.write(batch, durability: options.engineDurability)
    }

    func delete(_ keys: [[UInt8]], _ options: WriteOptions) throws {
        var batch = WriteBatch()
        let namespace = try known(options.namespace)
        for key in keys { try batch.delete(key, in: namespace) }
        try engine.write(batch, durability: options.engineDurability)
    }

    func commit(_ records: [Record], progress: LoadProgressUpdate, _ options: WriteOptions) throws {
        var batch = WriteBatch()
        let namespace = try engine.namespace(named: options.namespace)
        for record in records { try batch.put(record.key, record.value, fields(record, options), in: namespace) }
        if let value = progress.value {
            try batch.put(progress.key, value, in: .loadProgress)
        } else {
            try batch.delete(progress.key, in: .loadProgress)
        }
        try engine.write(batch, durability: options.engineDurability)
    }

    func loadProgress(_ key: [UInt8]) throws -> [UInt8]? { try engine.get(key, in: .loadProgress)?.bytes }

    /// The entry's own time, else the one that the command gives.
    private func fields(_ record: Record, _ options: WriteOptions) -> EntryFields {
        let until = record.expiresAt ?? options.timeToLive.map { engine.storeTime.saturatingAdd($0) }
        return until.map { EntryFields(usableUntil: $0) } ?? .none
    }

    func statistics() throws -> String { try engine.statisticsByNamespace().json }
    func flush() throws { try engine.flush() }
    func compact(_ progress: ProgressHandler) throws { try engine.compact() }

    /// Throws the first damage; the others go to standard error, so that no damaged file stays unnamed.
    func verify(_ progress: ProgressHandler) throws -> String {
        let report = try engine.verify { done, total in
            progress("verify", done, total)
            return true
        }
        guard let first = report.damage.first else { return report.json }
        for error in report.damage.dropFirst() { StandardError.print("varve: \(error)") }
        throw first
    }

    func checkpoint(to directory: String, slot: String?, _ progress: ProgressHandler) throws -> LogPosition {
        try engine.checkpoint(to: directory, slot: slot) { progress("checkpoint", $0, $1) }
    }

    func changes(_ request: OwnerChangesRequest, _ visit: (Change) throws -> Void) throws {
        var scope = ChangeScope(namespaces: [], prefix: request.prefix)
        scope.includesStoreRecords = request.includesStoreRecords
        scope.namespaces = try request.namespaces.map(known)
        var failure: (any Error)?
        try engine.forEachChange(scope, from: request.start) { (change) throws(VarveError) in
            do { try visit(change) } catch { failure = error }
            return failure == nil
        }
        if let failure { throw failure }
    }

    func removeSlot(_ name: String) throws -> Bool { try engine.removeSlot(name) }

    func close() throws { try engine.close() }
}

extension Timestamp {
    /// The sum, or the last moment there is.
    fileprivate func saturatingAdd(_ duration: Int64) -> Timestamp {
        let (sum, overflow) = addingReportingOverflow(duration)
        return overflow ? .max : sum
    }
}

extension WriteOptions {
    var engineDurability: Durability? {
        switch durability {
        case .synced: .synced
        case .interval: .interval
        case nil: nil
        }
    }
}
