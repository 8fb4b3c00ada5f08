internal import Synchronization
internal import VarveIO

/// The current version, and the one way to change it: an edit is tried on a copy, made durable in the manifest, then
/// installed. Any thread; edits are serialised.
///
/// A manifest that has grown to 4 MiB, and to twice what it began with, is replaced by a new one, so that a byte of edits
/// costs at most another of snapshots; and so is one whose last edit met a full disk: that edit is not there, and the
/// next may find room. After any other failure it is unknown what the manifest says: no more edits are taken, and the
/// store must be opened anew.
final class VersionSet: Sendable {
    private struct Current {
        var version: Version
        var state: ManifestState
    }
    /// The writer's side; held while an edit is written.
    private struct Writing: ~Copyable {
        var writer: ManifestWriter?
        var editNumber: UInt64
        var failure: VarveError?
    }

    let obsolete: ObsoleteFiles
    private let files: any FileSystem
    private let directory: String
    private let installed: Mutex<Current>
    // Lock order: this one, then `installed`.
    private let writing: Monitor<Box>
    private let nextNumber: Atomic<UInt64>

    private final class Box: @unchecked Sendable {
        // Unchecked: touched under the monitor's lock only.
        var writing: Writing
        init(_ writing: consuming Writing) { self.writing = writing }
    }

    /// The size from which a manifest is replaced; a test may want it smaller.
    static let usualRollBytes: UInt64 = 4 << 20
    private let rollBytes: UInt64

    private init(
        files: any FileSystem, directory: String, version: Version, state: ManifestState, editNumber: UInt64,
        nextNumber: FileNumber, rollBytes: UInt64, obsolete: ObsoleteFiles
    ) {
        self.obsolete = obsolete
        self.files = files
        self.directory = directory
        self.rollBytes = rollBytes
        installed = Mutex(Current(version: version, state: state))
        self.nextNumber = Atomic(nextNumber)
        writing = Monitor(Box(Writing(writer: nil, editNumber: editNumber, failure: nil)))
    }

    /// State and version of one moment.
    var current: (state: ManifestState, version: Version) { installed.withLock { ($0.state, $0.version) } }
    var version: Version { installed.withLock { $0.version } }
    var state: ManifestState { installed.withLock { $0.state } }
    /// The manifest in force and its length; nil for a store that was opened to read.
    var manifestEnd: (number: FileNumber, bytes: UInt64)? {
        writing.withLock { box in box.writing.writer.map { ($0.number, $0.bytes) } }
    }

    /// A number that no file had.
    func takeFileNumber() -> FileNumber { nextNumber.wrappingAdd(1, ordering: .relaxed).oldValue }

    /// Makes an edit durable and installs the version that it makes.
    func logAndApply(_ edit: VersionEdit) throws(VarveError) {
        try writing.withLock { (box) throws(VarveError) in
            if let failure = box.writing.failure { throw failure }
            var edit = edit
            edit.nextFileNumber = nextNumber.load(ordering: .relaxed)
            let before = installed.withLock { $0 }
            var state = before.state
            let number = box.writing.editNumber + 1
            let version: Version
            let removed: [TableFile]
            do throws(EditConflict) {
                try state.apply(edit)
                (version, removed) = try before.version.applying(edit, number: number) { number, properties in
                    TableFile(number: number, properties: properties, collector: obsolete)
                }
            } catch {
                // A mistake of ours, caught before it reached the disk.
                throw VarveError(.invalidArgument, "a version edit does not fit its version: \(error)")
            }
            do throws(VarveError) {
                try write(edit, state, version, number, &box.writing)
            } catch {
                if error.code != .diskFull { box.writing.failure = error }
                throw error
            }
            box.writing.editNumber = number
            installed.withLock { $0 = Current(version: version, state: state) }
            for table in removed { table.markObsolete() }
        }
    }

    /// A store that follows is a copy of another one from then on, even if it was written before: it must not go on with a
    /// timeline that its source goes on with as well. Durable when this returns.
    func markAsCopy(at position: LogPosition) throws(VarveError) {
        guard state.checkpointOrigin == nil else { return }
        var edit = VersionEdit()
        edit.origin = .checkpoint(of: position)
        try logAndApply(edit)
    }

    private func write(
        _ edit: VersionEdit, _ state: ManifestState, _ version: Version, _ number: UInt64, _ writing: inout Writing
    ) throws(VarveError) {
        if let writer = writing.writer, writer.isUsable, writer.bytes < max(rollBytes, 2 * writer.snapshotBytes) {
            return try writer.append(edit)
        }
        let old = writing.writer
        try begin(state, version, number, &writing)
        if let old {
            old.close()
            obsolete.add(.manifest(old.number))
        }
    }

    /// Begins a manifest that says all of `state` and `version`, and makes it the one in force.
    private func begin(
        _ state: ManifestState, _ version: Version, _ editNumber: UInt64, _ writing: inout Writing
    ) throws(VarveError) {
        let fileNumber = takeFileNumber()
        var state = state
        state.nextFileNumber = nextNumber.load(ordering: .relaxed)
        let writer = try ManifestWriter(
            fileNumber, state.snapshot(of: version), identity: state.identity, timeline: state.timelines.current,
            editNumber: editNumber, in: directory, files)
        do throws(VarveError) {
            try CurrentFile.write(fileNumber, in: directory, files)
        } catch {
            writer.close()
            if error.code == .diskFull { obsolete.add(.manifest(fileNumber)) }
            throw error
        }
        writing.writer = writer
    }

    /// Takes over timelines that the log tells of and the manifest does not yet (a crash came between, or a follower's
    /// source began them).
    func learn(_ timelines: [TimelineOrigin]) throws(VarveError) {
        let known = Set(state.timelines.origins.map(\.timeline))
        var edit = VersionEdit()
        edit.timelines = timelines.filter { !known.contains($0.timeline) }
        guard !edit.timelines.isEmpty else { return }
        if manifestEnd != nil { return try logAndApply(edit) }
        // A reader learns it for itself alone.
        installed.withLock { current in
            var state = current.state
            if (try? state.apply(edit)) != nil { current.state = state }
        }
    }

    func close() { writing.withLock { $0.writing.writer?.close() } }

    /// Takes no edit any more: another set goes on with the store's manifest.
    func retire() {
        writing.withLock { box in
            box.writing.writer?.close()
            box.writing.writer = nil
            box.writing.failure =
                box.writing.failure
                ?? VarveError(.closed, "the store was opened anew in this process; ask the one that is open now")
        }
    }
}

extension VersionSet {
    /// A new, empty store. Crash-safe: before CURRENT is there, there is no store. `isDurable` false: it is only shown
    /// (to who reads a store whose creation was cut short), and nothing is written.
    static func create(
        identity: StoreIdentity, first: TimelineOrigin, in directory: String, _ files: any FileSystem,
        isDurable: Bool = true, rollBytes: UInt64 = usualRollBytes
    ) throws(VarveError) -> VersionSet {
        let position = LogPosition(timeline: first.timeline, lsn: .zero, runningHash: 0)
        var edit = VersionEdit()
        edit.identity = identity
        edit.options = BoundOptions()
        edit.nextFileNumber = 1
        edit.flushed = position
        edit.lastCommitTime = 0
        edit.clock = .start
        edit.timelines = [first]
        let state: ManifestState
        do { state = try ManifestState(snapshot: edit) } catch {
            throw VarveError(.invalidArgument, "a new store cannot begin so: \(error)")
        }
        let set = VersionSet(
            files: files, directory: directory, version: .empty(flushed: position), state: state, editNumber: 0,
            nextNumber: 1, rollBytes: rollBytes, obsolete: ObsoleteFiles())
        if isDurable { try set.beginManifest() }
        return set
    }

    /// The store that CURRENT names; nil where there is none. `forWriting` begins a manifest of its own, so that a torn
    /// end of the old one needs no mending.
    static func open(
        in directory: String, _ files: any FileSystem, closed: CleanClose?, forWriting: Bool,
        minimumFileNumber: FileNumber, rollBytes: UInt64 = usualRollBytes,
        admit: (ManifestState) throws(VarveError) -> Void = { _ in }
    ) throws(VarveError) -> VersionSet? {
        guard let number = try CurrentFile.read(in: directory, files) else { return nil }
        let path = FileName.manifest(number).path(in: directory)
        guard try lifted({ () throws(IOError) in try files.exists(path) }) else {
            throw VarveError(.missingFile, "\(path), which CURRENT names, is not there", path: path)
        }
        let set = try read(number, in: directory, files, closed, minimumFileNumber, rollBytes)
        try set.state.options.check(path: path)
        try admit(set.state)
        if forWriting {
            try set.beginManifest()
            set.obsolete.add(.manifest(number))
        }
        return set
    }

    private static func read(
        _ number: FileNumber, in directory: String, _ files: any FileSystem, _ closed: CleanClose?,
        _ minimumFileNumber: FileNumber, _ rollBytes: UInt64
    ) throws(VarveError) -> VersionSet {
        let closedEnd = closed.flatMap { $0.manifest == number ? $0.manifestBytes : nil }
        let obsolete = ObsoleteFiles()
        // Tables of edits on the way are let go without ever being marked obsolete, so nothing is deleted for them.
        let reader = try ManifestReader.read(number, in: directory, files, closedAt: closedEnd) { number, properties in
            TableFile(number: number, properties: properties, collector: obsolete)
        }
        let next = max(reader.state.nextFileNumber, minimumFileNumber, number + 1)
        return VersionSet(
            files: files, directory: directory, version: reader.version, state: reader.state,
            editNumber: reader.editNumber, nextNumber: next, rollBytes: rollBytes, obsolete: obsolete)
    }

    private func beginManifest() throws(VarveError) {
        try writing.withLock { (box) throws(VarveError) in
            let now = installed.withLock { $0 }
            let number = box.writing.editNumber + 1
            do throws(VarveError) {
                try begin(now.state, now.version, number, &box.writing)
            } catch {
                box.writing.failure = error
                throw error
            }
            box.writing.editNumber = number
        }
    }
}
