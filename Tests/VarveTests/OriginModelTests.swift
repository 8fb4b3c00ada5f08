import Synchronization
import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// What the article on writing through promises of the origin's calls: one for each write whose turn came and whose key
/// could be removed first, none for any other, and each in the task of its caller.
struct OriginModelTests {
    @Test("Held against a model of who is called", arguments: CacheRig.Home.allCases, 1...8 as ClosedRange<UInt64>)
    func calls(_ home: CacheRig.Home, seed: UInt64) async throws {
        var run = try await OriginRun(seed: seed, home: home)
        try await run.run(steps: 60)
    }
}

/// Writes through to an origin, one after the other and some at once, of which some wait for their turn, are cancelled,
/// fail, cannot begin, or cannot be stored.
private struct OriginRun {
    private struct OriginDown: Error {}

    /// What the origin's call comes to.
    private enum Answer: CaseIterable, Sendable {
        case done, fails, cancels
    }

    /// What hinders a write before the origin is called.
    private enum Hindrance: CaseIterable {
        case tooLarge, cancelled, diskFails, closed
    }

    private final class Origin: Sendable {
        /// By number of the write, how often its call came, and how often in another task than its own.
        let calls = Mutex<[Int: Int]>([:])
        let strangers = Mutex(0)
    }

    private let seed: UInt64
    private let home: CacheRig.Home
    private var random: SplitMix
    private var rig = CacheRig()
    private var cache: Cache<String, [UInt8]>
    private let origin = Origin()
    /// What the cache must have; a key that is not there is absent.
    private var values: [String: [UInt8]] = [:]
    private var writes = 0
    private var wanted: [Int: Int] = [:]
    private var place = ""

    init(seed: UInt64, home: CacheRig.Home) async throws {
        (self.seed, self.home) = (seed, home)
        random = SplitMix(course: seed)
        cache = try await rig.cache(home)
    }

    private mutating func draw(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }
    private mutating func anyKey() -> String { "\(draw(4))" }

    mutating func run(steps: Int) async throws {
        for step in 0..<steps {
            place = "seed \(seed), step \(step)"
            switch draw(10) {
            case ..<5: try await writeAlone(anyKey())
            case ..<7: try await writeInTurn(anyKey())
            case ..<8:
                let key = anyKey()
                writes += 1
                try await cache.set([UInt8(writes & 255)], for: key)
                values[key] = [UInt8(writes & 255)]
            default: try await hinder(anyKey(), Hindrance.allCases[draw(Hindrance.allCases.count)])
            }
            let calls = origin.calls.withLock { $0 }
            #expect(calls == wanted, "\(place): calls of the origin")
            for key in (0..<4).map({ "\($0)" }) {
                #expect(try await cache.value(for: key) == values[key], "\(place): \(key)")
            }
        }
        #expect(origin.strangers.withLock { $0 } == 0, "seed \(seed): the origin was called in another task")
        #expect(cache.turns.count == 0, "seed \(seed)")
        try await cache.close()
    }

    // MARK: Writing

    private enum Way: CaseIterable { case set, write, remove }

    /// A write through in a task of its own, whose origin waits at the door and then does as it is told.
    private mutating func begin(
        _ key: String, _ way: Way, _ value: [UInt8], _ answer: Answer, _ door: Door,
        meanwhile: @escaping @Sendable () async throws -> Void = {}
    ) -> Task<Void, any Error> {
        writes += 1
        let (cache, origin, number) = (cache, origin, writes)
        return Task {
            let own = unsafe withUnsafeCurrentTask { task in unsafe task?.hashValue }
            let call: @Sendable () async throws -> Void = {
                let caller = unsafe withUnsafeCurrentTask { task in unsafe task?.hashValue }
                origin.calls.withLock { $0[number, default: 0] += 1 }
                if caller != own { origin.strangers.withLock { $0 += 1 } }
                await door.pass()
                try await meanwhile()
                switch answer {
                case .done: break
                case .fails: throw OriginDown()
                case .cancels: throw CancellationError()
                }
            }
            switch way {
            case .set: try await cache.set(value, for: key) { _, _ in try await call() }
            case .write:
                try await cache.write(key) { _ in
                    try await call()
                    return Loaded(value)
                }
            case .remove: try await cache.remove(key) { _ in try await call() }
            }
        }
    }

    private func fails(_ task: Task<Void, any Error>) async -> Bool {
        if case .failure = await task.result { true } else { false }
    }

    /// One write, beside which somebody else may write the key, or the disk fail once the origin has been called.
    private mutating func writeAlone(_ key: String) async throws {
        let answer = Answer.allCases[draw(Answer.allCases.count)]
        let way = Way.allCases[draw(Way.allCases.count)]
        let (door, cache, files) = (Door(), cache, rig.files)
        await door.open()
        let event = draw(6)
        let failsAfterwards = event == 1 && home == .disk
        let task = begin(key, way, [UInt8(draw(256))], answer, door) {
            if event == 0 { try await cache.set([7], for: key) }
            if failsAfterwards { files.fail(5, sticky: true) { $0.operation == .sync } }
        }
        let number = writes
        let hasFailed = await fails(task)
        wanted[number] = 1
        if answer != .done { #expect(hasFailed, "\(place): the origin failed") }
        values[key] = nil
        if failsAfterwards {
            try await recover(key)
        } else {
            if answer == .done { #expect(!hasFailed, "\(place)") }
            // What it left, if anything, must be its own.
            values[key] = try await cache.value(for: key)
            let mayStore = answer == .done && way != .remove && event != 0
            #expect((values[key] != nil) == mayStore, "\(place): \(way), \(answer), \(event)")
        }
    }

    /// Several writes of one key at once: each has its turn but those that are cancelled while they wait.
    private mutating func writeInTurn(_ key: String) async throws {
        let door = Door()
        var tasks = [begin(key, .set, [1], .done, door)]
        wanted[writes] = 1
        await door.arrived(1)
        for number in 0..<1 + draw(4) {
            let way = Way.allCases[draw(Way.allCases.count)]
            let task = begin(key, way, [UInt8(number)], Answer.allCases[draw(Answer.allCases.count)], door)
            if draw(2) == 0 {
                task.cancel()
                #expect(await fails(task), "\(place): it was cancelled before its turn")
            } else {
                wanted[writes] = 1
                tasks.append(task)
            }
        }
        await door.open()
        for task in tasks { _ = await task.result }
        // The order of those who waited is nobody's to tell.
        values[key] = try await cache.value(for: key)
    }

    // MARK: What cannot begin

    private mutating func hinder(_ key: String, _ hindrance: Hindrance) async throws {
        let door = Door()
        await door.open()
        switch hindrance {
        case .tooLarge:
            if home == .memory { return }
            let task = begin(key, .set, [UInt8](repeating: 0, count: 65 << 20), .done, door)
            #expect(await fails(task), "\(place): too large")
        case .cancelled:
            let first = Door()
            let present = begin(key, .remove, [], .done, first)
            wanted[writes] = 1
            await first.arrived(1)
            let task = begin(key, .write, [1], .done, door)
            task.cancel()
            #expect(await fails(task), "\(place): cancelled")
            await first.open()
            #expect(await !fails(present), "\(place)")
            values[key] = nil
        case .diskFails:
            if home == .memory { return }
            rig.files.fail(5, sticky: true) { $0.operation == .sync }
            for way in Way.allCases {
                let task = begin(key, way, [1], .done, door)
                #expect(await fails(task), "\(place): a key that cannot be removed")
            }
            try await recover(key)
        case .closed:
            if home == .memory { return }
            try await cache.close()
            let task = begin(key, Way.allCases[draw(3)], [1], .done, door)
            #expect(await fails(task), "\(place): closed")
            cache = try await rig.cache(home)
        }
    }

    /// The process dies of the disk's failure, and another one opens the store. What it had of the key is as before, or gone.
    private mutating func recover(_ key: String) async throws {
        let files = rig.files.killProcess()
        try? await cache.close()
        rig.files = files
        rig.files.clearFaults()
        cache = try await rig.cache(home)
        values[key] = try await cache.value(for: key)
    }
}
