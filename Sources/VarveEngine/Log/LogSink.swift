internal import Synchronization
internal import VarveIO

/// The segment that takes frames now, or that took frames which are not synced yet.
final class WritableSegment: Sendable {
    let segment: LogSegment
    let file: any File
    let map: (any StoreMap)?
    let capacity: Int

    init(segment: LogSegment, file: any File, map: (any StoreMap)?, capacity: Int) {
        self.segment = segment
        self.file = file
        self.map = map
        self.capacity = capacity
    }
}

/// How an append reaches the file.
enum AppendRoute: Sendable {
    /// Stored into the mapped segment at once: it survives the death of the process.
    case map
    /// Kept in memory until `writeBuffered`, a sync or an append by `map`: many frames share one write call. Only for
    /// writes that are not acknowledged before one of these. Where there is no map it is written at once: see `LogSink`.
    case buffer
}

/// Puts frames into segments and makes them durable. Appending is for one thread at a time (the commit lock); a sync may
/// run beside it.
///
/// What is buffered is written under the buffer's lock, so that an append through the map never lands behind a hole. Any
/// failure of a write or sync poisons the sink: the outcome is unknown, and nothing after it may be acknowledged.
///
/// One failure is no such end: where the file system offers no map it may need space for a write into allocated space
/// (copy on write), so every frame is written at once there, none is buffered, and an append that meets a full disk has
/// done nothing: the next frame is written over what it left.
@safe
final class LogSink: @unchecked Sendable {
    // Unchecked: `current` and `end` belong to the appending thread, `lock` guards `shared`, the rest is atomic.
    private(set) var current: WritableSegment?
    /// Where the next frame goes in `current`.
    private(set) var end = 0

    private struct Shared: ~Copyable {
        /// Frames not yet written, and where in the current segment they go.
        var pending = ByteBuffer(capacity: 64 << 10)
        var pendingOffset = 0
        /// Segments with bytes that are not synced, oldest first; the last is the current one.
        var dirty: [WritableSegment] = []
        /// Names were given that the folder has not synced.
        var directoryIsDirty = false
        var failure: VarveError?
    }
    private var shared = Shared()
    private let lock = ConditionLock(conditions: 0)
    /// Told once, on the thread that met the failure and before anybody who waits hears of it. It may hold the commit lock.
    let didFail = LogHook<VarveError>()
    private let fileSystem: any FileSystem
    private let directory: String
    private let hasPending = Atomic<Bool>(false)
    private let isPoisoned = Atomic<Bool>(false)
    private let appended: Atomic<UInt64>
    private let synced: Atomic<UInt64>

    /// - Parameter unsynced: segments of before that the first sync makes durable.
    init(
        fileSystem: any FileSystem, directory: String, lsn: LSN, synced: LSN, unsynced: [LogSegment]
    ) throws(VarveError) {
        self.fileSystem = fileSystem
        self.directory = directory
        appended = Atomic(lsn.rawValue)
        self.synced = Atomic(synced.rawValue)
        for segment in unsynced {
            let file = try lifted { () throws(IOError) in try fileSystem.open(segment.path, .readWrite) }
            shared.dirty.append(WritableSegment(segment: segment, file: file, map: nil, capacity: 0))
        }
    }

    /// Writes a segment's bytes over themselves, so that the next sync writes them all.
    ///
    /// A sync that fails leaves pages which the kernel calls clean though the disk never had them. The process that met it
    /// stopped; the next one, under the same boot, reads these pages and would be told that their sync succeeded.
    static func rewrite(_ segment: LogSegment, in fileSystem: any FileSystem) throws(VarveError) {
        try lifted { () throws(IOError) in
            let file = try fileSystem.open(segment.path, .readWrite)
            defer { file.close() }
            let size = try file.size()
            var offset: UInt64 = 0
            while offset < size {
                let piece = try file.read(count: Int(min(1 << 20, size - offset)), at: offset)
                guard !piece.isEmpty else { return }
                try file.write(piece, at: offset)
                offset += UInt64(piece.count)
            }
        }
    }

    var appendedLSN: LSN { LSN(appended.load(ordering: .acquiring)) }
    /// Published by the sync that reached it; `GroupSync` tells waiters of it.
    @inline(__always)
    var syncedLSN: LSN { LSN(synced.load(ordering: .relaxed)) }

    /// Bytes left in the current segment.
    @inline(__always)
    var room: Int { current.map { $0.capacity - end } ?? 0 }

    @inline(__always)
    func checkUsable() throws(VarveError) {
        if isPoisoned.load(ordering: .relaxed) { throw storedFailure() }
    }

    /// Whether a failure has stopped the log for good.
    var hasFailed: Bool { isPoisoned.load(ordering: .relaxed) }

    /// What stopped the log for good.
    var failure: VarveError? { hasFailed ? withShared { $0.failure } : nil }

    private func storedFailure() -> VarveError {
        withShared { $0.failure.map(GroupSync.later) } ?? VarveError(.closed, "the log was closed")
    }

    @inline(__always)
    private func withShared<T>(_ body: (inout Shared) -> T) -> T {
        lock.lock()
        defer { lock.unlock() }
        return body(&shared)
    }

    /// Stops the log for good. Returns what the one who met the failure throws.
    func poison(_ error: VarveError) -> VarveError {
        let isFirst = withShared { shared in
            defer { shared.failure = shared.failure ?? error }
            return shared.failure == nil
        }
        isPoisoned.store(true, ordering: .releasing)
        if isFirst { didFail.call(error) }
        return error
    }

    /// Appends one frame, or several, that end at `lsn`; there is room for them. Where it throws `.diskFull` nothing was
    /// done, and another append may succeed.
    @inline(__always)
    func append(_ bytes: UnsafeRawBufferPointer, endingAt lsn: LSN, via route: AppendRoute) throws(VarveError) {
        guard let segment = current else { preconditionFailure("frames need a segment") }
        precondition(bytes.count <= segment.capacity - end, "a frame fits the segment")
        switch route {
        case .map:
            if hasPending.load(ordering: .acquiring) { try writeBuffered(throughMap: true) }
            try unsafe store(bytes, in: segment)
        case .buffer where segment.map == nil:
            try unsafe store(bytes, in: segment)
        case .buffer:
            let offset = end
            withShared { shared in
                if shared.pending.isEmpty { shared.pendingOffset = offset }
                unsafe shared.pending.append(bytes)
                hasPending.store(true, ordering: .releasing)
            }
        }
        end += bytes.count
        appended.store(lsn.rawValue, ordering: .releasing)
    }

    @inline(__always)
    private func store(_ bytes: UnsafeRawBufferPointer, in segment: WritableSegment) throws(VarveError) {
        if let map = segment.map {
            if unsafe map.store(bytes, at: end) { return }
            let error = VarveError(
                .io, "a store into the log failed under its map; the device may be failing", path: segment.segment.path)
            throw poison(error)
        }
        let offset = UInt64(end)
        do throws(IOError) {
            unsafe try segment.file.write(bytes, at: offset)
        } catch {
            throw error.isDiskFull ? VarveError(error) : poison(VarveError(error))
        }
    }

    /// Writes what is buffered: it then survives the process.
    func writeBuffered(throughMap: Bool = false) throws(VarveError) {
        guard hasPending.load(ordering: .acquiring) else { return }
        let failed = withShared { shared in drain(&shared, throughMap: throughMap) }
        if let failed { throw poison(failed) }
    }

    /// Under the lock: whoever appends behind the buffered frames waits until they are in the file.
    private func drain(_ shared: inout Shared, throughMap: Bool) -> VarveError? {
        guard !shared.pending.isEmpty else { return nil }
        guard let segment = shared.dirty.last else { preconditionFailure("buffered frames have a segment") }
        defer {
            shared.pending.removeAll()
            hasPending.store(false, ordering: .releasing)
        }
        if throughMap, let map = segment.map {
            if unsafe map.store(shared.pending.bytes, at: shared.pendingOffset) { return nil }
            return VarveError(.io, "a store into the log failed under its map", path: segment.segment.path)
        }
        do throws(IOError) {
            unsafe try segment.file.write(shared.pending.bytes, at: UInt64(shared.pendingOffset))
            return nil
        } catch {
            // Into space that was promised: even a full disk is then a failure of the device, and room helps nothing.
            return VarveError(unknownOutcome: error)
        }
    }

    /// Makes everything appended so far durable; one call at a time, beside appends. Returns up to where.
    func sync() throws(VarveError) -> LSN {
        try checkUsable()
        var captured = LSN.zero
        var segments: [WritableSegment] = []
        var namesAreDirty = false
        let failed = withShared { shared in
            // Read under the lock: every segment up to this LSN is in `dirty` by now.
            captured = appendedLSN
            segments = shared.dirty
            namesAreDirty = shared.directoryIsDirty
            shared.directoryIsDirty = false
            return drain(&shared, throughMap: false)
        }
        if let failed { throw poison(failed) }
        if captured == syncedLSN, !namesAreDirty { return captured }
        do throws(IOError) {
            for segment in segments { try segment.file.sync() }
            if namesAreDirty { try fileSystem.syncDirectory(directory) }
        } catch {
            throw poison(VarveError(unknownOutcome: error))
        }
        let last = segments.last
        let sealed = withShared { shared in
            let sealed = shared.dirty.filter { segment in
                segment !== last && segments.contains { $0 === segment }
            }
            shared.dirty.removeAll { segment in sealed.contains { $0 === segment } }
            return sealed
        }
        for segment in sealed { segment.file.close() }
        synced.store(captured.rawValue, ordering: .releasing)
        return captured
    }

    /// Makes a segment the current one. What is buffered for the one before is written first.
    func begin(_ next: WritableSegment, at offset: Int) throws(VarveError) {
        try writeBuffered()
        if let current { giveBackTail(of: current) }
        withShared { shared in
            shared.dirty.append(next)
            shared.directoryIsDirty = true
        }
        current = next
        end = offset
    }

    /// Makes room in the current segment beyond its capacity: a follower's segments end where the source's do.
    func extend(by count: Int) throws(VarveError) {
        guard let segment = current else {
            throw VarveError(.notContinuing, "frames were handed in before the segment that holds them")
        }
        try writeBuffered()
        let capacity = max(segment.capacity + segment.capacity / 2, end + count)
        do throws(IOError) {
            try segment.file.allocate(UInt64(capacity))
            let map = try segment.file.mapForStores(length: UInt64(capacity))
            let larger = WritableSegment(segment: segment.segment, file: segment.file, map: map, capacity: capacity)
            withShared { shared in
                if shared.dirty.last === segment { shared.dirty.removeLast() }
                shared.dirty.append(larger)
            }
            current = larger
        } catch {
            throw error.isDiskFull ? VarveError(error) : poison(VarveError(error))
        }
    }

    /// A segment that ends early gives back its allocated rest; where that fails, the rest only wastes space.
    private func giveBackTail(of segment: WritableSegment) {
        guard segment.capacity - end > segment.capacity / 8 else { return }
        _ = try? segment.file.truncate(to: UInt64(end))
    }

    /// Ends the log where it is: durable, and the file no longer than its frames.
    func close() throws(VarveError) {
        guard let current else { return }
        _ = try sync()
        let length = UInt64(end)
        do throws(IOError) {
            try current.file.truncate(to: length)
            try current.file.sync()
        } catch {
            throw poison(VarveError(unknownOutcome: error))
        }
        current.file.close()
        isPoisoned.store(true, ordering: .releasing)
    }
}
