internal import VarveIO

/// Reads a manifest back: the fold of its edits.
///
/// An edit that was being written when the power went is not there: it had not been acknowledged. A bad frame before the
/// end that the next frame, or the record of a clean close, says was synced is damage.
struct ManifestReader {
    var state: ManifestState
    var version: Version
    /// Where the last whole edit ends.
    var end: UInt64
    var editNumber: UInt64

    static func read(
        _ number: FileNumber, in directory: String, _ files: any FileSystem, closedAt closedEnd: UInt64? = nil,
        makeTable: (FileNumber, TableProperties) -> TableFile
    ) throws(VarveError) -> ManifestReader {
        let path = FileName.manifest(number).path(in: directory)
        let bytes: [UInt8] = try lifted { () throws(IOError) in
            let file = try files.open(path, .read)
            defer { file.close() }
            return try file.readAll(atMost: Limits.manifestBytes)
        }
        let outcome: Result<ManifestReader, VarveError> = unsafe bytes.withBytes { bytes in
            do throws(VarveError) {
                return .success(unsafe try fold(bytes, number, path, closedEnd, makeTable))
            } catch {
                return .failure(error)
            }
        }
        return try outcome.get()
    }

    private static func fold(
        _ bytes: UnsafeRawBufferPointer, _ number: FileNumber, _ path: String, _ closedEnd: UInt64?,
        _ makeTable: (FileNumber, TableProperties) -> TableFile
    ) throws(VarveError) -> ManifestReader {
        guard bytes.count >= LogFormat.headerBytes else {
            throw .corruption("the header ends too soon", path: path, offset: 0)
        }
        let header: SegmentHeader
        do {
            header = unsafe try SegmentHeader(
                decoding: UnsafeRawBufferPointer(rebasing: bytes[..<LogFormat.headerBytes]),
                magic: LogFormat.manifestMagic)
        } catch {
            throw .corruption(error, in: "the header", path: path, offset: 0)
        }
        guard header.fileNumber == number else {
            throw .corruption(
                "its header names file number \(header.fileNumber); it is another file under this name", path: path)
        }
        let decoder = FrameDecoder(header)
        var offset = LogFormat.headerBytes
        var reader: ManifestReader?
        while offset < bytes.count {
            let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[offset...])
            let frame: DecodedFrame
            do { frame = unsafe try decoder.decode(rest) } catch {
                if case .unsupported = error {
                    throw VarveError(.unsupportedFormat, "\(path): \(error.text)", path: path, offset: UInt64(offset))
                }
                unsafe try judge(error, rest, header, at: offset, closedEnd, path)
                break
            }
            try take(frame, into: &reader, at: offset, path, makeTable)
            offset += frame.length
        }
        guard var reader else { throw .corruption("it holds no whole edit", path: path, offset: UInt64(offset)) }
        if let closedEnd, UInt64(offset) < closedEnd {
            throw .corruption(
                "it ends at \(offset), but the store was closed with it at \(closedEnd)", path: path,
                offset: UInt64(offset))
        }
        reader.end = UInt64(offset)
        return reader
    }

    private static func take(
        _ frame: DecodedFrame, into reader: inout ManifestReader?, at offset: Int, _ path: String,
        _ makeTable: (FileNumber, TableProperties) -> TableFile
    ) throws(VarveError) {
        guard frame.header.kind == .versionEdit else {
            throw .corruption("a frame of kind \(frame.header.kind) is no edit", path: path, offset: UInt64(offset))
        }
        let edit: VersionEdit
        do {
            var payload = unsafe ByteReader(frame.payload)
            edit = try VersionEdit.decode(from: &payload)
        } catch {
            throw .corruption(error, in: "a version edit", path: path, offset: UInt64(offset))
        }
        let number = frame.header.firstLSN.rawValue
        do throws(EditConflict) {
            if var known = reader {
                try known.state.apply(edit)
                known.version = try known.version.applying(edit, number: number, makeTable: makeTable).version
                known.editNumber = number
                reader = known
            } else {
                let state = try ManifestState(snapshot: edit)
                let version = try Version.empty(flushed: state.flushed)
                    .applying(edit, number: number, makeTable: makeTable).version
                reader = ManifestReader(state: state, version: version, end: 0, editNumber: number)
            }
        } catch {
            throw .corruption(
                "a version edit contradicts those before it: \(error)", path: path, offset: UInt64(offset))
        }
    }

    /// Throws where what stands after a bad frame proves that it had been synced.
    private static func judge(
        _ fault: FrameFault, _ rest: UnsafeRawBufferPointer, _ header: SegmentHeader, at offset: Int,
        _ closedEnd: UInt64?, _ path: String
    ) throws(VarveError) {
        let evidence = unsafe FrameSearch.evidence(in: rest, salt: header.salt, floor: header.firstLSN)
        let isBeforeClose = closedEnd.map { UInt64(offset) < $0 } ?? false
        // Every edit is synced before the next is written: any whole frame behind proves this one.
        if evidence.synced > .zero || isBeforeClose {
            throw .corruption(fault.text, path: path, offset: UInt64(offset))
        }
        if evidence.gaveUp {
            throw .corruption("\(fault.text); \(FrameSearch.gaveUpText)", path: path, offset: UInt64(offset))
        }
    }
}
