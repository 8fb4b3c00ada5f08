import Testing
@testable import VarveEngine
import VarveIO
import VarveTestSupport

/// Small stores for tests of the engine's behaviour: every mechanism is met with little data.
enum Fixture {
    /// `threads` false: nothing runs but what is asked for.
    static func options(threads: Bool = false, clock: (any SystemClock)? = nil) -> EngineOptions {
        var options = EngineOptions()
        options.memtableBytes = 64 << 10
        options.logSegmentBytes = 64 << 10
        options.logRetentionBytes = 1 << 20
        options.offersSocket = false
        options.idleSpan = nil
        options.usesThreads = threads
        options.table.blockBytes = 512
        options.compaction.tableBytes = 32 << 10
        options.compaction.baseBytes = 64 << 10
        options.clock = clock
        return options
    }

    /// A new store in memory.
    static func store(
        _ files: SimulatedFileSystem = SimulatedFileSystem(), _ options: EngineOptions = options()
    ) throws -> Engine {
        try Engine.open(at: "/store", options, fileSystem: files)
    }

    /// Keys "key000000", ... with values that name them and a round.
    static func fill(_ engine: Engine, _ numbers: Range<Int>, round: Int = 0, valueBytes: Int = 100) throws {
        for number in numbers { try engine.put(key(number), value(number, round, valueBytes)) }
    }

    static func key(_ number: Int) -> [UInt8] {
        let digits = String(number)
        return bytes("key" + String(repeating: "0", count: 6 - digits.count) + digits)
    }

    /// Bytes that hardly compress, so that sizes are what they seem.
    static func value(_ number: Int, _ round: Int, _ count: Int = 100) -> [UInt8] {
        var random = SplitMix(UInt64(number) << 20 | UInt64(round))
        return (0..<count).map { _ in random.byte() }
    }

    /// Everything that a store holds in its default namespace.
    static func contents(_ engine: Engine, at snapshot: Snapshot? = nil) throws -> [[UInt8]: [UInt8]] {
        let iterator = try engine.makeIterator(at: snapshot)
        var found: [[UInt8]: [UInt8]] = [:]
        try iterator.seekToFirst()
        while iterator.isValid {
            found[iterator.key] = iterator.value
            try iterator.next()
        }
        return found
    }

    /// Name and bytes of every file of a folder.
    static func folder(_ path: String, _ files: any FileSystem) throws -> [String: [UInt8]] {
        var content: [String: [UInt8]] = [:]
        for name in try files.list(path) {
            let file = try files.open(path + "/" + name, .read)
            content[name] = try file.readAll(atMost: 1 << 30)
            file.close()
        }
        return content
    }
}

/// The UTF-8 of a text.
func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

/// Holds threads back until it is opened.
final class Gate: Sendable {
    private struct State {
        var isOpen: Bool
        var waiting = 0
    }
    private let state: Watched<State>

    init(isOpen: Bool = false) { state = Watched(State(isOpen: isOpen)) }

    func pass() {
        state.update { $0.waiting += 1 }
        state.wait { $0.isOpen }
        state.update { $0.waiting -= 1 }
    }
    func open() { state.update { $0.isOpen = true } }
    func close() { state.update { $0.isOpen = false } }
    /// Returns once somebody waits here.
    @available(*, noasync)
    @discardableResult
    func waitForSomebody() -> Bool { state.wait { $0.waiting > 0 } }
    func somebodyWaits() async { await state.reached { $0.waiting > 0 } }
}

/// Threads of a test that end with it; the first error is thrown by `join`.
final class Crew {
    private var threads: [IOThread] = []
    private let failure = Watched<(any Error)?>(nil)

    func start(_ body: @escaping @Sendable () throws -> Void) throws {
        threads.append(
            try IOThread(name: "test") { [failure] in
                do { try body() } catch { failure.update { $0 = $0 ?? error } }
            })
    }

    func join() throws {
        for thread in threads { thread.join() }
        threads = []
        if let error = failure.current { throw error }
    }
}

/// The code of the error that `body` throws; nil where it throws none.
func code(_ body: () throws -> Void) -> VarveError.Code? {
    do {
        try body()
        return nil
    } catch {
        return (error as? VarveError)?.code
    }
}

/// The error that `body` throws.
func failure(_ body: () throws -> Void) -> VarveError? {
    do {
        try body()
        return nil
    } catch {
        return error as? VarveError
    }
}
