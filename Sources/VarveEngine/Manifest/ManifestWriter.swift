internal import VarveIO

/// Appends version edits to a manifest. Each edit is one frame, on disk before `append` returns; after a failure the end
/// of the file is unknown, and the writer takes nothing more.
///
/// One at a time: `VersionSet` serialises its use.
final class ManifestWriter {
    let number: FileNumber
    private let file: any File
    private let encoder: FrameEncoder
    private(set) var bytes: UInt64
    /// Its length when it began: what the edit that says everything took.
    private(set) var snapshotBytes: UInt64 = 0
    private var failure: VarveError?

    /// Begins a new manifest with one edit that says everything. It is on disk, under its name, when this returns, but
    /// not in force before CURRENT names it. Where it throws nothing is left. `salt` is random but for tests that compare
    /// bytes.
    init(
        _ number: FileNumber, _ snapshot: VersionEdit, identity: StoreIdentity, timeline: TimelineID,
        editNumber: UInt64, salt: UInt64 = .random(in: .min ... .max), in directory: String, _ files: any FileSystem
    ) throws(VarveError) {
        self.number = number
        let position = LogPosition(timeline: timeline, lsn: LSN(editNumber &- 1), runningHash: 0)
        let header = SegmentHeader(
            magic: LogFormat.manifestMagic, storeID: identity.storeID, nodeID: identity.nodeID, timeline: timeline,
            firstLSN: LSN(editNumber), runningHash: 0, time: Timestamp(editNumber &- 1),
            salt: salt, fileNumber: number)
        encoder = FrameEncoder(
            salt: header.salt, position: position, lastCommitTime: header.time, compresses: false)
        let path = FileName.manifest(number).path(in: directory)
        file = try lifted { () throws(IOError) in
            // A leftover of a creation that was cut short has this name too.
            if try files.exists(path) { try files.remove(path) }
            return try files.open(path, .createNew)
        }
        bytes = UInt64(LogFormat.headerBytes)
        do throws(VarveError) {
            try lifted { () throws(IOError) in try file.write(header.encoded(), at: 0) }
            try append(snapshot)
            snapshotBytes = bytes
            try lifted { () throws(IOError) in try files.syncDirectory(directory) }
        } catch {
            file.close()
            // The first failure is the one to tell; a manifest that CURRENT does not name is removed at the next open.
            try? files.remove(path)
            throw error
        }
    }

    /// False after a failure: what is to be said next needs another manifest.
    var isUsable: Bool { failure == nil }

    /// Appends an edit; it is durable when this returns. Where it throws `.diskFull` the edit is not on disk: its frame is
    /// not whole.
    func append(_ edit: VersionEdit) throws(VarveError) {
        if let failure { throw failure }
        var payload = ByteBuffer(capacity: 1024)
        edit.encode(to: &payload)
        guard payload.count <= Limits.manifestEditBytes else {
            throw VarveError(.limitExceeded, "a version edit of \(payload.count) bytes is above its limit")
        }
        let frame = unsafe encoder.encode(
            .versionEdit, payload.bytes, count: 1, commitTime: encoder.lastCommitTime + 1, flags: .critical,
            syncedLSN: encoder.position.lsn)
        do throws(VarveError) {
            try lifted { () throws(IOError) in unsafe try file.write(frame, at: bytes) }
            do throws(IOError) { try file.sync() } catch { throw VarveError(unknownOutcome: error) }
        } catch {
            failure = error
            throw error
        }
        bytes += UInt64(frame.count)
    }

    func close() { file.close() }
}
