@testable import VarveEngine

/// A table in memory, as a job's output.
final class ArrayOutput: RunOutput {
    let number: FileNumber
    private(set) var versions: [TestVersion] = []
    private(set) var tombstones = RangeTombstones.none
    private(set) var isFinished = false

    init(number: FileNumber) { self.number = number }

    var estimatedBytes: UInt64 { versions.reduce(0) { $0 + UInt64($1.key.count + $1.entry.count) } }

    func add(_ key: UnsafeRawBufferPointer, _ trailer: Trailer, _ entry: UnsafeRawBufferPointer) throws(VarveError) {
        let version = unsafe TestVersion(Array(key), trailer, Array(entry))
        if let last = versions.last { precondition(last < version, "out of order") }
        versions.append(version)
    }

    func finish(_ tombstones: RangeTombstones) throws(VarveError) -> TableProperties {
        isFinished = true
        self.tombstones = tombstones
        var properties = TableProperties()
        properties.fileBytes = estimatedBytes
        let firstKeys = [versions.first?.key, tombstones.begin].compactMap { $0 }
        properties.smallestKey = firstKeys.min(by: RangeTombstone.isBefore) ?? []
        properties.largestKey = versions.last?.key ?? []
        if let end = tombstones.end, RangeTombstone.isBefore(properties.largestKey, end) || versions.isEmpty {
            properties.largestKey = end
            properties.largestKeyIsExclusive = true
        }
        return properties
    }
}

/// What a reader finds in points and tombstones: the LSN of the value, or nil.
func readModel(
    _ key: [UInt8], at snapshot: LSN, now: Timestamp, _ points: [TestVersion], _ tombstones: [RangeTombstones]
) throws -> LSN? {
    let newest = points.filter { $0.key == key && $0.lsn <= snapshot }.max { $0.lsn < $1.lsn }
    guard let newest, newest.trailer.kind == .put else { return nil }
    let isHidden = key.lend { bytes in
        tombstones.contains { unsafe $0.hides(bytes, version: newest.lsn, at: snapshot) }
    }
    if isHidden { return nil }
    let isExpired = try newest.entry.lend { try unsafe EntryView($0).isExpired(at: now) }
    return isExpired ? nil : newest.lsn
}
