import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// A real cache with one client beside a model of it: after every step each key's value, version and deadline must be what
/// the model knows, whatever was changed in one step, dropped, refused or forgotten, on disk behind memory's back too.
struct StepRun {
    let seed: UInt64
    let home: CacheRig.Home
    /// Deadlines that reads move: then memory has room for all and no process ends, so that the last read counts exactly.
    let hasIdle: Bool
    var random: SplitMix
    var rig = CacheRig()
    var cache: Cache<String, Int>
    var model: StepModel
    var place = ""
    private let names: [String]
    private let options: CacheOptions
    private var copies = 0
    static let second: Int64 = 1_000_000_000

    init(seed: UInt64, home: CacheRig.Home) async throws {
        (self.seed, self.home) = (seed, home)
        hasIdle = seed % 3 == 0
        random = SplitMix(course: seed)
        var options = CacheOptions(
            memory: .entries(home == .disk && !hasIdle ? 3 : 1000),
            expiry: seed % 2 == 0 ? .seconds(30) : .never, policy: .lru)
        if seed % 4 < 2 { options.warmRestart = nil }
        // It goes by how long a load took on a real clock, and time here is turned by hand.
        options.loading.earlyRefresh = 0
        self.options = options
        let cache = try await rig.cache(home, Int.self, options)
        self.cache = cache
        // Some share the place where source versions are remembered of what is gone.
        names = (0..<5).map { "k\($0)" } + (0..<3).compactMap { "k\($0)".sharingFloor(in: cache) }
        model = StepModel(places: names.map { $0.floorPlace(in: cache) })
    }

    var now: Int64 { cache.store.clock.now() }
    func name(_ key: Int) -> String { names[key] }
    mutating func draw(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }

    mutating func run(steps: Int) async throws {
        #expect(names.count == 8)
        for step in 0..<steps {
            let key = draw(names.count)
            place = "seed \(seed), step \(step), key \(key)"
            try await act(key)
            for other in names.indices where other == key || model.keys[other].entry?.idle ?? 0 == 0 || draw(4) == 0 {
                try await check(other)
            }
        }
        try await cache.close()
    }

    private mutating func act(_ key: Int) async throws {
        switch draw(100) {
        case ..<18: try await set(key)
        case ..<22:
            try await cache.remove(name(key))
            model.remove(key)
        case ..<28: try await removeOlder(key)
        case ..<33: try await drop()
        case ..<34:
            try await cache.removeAll(withPrefix: name(key))
            for other in names.indices where name(other).hasPrefix(name(key)) { model.remove(other) }
        case ..<66: try await changeInOneStep(key, draw(7))
        case ..<70: try await load(key)
        case ..<76: if home == .disk { try await changeBehindMemory(key) }
        case ..<88: passTime()
        case ..<92: try await expectMemoryGivenBack()
        case ..<95: try await expectSpaceGivenBack()
        default: if home == .disk, !hasIdle { try await beginAnew() }
        }
    }

    // MARK: Writing

    mutating func expiry() -> Expiry? {
        switch draw(hasIdle ? 5 : 4) {
        case 0: return Expiry.never
        case 1: return Expiry(usable: .milliseconds(1 + draw(40_000)))
        case 4: return Expiry(usable: draw(2) == 0 ? nil : .seconds(40), idle: .milliseconds(4000 + draw(20_000)))
        default: return nil
        }
    }

    mutating func entryOptions() -> EntryOptions {
        EntryOptions(expiry: expiry(), tags: (0..<3).filter { _ in draw(3) == 0 }.map { "t\($0)" })
    }

    func entry(_ value: Int, _ given: EntryOptions, _ write: Int) -> StepModel.Entry {
        var entry = StepModel.Entry(value, write: write)
        entry.tags = Set(given.tags)
        entry.source = given.sourceVersion
        entry.begin(given.expiry ?? options.expiry, at: now)
        return entry
    }

    mutating func put(_ key: Int, _ value: Int, _ given: EntryOptions, _ version: EntryVersion?, _ write: Int) {
        model.put(key, entry(value, given, write))
        if let version, !model.tell(key, version) { Issue.record("\(place): \(version) stands for another write too") }
    }

    private mutating func source() -> UInt64 { UInt64(1 + model.writes / 4 + draw(8)) }

    private mutating func set(_ key: Int) async throws {
        var given = entryOptions()
        if draw(2) == 0 { given.sourceVersion = source() }
        let write = model.nextWrite()
        let (own, floor) = (model.keys[key].known, model.floor(key))
        let standing = model.live(key, at: now)?.source ?? 0
        do {
            let version = try await cache.set(write * 1000, for: name(key), given)
            if let source = given.sourceVersion { #expect(own <= source, "\(place): \(source) after \(own)") }
            put(key, write * 1000, given, version, write)
        } catch {
            guard let source = given.sourceVersion,
                case .olderSourceVersion(_, _, let isShared)? = (error as? VarveError)?.failedCondition?.reason
            else { throw error }
            #expect(own > source || floor > source, "\(place): \(source) was refused, of \(own) and \(floor)")
            #expect(!isShared || standing <= source, "\(place): \(source) was refused for what others had")
            #expect(isShared || own > source, "\(place): \(source) was refused for what the key never had")
            if isShared { model.remove(key) }
        }
    }

    private mutating func removeOlder(_ key: Int) async throws {
        let source = source()
        let own = model.keys[key].known
        let standing = model.live(key, at: now)?.source ?? 0
        if try await cache.remove(name(key), olderThan: source) {
            #expect(standing < source, "\(place): \(source) removed \(standing)")
            model.remove(key)
            model.name(source, of: key)
        } else {
            #expect(own >= source, "\(place): the removal of \(source) was refused, though the key had only \(own)")
            let isAsNew = own > source || model.live(key, at: now) == nil || standing == source
            #expect(isAsNew, "\(place): the removal of \(source) has left what names no version")
        }
    }

    private mutating func drop() async throws {
        let tag = "t\(draw(3))"
        try await cache.remove(taggedWith: tag)
        model.drop(tag)
    }

    private mutating func load(_ key: Int) async throws {
        let live = model.live(key, at: now)
        let (given, write) = (entryOptions(), model.nextWrite())
        let found = try await cache.value(for: name(key), loading: { _ in Loaded(write * 1000, given) })
        #expect(found == live?.value ?? write * 1000, "\(place)")
        if live == nil { put(key, write * 1000, given, nil, write) } else { model.noteRead(key, at: now) }
    }

    // MARK: Comparing

    /// An entry must be what the model has: its value, its deadline to the nanosecond, and the version of its write.
    mutating func check(_ key: Int) async throws {
        if draw(8) == 0, let held = cache.valueInMemory(for: name(key)) {
            #expect(held == model.live(key, at: now)?.value, "\(place): \(key) in memory")
        }
        let found = try await cache.entry(for: name(key))
        let live = model.live(key, at: now)
        guard let found, live != nil else {
            if found != nil || live != nil { Issue.record("\(place): \(key) is \(found as Any), not \(live as Any)") }
            return
        }
        model.noteRead(key, at: now)
        let entry = model.live(key, at: now)
        #expect(found.value == entry?.value, "\(place): \(key)")
        let until = found.usableFor.map { now + $0.clampedNanoseconds } ?? .max
        #expect(until == entry?.until, "\(place): the deadline of \(key)")
        let isOwn = model.tell(key, found.version)
        #expect(isOwn, "\(place): \(key) has the version \(found.version)")
    }

    // MARK: Time and space

    /// To where something ends, to the nanosecond before, or anywhere.
    private mutating func passTime() {
        // As the background does, in good time.
        cache.touchAll()
        let deadlines = model.deadlines(after: now)
        var span = Int64(draw(5000)) * 1_000_000
        if !deadlines.isEmpty, draw(3) > 0 { span = deadlines[draw(deadlines.count)] - now - Int64(draw(2)) }
        if draw(20) == 0 { span = Int64(draw(200)) * StepRun.second }
        rig.clock.advance(by: .nanoseconds(span))
    }

    /// What has expired two of the wheel's ticks ago takes no memory any more.
    private mutating func expectMemoryGivenBack() async throws {
        await cache.store.maintained()
        let most = model.lying(after: now - (2 << 30))
        #expect(cache.statistics.memoryEntries <= most, "\(place): entries in memory that have expired")
    }

    /// Nor does it on disk once everything has been compacted: what was written last covers all keys there are.
    private mutating func expectSpaceGivenBack() async throws {
        guard let engine = cache.store.engine, !hasIdle else { return }
        try await engine.flush()
        if draw(2) == 0 { return }
        for key in [0, 4] {
            let write = model.nextWrite()
            put(key, write * 1000, EntryOptions(), try await cache.set(write * 1000, for: name(key)), write)
        }
        try await engine.flush()
        try await engine.compact()
        let entries = cache.statistics.ownDisk?.entries ?? 0
        #expect(entries <= UInt64(model.lying(after: now)), "\(place): entries on disk that have expired")
    }

    // MARK: Ends and beginnings

    private mutating func beginAnew() async throws {
        var files: SimulatedFileSystem?
        switch draw(4) {
        case 0: files = rig.files.killProcess()
        case 1:
            copies += 1
            let path = "/copy\(copies)"
            _ = try await cache.store.engine?.checkpoint(to: path)
            // The original goes on and gives numbers that the copy gives as well.
            for number in 0..<draw(4) { try await cache.set(-number, for: name(number)) }
            rig.path = path
            model.beginHistory()
        default: break
        }
        try await cache.close()
        if let files { rig.files = files }
        cache = try await rig.cache(home, Int.self, options)
    }
}

extension String {
    /// Where the source versions are remembered of what has left this key.
    fileprivate func floorPlace<Value>(in cache: Cache<String, Value>) -> UInt64 {
        cache.disk.map { $0.keyHash(Array(utf8)) >> 52 } ?? cache.memory.hash(self) & 1023
    }
}
