internal import VarveIO

/// Hands a scanner's frames to a consumer in chunks that a thread decodes ahead.
@safe
final class RecoveryFeed: @unchecked Sendable {
    // Unchecked: `lock` guards the queue and `failure`; the scanner belongs to the thread until that has been joined.
    private final class Chunk {
        var payloads = ByteBuffer(capacity: 1 << 20)
        var frames: [(header: FrameHeader, range: Range<Int>, after: LogPosition)] = []
        var bytes = 0

        func removeAll() {
            payloads.removeAll()
            frames.removeAll(keepingCapacity: true)
            bytes = 0
        }
    }

    private static let chunkBytes = 1 << 20
    private static let chunksAhead = 4

    private let scanner: LogScanner
    private let after: LSN
    private let usesThread: Bool
    private let lock = ConditionLock(conditions: 2)
    private var full: [Chunk] = []
    private var empty: [Chunk] = []
    private var isDone = false
    private var isCancelled = false
    private var failure: VarveError?

    private enum Condition {
        static let filled = 0
        static let emptied = 1
    }

    init(_ scanner: LogScanner, after: LSN, usesThread: Bool) {
        self.scanner = scanner
        self.after = after
        self.usesThread = usesThread
    }

    /// Delivers every frame that ends beyond `after`, then returns; the scanner has stopped by then.
    func run(
        _ deliver: (DecodedFrame) throws(VarveError) -> Void, progress: (Int, LSN) -> Void
    ) throws(VarveError) {
        guard usesThread else {
            let chunk = Chunk()
            while try fill(chunk) { try consume(chunk, deliver, progress) }
            try consume(chunk, deliver, progress)
            return
        }
        empty = (0..<RecoveryFeed.chunksAhead).map { _ in Chunk() }
        let thread = try lifted { () throws(IOError) in
            try IOThread(name: "varve-recovery") { [self] in produce() }
        }
        defer {
            lock.withLock {
                isCancelled = true
                lock.signal(Condition.emptied)
            }
            thread.join()
        }
        while let chunk = try takeFull() {
            try consume(chunk, deliver, progress)
            lock.withLock {
                empty.append(chunk)
                lock.signal(Condition.emptied)
            }
        }
    }

    private func takeFull() throws(VarveError) -> Chunk? {
        lock.lock()
        defer { lock.unlock() }
        while full.isEmpty, !isDone { lock.wait(Condition.filled) }
        if !full.isEmpty { return full.removeFirst() }
        if let failure { throw failure }
        return nil
    }

    private func consume(
        _ chunk: Chunk, _ deliver: (DecodedFrame) throws(VarveError) -> Void, _ progress: (Int, LSN) -> Void
    ) throws(VarveError) {
        for frame in chunk.frames {
            let payload = unsafe UnsafeRawBufferPointer(rebasing: chunk.payloads.bytes[frame.range])
            try deliver(
                unsafe DecodedFrame(
                    header: frame.header, payload: payload, bytes: UnsafeRawBufferPointer(start: nil, count: 0),
                    positionAfter: frame.after))
        }
        progress(chunk.bytes, chunk.frames.last?.header.lastLSN ?? after)
    }

    private func produce() {
        while true {
            lock.lock()
            while empty.isEmpty, !isCancelled { lock.wait(Condition.emptied) }
            guard !isCancelled, let chunk = empty.popLast() else {
                lock.unlock()
                return
            }
            lock.unlock()
            var more = false
            var failed: VarveError?
            do throws(VarveError) { more = try fill(chunk) } catch { failed = error }
            lock.lock()
            full.append(chunk)
            failure = failed
            isDone = !more
            lock.signal(Condition.filled)
            lock.unlock()
            if !more { return }
        }
    }

    /// Fills a chunk; false where the log ends with it.
    private func fill(_ chunk: Chunk) throws(VarveError) -> Bool {
        chunk.removeAll()
        while chunk.bytes < RecoveryFeed.chunkBytes, chunk.payloads.count < RecoveryFeed.chunkBytes {
            guard let frame = try scanner.next() else { return false }
            chunk.bytes += frame.length
            guard frame.header.lastLSN > after else { continue }
            let start = chunk.payloads.count
            unsafe chunk.payloads.append(frame.payload)
            chunk.frames.append((frame.header, start..<chunk.payloads.count, frame.positionAfter))
        }
        return true
    }
}
