import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// A real cache on a clock that is turned, beside a model of it: what each read finds must be what the model knows, to
/// the nanosecond, whatever the wall clock does and however the store ends and begins again.
struct TimeRun {
    let seed: UInt64
    let home: CacheRig.Home
    /// Memory has no room for all entries, or no disk remembers them.
    let isTight: Bool
    private var random: SplitMix
    private var rig = CacheRig()
    private var cache: Cache<String, Int>
    private var model: TimeModel
    private var values = 0
    private var expiry = Expiry.never
    private static let keys = 12
    private static let second: Int64 = 1_000_000_000

    init(seed: UInt64, home: CacheRig.Home, isTight: Bool) async throws {
        (self.seed, self.home, self.isTight) = (seed, home, isTight)
        random = SplitMix(course: seed)
        model = TimeModel(keys: TimeRun.keys, isTight: isTight)
        expiry = TimeRun.expiry(&random)
        cache = try await TimeRun.open(rig, home, isTight, expiry, warm: seed % 2 == 0)
    }

    private static func open(
        _ rig: CacheRig, _ home: CacheRig.Home, _ isTight: Bool, _ expiry: Expiry, warm: Bool
    ) async throws -> Cache<String, Int> {
        var options = CacheOptions(memory: .entries(isTight ? 4 : 1000), expiry: expiry, policy: .lru)
        if !warm { options.warmRestart = nil }
        return try await rig.cache(home, Int.self, options)
    }

    private var now: Int64 { cache.store.clock.now() }

    // MARK: What happens

    mutating func run(steps: Int) async throws {
        for step in 0..<steps {
            try await act()
            for key in 0..<TimeRun.keys where model.isIndifferentToReads(key) { try await read(key, step) }
            try await read(draw(TimeRun.keys), step)
            compareLog(step)
        }
        for key in 0..<TimeRun.keys { try await read(key, steps) }
        try await cache.close()
    }

    private mutating func draw(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }

    private mutating func act() async throws {
        switch draw(100) {
        case ..<30: try await write()
        case ..<35:
            let key = draw(TimeRun.keys)
            try await cache.remove("\(key)")
            model.write(key, .absent, at: now)
        case ..<39:
            let tag = "\(draw(3))"
            try await cache.remove(taggedWith: tag)
            model.drop(tag, at: now)
        case ..<55:
            // Reads in between, which nothing is compared with but what follows.
            for _ in 0..<5 { try await read(draw(TimeRun.keys), -1) }
        case ..<80: passTime()
        case ..<86:
            rig.clock.setWall(nanoseconds: rig.clock.wallNanoseconds + Int64(draw(10_000) - 5000) * TimeRun.second)
        case ..<90: await cache.store.maintained()
        case ..<93: try await cache.store.engine?.flush()
        case ..<94: try await cache.store.engine?.compact()
        case ..<96:
            try await cache.store.engine?.sync()
            model.sync()
        default: if home == .disk { try await restart() }
        }
    }

    private mutating func write() async throws {
        let key = draw(TimeRun.keys)
        let own = draw(3) > 0 ? TimeRun.expiry(&random) : nil
        let tags = Set((0..<draw(3)).map { "\($0)" })
        let isSynced = draw(8) == 0
        values += 1
        try await cache.set(
            values, for: "\(key)",
            EntryOptions(expiry: own, tags: Array(tags), durability: isSynced ? .synced : .interval(.seconds(3600))))
        model.write(key, .init(values, own ?? expiry, tags, at: now), at: now)
        if isSynced { model.sync() }
    }

    private static func expiry(_ random: inout SplitMix) -> Expiry {
        func span(_ most: Int64) -> Duration { .milliseconds(1 + Int64(random.next() % UInt64(most * 1000))) }
        var expiry = Expiry()
        let kind = random.next() % 8
        if kind >= 1, kind != 3 { expiry.usable = span(20) }
        if kind == 2 || kind == 5 { expiry.fresh = span(10) }
        if kind == 3 || kind == 4 || kind == 5 { expiry.idle = span(12) }
        if kind >= 6 { expiry.jitter = 0.3 }
        return expiry
    }

    /// To where something ends, to the nanosecond before, or anywhere.
    private mutating func passTime() {
        // As the background does, in good time.
        cache.touchAll()
        model.tell()
        let deadlines = model.deadlines(draw(TimeRun.keys)).filter { $0 > now && $0 < now + 60 * TimeRun.second }
        var span = Int64(draw(5000)) * 1_000_000
        if !deadlines.isEmpty, draw(3) > 0 { span = deadlines[draw(deadlines.count)] - now - Int64(draw(2)) }
        if draw(20) == 0 { span = Int64(draw(200)) * TimeRun.second }
        rig.clock.advance(by: .nanoseconds(span))
    }

    // MARK: Ends and beginnings

    private mutating func restart() async throws {
        let before = now
        model.notePassed(before)
        let floor: Int64
        let way = draw(3)
        switch way {
        case 0:
            floor = before
            try await cache.close()
            model.tell()
            model.sync()
        case 1:
            floor = model.lastWrite
            let files = rig.files.killProcess()
            try await cache.close()
            rig.files = files
        default:
            floor = model.lastSynced
            rig.files.cutPower()
            let files = rig.files.crash(seed: random.next())
            try? await cache.close()
            rig.files = files
            rig.clock.reboot(downtime: .seconds(draw(20)))
        }
        if draw(3) == 0 {
            rig.clock.setWall(nanoseconds: rig.clock.wallNanoseconds - Int64(draw(10_000)) * TimeRun.second)
        }
        expiry = TimeRun.expiry(&random)
        cache = try await TimeRun.open(rig, home, isTight, expiry, warm: seed % 2 == 0)
        model.restart(losingPower: way == 2)
        // A reading is logged with the first write of each minute, and with a clean end.
        let slack = way == 0 ? 0 : 60 * TimeRun.second
        #expect(floor == .min || now >= floor - slack, "seed \(seed): time that was lived through comes again (\(way))")
        #expect(now <= max(before, rig.clock.wallNanoseconds), "seed \(seed): a clock ahead of the wall and of itself")
        #expect(cache.store.engine?.storeTime == now, "seed \(seed)")
    }

    // MARK: Comparing

    private mutating func read(_ key: Int, _ step: Int) async throws {
        let name = "\(key)"
        let place = "seed \(seed), step \(step), key \(key)"
        let states = model.keys[key].states
        func complain(_ found: String) { Issue.record("\(place): \(found) at \(now), of \(states)") }
        switch draw(4) {
        case 0:
            let found = try await cache.entry(for: name)
            guard model.read(key, found: found?.value, at: now) else { return complain("\(found?.value ?? -1)") }
            guard let found else { return }
            let left = found.usableFor?.clampedNanoseconds
            if !model.mayBe(key, isStale: found.isStale, usableFor: left, at: now) { complain("\(found)") }
        case 1:
            // Memory says nothing where it has nothing.
            guard let found = cache.valueInMemory(for: name) else { return }
            if !model.read(key, found: found, at: now) { complain("\(found) in memory") }
        case 2:
            let found = try await cache.values(for: [name])[name]
            if !model.read(key, found: found, at: now) { complain("\(found ?? -1)") }
        default:
            let found = try await cache.value(for: name)
            if !model.read(key, found: found, at: now) { complain("\(found ?? -1)") }
        }
    }

    private func compareLog(_ step: Int) {
        guard let logged = cache.statistics.ownDisk?.entriesLogged else { return }
        #expect(logged <= UInt64(model.bound), "seed \(seed), step \(step): more was logged than written")
    }
}
