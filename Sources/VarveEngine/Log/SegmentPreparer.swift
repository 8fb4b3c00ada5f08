internal import VarveIO

/// A segment's file, really allocated and under its temporary name, that waits for its header.
final class PreparedSegment: Sendable {
    let number: UInt64
    let temporaryPath: String
    let path: String
    let file: any File
    let map: (any StoreMap)?
    let capacity: Int

    init(
        number: UInt64, temporaryPath: String, path: String, file: any File, map: (any StoreMap)?, capacity: Int
    ) {
        self.number = number
        self.temporaryPath = temporaryPath
        self.path = path
        self.file = file
        self.map = map
        self.capacity = capacity
    }
}

/// Prepares the next segment off the write path, on its own thread: recycles an obsolete file or makes a new one,
/// allocates and maps it. A full disk is met here, before anything of a write was done.
///
/// Recycled files sync half again as fast as fresh ones. Stale bytes in them cannot be taken for frames, since every
/// segment has a salt of its own.
@safe
final class SegmentPreparer: @unchecked Sendable {
    // Unchecked: `monitor` guards every `var`.
    private let fileSystem: any FileSystem
    private let directory: String
    private let segmentBytes: Int
    private let maximumRecycled: Int
    private let nextFileNumber: @Sendable () -> UInt64
    private let monitor = ConditionLock(conditions: 2)

    private var ready: PreparedSegment?
    private var failure: VarveError?
    private var isWanted = false
    /// Those who wait for a segment.
    private var takers = 0
    private var isStopped = false
    private var recyclable: [String] = []
    private var recycledCount: UInt64 = 0
    private var createdCount: UInt64 = 0
    private var thread: IOThread?

    private enum Condition {
        static let work = 0
        static let done = 1
    }

    /// - Parameter preparesAhead: false: each segment is made when it is needed, by who needs it (deterministic tests).
    init(
        fileSystem: any FileSystem, directory: String, segmentBytes: Int, maximumRecycled: Int, preparesAhead: Bool,
        nextFileNumber: @escaping @Sendable () -> UInt64
    ) throws(VarveError) {
        self.fileSystem = fileSystem
        self.directory = directory
        self.segmentBytes = segmentBytes
        self.maximumRecycled = maximumRecycled
        self.nextFileNumber = nextFileNumber
        if preparesAhead {
            thread = try lifted { () throws(IOError) in try IOThread(name: "varve-log-next") { [self] in run() } }
        }
    }

    /// How many segments were made anew, and how many from obsolete ones.
    var counts: (created: UInt64, recycled: UInt64) { monitor.withLock { (createdCount, recycledCount) } }

    /// A segment of at least `minimum` bytes; waits where the thread is not done. After a failure ahead of time it is
    /// tried again first, so freed space is noticed.
    func take(minimum: Int) throws(VarveError) -> PreparedSegment {
        guard minimum <= segmentBytes, thread != nil else {
            let recycled = minimum <= segmentBytes ? monitor.withLock { recyclable.popLast() } : nil
            return try prepare(recycling: recycled, capacity: max(minimum, segmentBytes))
        }
        monitor.lock()
        takers += 1
        defer {
            takers -= 1
            monitor.unlock()
        }
        failure = nil
        while true {
            if let segment = ready {
                ready = nil
                return segment
            }
            if let error = failure { throw error }
            if isStopped { throw VarveError(.closed, "the log was closed") }
            isWanted = true
            monitor.signal(Condition.work)
            monitor.wait(Condition.done)
        }
    }

    /// Lets the thread make the next one.
    func prepareAhead() {
        monitor.withLock {
            if ready == nil, failure == nil { isWanted = true }
            monitor.signal(Condition.work)
        }
    }

    var hasRoomForRecycled: Bool { monitor.withLock { recyclable.count < maximumRecycled && !isStopped } }

    /// Takes an obsolete segment's file, under a temporary name, to be used again; false: it has enough, the caller removes the file.
    func offer(_ path: String) -> Bool {
        monitor.withLock {
            guard recyclable.count < maximumRecycled, !isStopped else { return false }
            recyclable.append(path)
            return true
        }
    }

    /// Removes what lies ready to be used, for a log that nobody writes to. The next segment is made when it is needed.
    func giveBack() throws(VarveError) {
        let (left, unused) = monitor.withLock {
            defer {
                // The thread may not have heard yet of somebody who waits, and nobody would tell it again.
                isWanted = takers > 0
                ready = nil
                recyclable = []
            }
            return (ready, recyclable)
        }
        if let left { try discard(left) }
        for path in unused { try lifted { () throws(IOError) in try fileSystem.remove(path) } }
    }

    /// Ends the thread and removes what waits.
    func stop() throws(VarveError) {
        monitor.withLock {
            isStopped = true
            monitor.broadcast(Condition.work)
            monitor.broadcast(Condition.done)
        }
        thread?.join()
        try giveBack()
    }

    /// Gives up a prepared segment.
    func discard(_ segment: PreparedSegment) throws(VarveError) {
        segment.file.close()
        try lifted { () throws(IOError) in try fileSystem.remove(segment.temporaryPath) }
    }

    private func run() {
        monitor.lock()
        while !isStopped {
            guard isWanted, ready == nil else {
                monitor.wait(Condition.work)
                continue
            }
            isWanted = false
            let recycled = recyclable.popLast()
            monitor.unlock()
            var made: PreparedSegment?
            var error: VarveError?
            do { made = try prepare(recycling: recycled, capacity: segmentBytes) } catch let failed { error = failed }
            monitor.lock()
            ready = made
            failure = error
            monitor.broadcast(Condition.done)
        }
        monitor.unlock()
    }

    private func prepare(recycling old: String?, capacity: Int) throws(VarveError) -> PreparedSegment {
        let number = nextFileNumber()
        let name = FileName.log(number)
        let temporary = name.temporaryPath(in: directory)
        var file: (any File)?
        do throws(IOError) {
            if let old { file = try reopen(old, as: temporary, capacity: capacity) }
            let isRecycled = file != nil
            let opened: any File
            if let file { opened = file } else { opened = try fileSystem.open(temporary, .createNew) }
            file = opened
            try opened.allocate(UInt64(capacity))
            let map = try opened.mapForStores(length: UInt64(capacity))
            monitor.withLock { if isRecycled { recycledCount += 1 } else { createdCount += 1 } }
            return PreparedSegment(
                number: number, temporaryPath: temporary, path: name.path(in: directory), file: opened, map: map,
                capacity: capacity)
        } catch {
            file?.close()
            // The first failure is the one to tell. What it leaves has no owner any more, under whichever name it lies;
            // what cannot be removed now is at the next open.
            for name in [temporary, old] { if let name { _ = try? fileSystem.remove(name) } }
            throw VarveError(error)
        }
    }

    /// Gives an obsolete file its new temporary name. Nil, and the file is gone, where it cannot serve: another name
    /// still holds it (a checkpoint), or it is of another size.
    private func reopen(_ old: String, as temporary: String, capacity: Int) throws(IOError) -> (any File)? {
        guard try fileSystem.linkCount(old) == 1 else {
            try fileSystem.remove(old)
            return nil
        }
        try fileSystem.rename(old, to: temporary)
        let file = try fileSystem.open(temporary, .readWrite)
        let isShort: Bool
        do throws(IOError) { isShort = try file.size() <= UInt64(capacity) } catch {
            file.close()
            throw error
        }
        if isShort { return file }
        file.close()
        try fileSystem.remove(temporary)
        return nil
    }
}
