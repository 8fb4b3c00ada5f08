internal import VarveIO

/// What a verification read, and what it found.
public struct VerifyReport: Sendable {
    public var tables = 0
    public var tableBytes: UInt64 = 0
    public var logSegments = 0
    public var logFrames: UInt64 = 0
    public var logBytes: UInt64 = 0
    /// Why the degraded mark is set; nil: it is not.
    public var degradedMark: String?
    /// Each damaged file, named; empty: everything is as it was written.
    public var damage: [VarveError] = []

    public init() {}

    /// One JSON object.
    public var json: String {
        var text = JSONText()
        text.add("tables", tables)
        text.add("tableBytes", tableBytes)
        text.add("logSegments", logSegments)
        text.add("logFrames", logFrames)
        text.add("logBytes", logBytes)
        text.add("degradedMark", degradedMark)
        text.add("ok", damage.isEmpty)
        text.add(
            "damage",
            damage.map { error in
                var object = JSONText()
                object.add("path", error.path)
                object.add("offset", error.offset.map { String($0) })
                object.add("message", error.message)
                return object
            })
        return text.finished()
    }
}

extension Engine {
    /// Reads every table and the whole log and checks all that can be checked. Damage does not end it: it is collected,
    /// file by file. Blocks; `progress` gets bytes done and bytes in all, and returns false to stop.
    public func verify(
        progress: (_ done: UInt64, _ total: UInt64) -> Bool = { _, _ in true }
    ) throws(VarveError) -> VerifyReport {
        var report = VerifyReport()
        let version = versions.version
        let total = version.tableBytes &* 2
        var done: UInt64 = 0
        var goesOn = true
        for table in version.allTables where goesOn {
            do throws(VarveError) {
                let reader = try tables.reader(of: table)
                try reader.verify(contentHash: table.properties.contentHash) { read in
                    goesOn = progress(done &+ read, total)
                    return goesOn
                }
            } catch {
                try collect(error, &report)
            }
            report.tables += 1
            report.tableBytes &+= table.bytes
            done &+= table.bytes &* 2
        }
        guard goesOn else { throw VarveError(.cancelled, "the verification was stopped") }
        do throws(VarveError) { try verifyLog(&report) } catch { try collect(error, &report) }
        do throws(VarveError) { try verifyManifest() } catch { try collect(error, &report) }
        do throws(VarveError) { try verifyMark() } catch { try collect(error, &report) }
        report.degradedMark = degradedMark
        return report
    }

    /// One that cannot be read counts as set.
    private func verifyMark() throws(VarveError) {
        if let mark { return try mark.verify() }
        let path = FileName.degraded.path(in: directory)
        guard let bytes = try AtomicFile.read(.degraded, in: directory, context.files, limit: DegradedMarkFile.bytes)
        else { return }
        try DegradedMarkFile(reading: bytes, path: path).check(path: path)
    }

    /// Reads CURRENT and the manifest back, up to where it must be whole.
    private func verifyManifest() throws(VarveError) {
        while true {
            let before = versions.manifestEnd
            do throws(VarveError) {
                guard let number = try CurrentFile.read(in: directory, context.files) else {
                    // A store whose creation was cut short has none, and is empty.
                    guard before != nil || visibleLSN > .zero else { return }
                    let path = FileName.current.path(in: directory)
                    throw VarveError(.missingFile, "\(path) is not there", path: path)
                }
                let closedAt = before.flatMap { $0.number == number ? $0.bytes : nil }
                _ = try ManifestReader.read(number, in: directory, context.files, closedAt: closedAt) {
                    TableFile(number: $0, properties: $1)
                }
                return
            } catch {
                // Another manifest came into force meanwhile: look at that one.
                guard versions.manifestEnd?.number != before?.number else { throw error }
            }
        }
    }

    /// Damage is a finding; anything else ends the verification.
    private func collect(_ error: VarveError, _ report: inout VerifyReport) throws(VarveError) {
        switch error.code {
        case .corruption, .missingFile, .unsupportedFormat: report.damage.append(error)
        default: throw error
        }
    }

    private func verifyLog(_ report: inout VerifyReport) throws(VarveError) {
        report.logSegments = catalog.segments.count
        guard let oldest = catalog.oldestLSN else { return }
        if let writing { try writing.log.sync() }
        let after = LSN(oldest.rawValue &- 1)
        let reader: LogReader
        if let writing {
            reader = try LogReader(writing.log, after: after)
        } else {
            reader = try LogReader(catalog, through: openedAt.lsn, after: after)
        }
        while let frame = try reader.next() {
            report.logFrames &+= 1
            report.logBytes &+= UInt64(frame.length)
            if writing == nil, frame.positionAfter.lsn >= openedAt.lsn { break }
        }
    }
}
