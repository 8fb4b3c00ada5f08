internal import Synchronization
public import VarveEngine
package import VarveIO

/// One store on disk, and the caches in it: they share its log, its budget on disk and its threads, and have names,
/// limits, policies, default expiry and statistics of their own.
///
///     let store = try await CacheStore.open(at: "/var/lib/app/cache", disk: .gigabytes(20))
///     let quotes = try await store.cache(named: "quotes", of: String.self, to: Quote.self)
///     let sessions = try await store.cache(named: "sessions", of: UUID.self, to: Session.self, .init(expiry: .hours(1)))
public final class CacheStore: Sendable {
    /// Nil: memory alone.
    let engine: Engine?
    let clock: CacheClock
    let hashSeed: UInt64
    /// Names the history in which this store's versions are places.
    let history: UInt64
    private let maintenance: Maintenance
    /// Numbers the writes of caches without a disk.
    private let lastVersion = Atomic<UInt64>(0)

    private init(_ engine: Engine?, _ clock: any SystemClock) throws(VarveError) {
        self.engine = engine
        self.clock = CacheClock(clock, storeTime: engine?.storeTime)
        if let timeline = engine?.position.timeline.unique {
            history = timeline.high ^ timeline.low
            hashSeed = engine?.hashSeed ?? 0
        } else {
            history = .random(in: 1 ... .max)
            hashSeed = .random(in: 0 ... .max)
        }
        let time = self.clock
        do throws(IOError) { maintenance = try Maintenance(time) } catch { throw VarveError(error) }
    }

    deinit { maintenance.stop() }

    /// Opens the store in a folder, and makes it where there is none.
    /// - Parameters:
    ///   - disk: what it may take there; nil: no bound.
    ///   - durability: of what the store writes by itself.
    public static func open(
        at path: String, disk: CacheLimit? = .gigabytes(1), durability: Durability = .interval
    ) async throws(VarveError) -> CacheStore {
        var options = EngineOptions()
        options.durability = durability
        try options.setDiskLimit(disk)
        return try await open(at: path, options)
    }

    /// The same with the engine's options in hand.
    package static func open(
        at path: String, _ options: EngineOptions, fileSystem: any FileSystem = PosixFileSystem()
    ) async throws(VarveError) -> CacheStore {
        var options = options
        let clock: any SystemClock
        if let given = options.clock {
            clock = given
        } else {
            do throws(IOError) { clock = try KernelClock() } catch { throw VarveError(error) }
        }
        options.clock = clock
        return try CacheStore(try await Engine.open(at: path, options, fileSystem: fileSystem), clock)
    }

    package static func inMemory(clock: (any SystemClock)? = nil) throws(VarveError) -> CacheStore {
        let time: any SystemClock
        if let clock {
            time = clock
        } else {
            do throws(IOError) { time = try KernelClock() } catch { throw VarveError(error) }
        }
        return try CacheStore(nil, time)
    }

    /// Closes the store and with it every cache that lives in it. Later calls throw `.closed`, hits in memory aside.
    public func close() async throws(VarveError) {
        maintenance.stop()
        try await engine?.close()
    }

    func nextVersion() -> UInt64 { lastVersion.add(1, ordering: .relaxed).newValue }
    var presentVersion: UInt64 { lastVersion.load(ordering: .relaxed) }

    /// Has `work` done every so often until it returns false. It gets the store clock's time.
    func maintain(_ work: @escaping @Sendable (Int64) -> Bool) { maintenance.add(work) }
}

extension EngineOptions {
    /// Bounds the disk, and scales the memtable and log to a small bound.
    mutating func setDiskLimit(_ limit: CacheLimit?) throws(VarveError) {
        guard let limit else { return }
        guard limit.unit == .bytes else {
            throw VarveError(.invalidArgument, "the disk is bounded in bytes")
        }
        guard limit.amount >= 16 << 20 else {
            throw VarveError(.invalidArgument, "the disk's bound is at least 16 megabytes")
        }
        diskBudgetBytes = UInt64(limit.amount)
        // Memtables and log are part of what the disk takes: a small bound gets small ones.
        memtableBytes = min(memtableBytes, max(256 << 10, limit.amount / 32))
        logSegmentBytes = min(logSegmentBytes, max(256 << 10, limit.amount / 32))
        compaction = .scaled(toMemtable: UInt64(memtableBytes))
    }
}

/// A thread that does small things every so often: it gives back the memory of what has expired.
final class Maintenance: Sendable {
    private typealias Work = @Sendable (Int64) -> Bool
    private struct State {
        var work: [Work] = []
        var isStopping = false
    }
    private final class Shared: Sendable {
        let state = Mutex(State())
        let wake = Signal()
    }

    private let shared = Shared()
    private let thread: IOThread

    /// How often; memory of the expired is given back within this time and the wheel's tick.
    private static let period = Duration.milliseconds(200)

    init(_ clock: CacheClock) throws(IOError) {
        let shared = self.shared
        thread = try IOThread(name: "varve-cache") {
            while true {
                let seen = shared.wake.generation
                let (work, stops) = shared.state.withLock { ($0.work, $0.isStopping) }
                if stops { return }
                let now = clock.now()
                let done = work.indices.filter { !work[$0](now) }
                if !done.isEmpty {
                    // Only this thread removes, and others only append: the indices still hold.
                    shared.state.withLock { state in for index in done.reversed() { state.work.remove(at: index) } }
                }
                shared.wake.wait(after: seen, atMost: Maintenance.period)
            }
        }
    }

    func add(_ work: @escaping @Sendable (Int64) -> Bool) { shared.state.withLock { $0.work.append(work) } }

    func stop() {
        let isFirst = shared.state.withLock { state in
            defer { state.isStopping = true }
            return !state.isStopping
        }
        shared.wake.raise()
        if isFirst, !thread.isCurrent { thread.join() }
    }
}
