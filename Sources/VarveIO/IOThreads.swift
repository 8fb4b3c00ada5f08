/// A pool of our own threads for everything that may block: reads that may fault, syncs, flushes, compactions.
///
/// The queue is served first come, first served. `submit` is for threads of ours and waits while the queue is full;
/// `run` is for the cooperative pool and never blocks: it suspends, and since each entry it adds is a suspended task, the
/// callers bound themselves. Work is never dropped: what arrives during or after `shutdown` runs on the caller's thread.
public final class IOThreads: Sendable {
    public typealias Work = @Sendable () -> Void

    private struct Queue: Sendable {
        var work: [Work] = []
        /// The next to run; what lies before it is spent.
        var head = 0
        var isStopping = false

        var count: Int { work.count - head }

        mutating func take() -> Work? {
            guard head < work.count else { return nil }
            let next = work[head]
            head += 1
            // Spent entries go when they are half of the array, so that taking costs O(1) on average.
            if head * 2 >= work.count {
                work.removeFirst(head)
                head = 0
            }
            return next
        }
    }

    private enum Admission {
        case queued
        case refused
    }

    private let queue = Monitor(Queue())
    /// Waiters for room in the queue sleep here, so that a wake-up meant for a worker cannot reach one of them.
    private let room = Monitor(0)
    private let capacity: Int
    private let threads: [IOThread]

    /// Starts `count` threads, named "NAME-0", "NAME-1", ... `capacity` bounds what `submit` queues.
    public init(name: String, count: Int, capacity: Int = 1024) throws(IOError) {
        precondition(count > 0 && capacity > 0, "a pool needs a thread and room for work")
        self.capacity = capacity
        var threads: [IOThread] = []
        let (queue, room) = (queue, room)
        do {
            for index in 0..<count {
                threads.append(try IOThread(name: "\(name)-\(index)") { Self.serve(queue, room) })
            }
        } catch {
            Self.stop(queue, room, threads)
            throw error
        }
        self.threads = threads
    }

    deinit {
        // The last reference may go on one of the threads; that one ends by itself after its work.
        Self.stop(queue, room, threads.filter { !$0.isCurrent })
    }

    /// Queues `work`; waits while the queue is full. From one of the pool's own threads it never waits, because the pool
    /// could wait for itself: where there is no room the work runs at once.
    public func submit(_ work: @escaping Work) {
        while true {
            let seen = room.withLock { $0 }
            if admit(work, bound: capacity) == .queued { return }
            if isStopping || threads.contains(where: \.isCurrent) { return work() }
            room.wait { $0 != seen ? () : nil }
        }
    }

    /// Runs `work` on the pool and returns what it returns. Does not block the caller's thread.
    public func run<Result: Sendable, Failure: Error>(
        _ work: @escaping @Sendable () throws(Failure) -> Result
    ) async throws(Failure) -> Result {
        let outcome: Swift.Result<Result, Failure> = await withCheckedContinuation { continuation in
            let job: Work = {
                do throws(Failure) {
                    continuation.resume(returning: .success(try work()))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
            if admit(job, bound: .max) == .refused { job() }
        }
        return try outcome.get()
    }

    /// How much waits in the queue: for statistics.
    public var pending: Int { queue.withLock { $0.count } }

    /// Finishes what is queued, then ends and joins the threads. Calling twice is fine; not from one of the threads.
    public func shutdown() {
        Self.stop(queue, room, threads)
    }

    private var isStopping: Bool { queue.withLock { $0.isStopping } }

    private func admit(_ work: @escaping Work, bound: Int) -> Admission {
        let admission: Admission = queue.withLock { queue in
            guard !queue.isStopping, queue.count < bound else { return .refused }
            queue.work.append(work)
            return .queued
        }
        if admission == .queued { queue.notifyOne() }
        return admission
    }

    /// A thread's life: takes work until the pool stops and nothing is left.
    private static func serve(_ queue: Monitor<Queue>, _ room: Monitor<Int>) {
        while true {
            let next: Work?? = queue.wait { queue in
                if let work = queue.take() { return .some(work) }
                return queue.isStopping ? .some(nil) : nil
            }
            guard let work = next ?? nil else { return }
            room.withLock { $0 &+= 1 }
            room.notifyAll()
            work()
        }
    }

    private static func stop(_ queue: Monitor<Queue>, _ room: Monitor<Int>, _ threads: [IOThread]) {
        queue.withLock { $0.isStopping = true }
        queue.notifyAll()
        room.withLock { $0 &+= 1 }
        room.notifyAll()
        for thread in threads { thread.join() }
    }
}
