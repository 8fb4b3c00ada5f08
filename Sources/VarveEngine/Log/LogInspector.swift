internal import VarveIO

/// Prints a segment of the log (or a manifest's frames) as text: what `varve inspect` shows and script tests compare.
struct LogInspector {
    let fileSystem: any FileSystem
    let path: String
    /// Only frames that end at or after this LSN.
    var since = LSN.zero
    /// Only batches that touch this user key, and of those only its records.
    var key: [UInt8]?
    /// Prints each record of a batch.
    var showsRecords = true

    /// Calls `line` for each line. Damage is a line, not an error: the file is shown as far as it can be read.
    func run(magic: UInt64 = LogFormat.logMagic, _ line: (String) -> Void) throws(VarveError) {
        let file = try SegmentFile(fileSystem, path, at: 0)
        try file.fill(LogFormat.headerBytes)
        let header: SegmentHeader
        do {
            header = unsafe try SegmentHeader(decoding: file.available, magic: magic)
        } catch {
            throw .corruption(error, in: "the header", path: path, offset: 0)
        }
        for text in LogInspector.describe(header) { line(text) }
        file.advance(LogFormat.headerBytes)
        let decoder = FrameDecoder(header)
        while true {
            let offset = file.offset
            switch try file.decode(decoder) {
            case .success(let frame):
                if frame.header.lastLSN >= since, touchesKey(frame) { describe(frame, offset, line) }
                file.advance(frame.length)
            case .failure(.absent):
                line("end at \(offset), LSN \(decoder.position?.lsn ?? .zero)")
                return
            case .failure(let fault):
                line("no frame at \(offset): \(fault.text)")
                return
            }
        }
    }

    static func describe(_ header: SegmentHeader) -> [String] {
        [
            "segment \(header.fileNumber) of store \(header.storeID), node \(header.nodeID)",
            "begins at LSN \(header.firstLSN), timeline \(header.timeline), running hash \(hexadecimal(header.runningHash))",
            "time \(header.time), salt \(hexadecimal(header.salt)), features \(hexadecimal(header.requiredFeatures))"
                + "/\(hexadecimal(header.optionalFeatures)), key \(header.keyID)",
        ]
    }

    private func describe(_ frame: DecodedFrame, _ offset: Int, _ line: (String) -> Void) {
        let header = frame.header
        var flags: [String] = []
        if header.flags.contains(.restart) { flags.append("restart") }
        if header.flags.contains(.critical) { flags.append("critical") }
        if header.flags.contains(.origin) { flags.append("origin") }
        let codec = header.codec == FrameCodec.stored ? "stored" : "lz4"
        line(
            "\(offset): \(header.kind) \(header.firstLSN)...\(header.lastLSN) time \(header.commitTime)"
                + " synced \(header.syncedLSN) \(frame.length) bytes, \(frame.rawLength) raw \(codec)"
                + (flags.isEmpty ? "" : " [\(flags.joined(separator: " "))]")
                + " -> \(hexadecimal(frame.positionAfter.runningHash))")
        guard showsRecords else { return }
        do throws(DecodeError) {
            for text in try describe(payload: frame) { line("    " + text) }
        } catch {
            line("    a payload that does not decode")
        }
    }

    private func describe(payload frame: DecodedFrame) throws(DecodeError) -> [String] {
        switch frame.header.kind {
        case .batch:
            var lines: [String] = []
            var reader = unsafe BatchReader(frame.payload)
            while let record = try reader.next() {
                if let key, unsafe !record.key.elementsEqual(key) { continue }
                lines.append(LogInspector.describe(record))
            }
            return lines
        case .clock:
            let clock = unsafe try ClockRecord.decode(frame.payload)
            return ["\(clock.change) at \(clock.reading), offset \(clock.offset)"]
        case .timeline:
            let origin = unsafe try TimelineRecord.decode(frame.payload)
            let parent = origin.parent.map { "from \($0)" } ?? "without parent"
            return ["\(origin.timeline) \(parent) after LSN \(origin.forkLSN): \(origin.reason)"]
        case .mark:
            return [unsafe LogInspector.escaped(frame.payload)]
        case .versionEdit:
            var reader = unsafe ByteReader(frame.payload)
            return VersionEditText.lines(try VersionEdit.decode(from: &reader))
        default:
            return []
        }
    }

    private static func describe(_ record: BatchRecord) -> String {
        let key = unsafe "\(record.namespace.rawValue)/\(escaped(record.key))"
        switch record.kind {
        case .put:
            return unsafe "put \(key) (\(record.entry.count) bytes)"
        case .delete:
            return "delete \(key)"
        case .rangeDelete:
            let end = unsafe record.entry.count == 0 ? "end" : escaped(record.entry)
            return "delete range \(key) ..< \(end)"
        }
    }

    private func touchesKey(_ frame: DecodedFrame) -> Bool {
        guard let key else { return true }
        guard frame.header.kind == .batch else { return false }
        var reader = unsafe BatchReader(frame.payload)
        while let record = try? reader.next() {
            if unsafe record.key.elementsEqual(key) { return true }
        }
        return false
    }

    /// Printable ASCII as it is, other bytes as \xNN; long keys are cut.
    private static func escaped(_ bytes: UnsafeRawBufferPointer) -> String {
        var text = ""
        let shown = unsafe Array(bytes.prefix(64))
        for byte in shown {
            if byte >= 0x20, byte < 0x7F, byte != UInt8(ascii: "\\") {
                text.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                text += "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
            }
        }
        return bytes.count > 64 ? text + "..." : text
    }
}
