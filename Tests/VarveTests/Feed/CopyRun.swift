import Glibc
import Testing
import VarveIO
import VarveTestSupport

@testable import Varve
@testable import VarveEngine

/// One cache that copies from another over its owner's socket, and follows it, on a course that a seed draws: writes with
/// deadlines and tags, time that passes, syncs that hang, an owner that goes away, dies, loses power, and goes on in memory.
///
/// Once a write was followed its key reads as the owner has it; before that, as it was since. A wait for it ends no
/// sooner. Beside it a feed is read from one cursor to the next, and tells what the owner's disk has.
struct CopyRun {
    static let keys = 8
    private static let tags = ["red", "green", "blue"]
    private static let prefixes = ["a", "b"]

    let seed: UInt64
    var random: SplitMix
    var rig = CacheRig.withSocket()
    let disk: ReaderDisk
    var owner: Cache<String, Int>
    let remote: RemoteCache<String, Int>
    let mine: Cache<String, Int>
    let follower: CacheFollower
    /// Of the process that reads.
    private let clock = ManualClock(wallNanoseconds: 77_000_000_000, bootNanoseconds: 5_000_000_000)
    let log = Watched(false)
    private let asked = Watched(0)
    var model = CopyModel(keys: CopyRun.keys)
    private var values = 0
    private var step = 0
    private(set) var versions: [EntryVersion] = []
    /// How far each history was followed that the owner has left.
    var left: [UInt64: UInt64] = [:]
    var feedCursor: ChangeCursor
    private var told: [String: Int] = [:]
    private var isFollowed = false

    init(_ seed: UInt64) async throws {
        self.seed = seed
        random = SplitMix(course: seed)
        disk = ReaderDisk(rig.files)
        owner = try await CopyRun.open(rig, log)
        feedCursor = try await owner.changeSlot(named: "all").cursor
        remote = RemoteCache(
            storeAt: rig.path, named: "c", coding: .own, timeout: .seconds(600), disk, clock: clock)
        var options = CacheOptions()
        // It goes by how long a load took on a real clock, and time here is turned by hand.
        options.loading.earlyRefresh = 0
        mine = try CacheStore.inMemory(clock: clock).cacheInMemory(options)
        follower = try mine.follow(remote)
        try await follower.waitUntilFollowing()
    }

    static func open(_ rig: CacheRig, _ log: Watched<Bool>) async throws -> Cache<String, Int> {
        let store = try await rig.store { options in
            options.offersSocket = true
            options.keepsDegradedMark = true
            // Only who waits for the log has it synced.
            options.durability = .interval(.seconds(3600))
        }
        rig.files.observe { call in
            if call.operation == .sync, call.path.contains(".log") { log.wait { !$0 } }
        }
        var options = CacheOptions(memory: .entries(1000))
        options.warmRestart = nil
        return try await store.cache(named: "c", options)
    }

    var name: String { "seed \(seed), step \(step)" }
    var now: Int64 { owner.store.clock.now() }
    mutating func draw(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }
    func key(_ number: Int) -> String { "\(CopyRun.prefixes[number % 2])\(number)" }

    mutating func run() async throws {
        for number in 1...90 {
            step = number
            switch draw(20) {
            case 0..<6: try await change()
            case 6..<11: try await read(draw(CopyRun.keys))
            case 11: try await readAll()
            case 12, 13:
                if let version = versions.suffix(12).randomElement(using: &random) { try await wait(for: version) }
            case 14, 15: try await settle()
            case 16: try await waitWhileNothingIsDurable()
            case 17: try await pass()
            case 18 where draw(3) == 0: try await restart()
            case 19 where draw(2) == 0: try await goWithoutDisk()
            default: break
            }
        }
        step += 1
        try await restart()
        try await goWithoutDisk()
        try await readAll()
        follower.stop()
        try await owner.store.close()
    }

    private func pass(_ span: Duration) {
        clock.advance(by: span)
        rig.clock.advance(by: span)
    }

    /// To where an entry ends that is copied here, to the nanosecond before it, or anywhere.
    private mutating func pass() async throws {
        let (kept, now) = (model.kept, now)
        let ending = kept.indices.filter { kept[$0].map { $0.until > now && $0.until < .max } ?? false }
        guard let number = ending.randomElement(using: &random), let until = kept[number]?.until else {
            return pass(.milliseconds(1 + draw(3000)))
        }
        try await read(number)
        pass(.nanoseconds(until - now - Int64(draw(2))))
        try await read(number)
    }

    // MARK: The owner

    /// A change of one key, of many, or one that says that a source has none.
    @discardableResult
    mutating func change(isIdleAllowed: Bool = true) async throws -> EntryVersion? {
        isFollowed = false
        let number = draw(CopyRun.keys)
        switch draw(12) {
        case 0:
            try await owner.remove(key(number))
            model.change(number, to: nil, endingAt: try place)
        case 1:
            let prefix = CopyRun.prefixes[draw(2)]
            try await owner.removeAll(withPrefix: prefix)
            for number in 0..<CopyRun.keys where key(number).hasPrefix(prefix) {
                model.change(number, to: nil, endingAt: try place)
            }
        case 2, 3:
            let tag = CopyRun.tags[draw(3)]
            try await owner.remove(taggedWith: tag)
            model.drop(tag, endingAt: try place)
        case 4 where model.alive(number, at: now) == nil && isIdleAllowed:
            let span = 1 + draw(10)
            _ = try await owner.value(for: key(number)) { _ in Loaded(nil, .init(expiry: .seconds(span))) }
            model.change(number, to: .init(until: now + Int64(span) * 1_000_000_000), endingAt: try place)
        default: return try await set(number, isIdleAllowed: isIdleAllowed)
        }
        return nil
    }

    mutating func set(
        _ number: Int, isIdleAllowed: Bool = true, isSynced: Bool? = nil
    ) async throws -> EntryVersion {
        values += 1
        var kept = CopyModel.Kept(value: values, tags: Set((0..<draw(3)).map { _ in CopyRun.tags[draw(3)] }))
        var expiry = Expiry()
        if draw(2) == 0 { expiry.usable = .milliseconds(500 + draw(8000)) }
        if draw(4) == 0, isIdleAllowed { expiry.idle = .milliseconds(500 + draw(4000)) }
        kept.isIdle = expiry.idle != nil
        for span in [expiry.usable, expiry.idle] {
            if let span { kept.until = min(kept.until, now + span.clampedNanoseconds) }
        }
        let isSynced = isSynced ?? (draw(6) == 0)
        let options = EntryOptions(
            expiry: expiry, tags: Array(kept.tags), durability: isSynced ? .synced : .interval(.seconds(3600)))
        let version = try await owner.set(values, for: key(number), options)
        model.change(number, to: kept, endingAt: owner.isDegraded ? version.number : try place)
        versions.append(version)
        return version
    }

    /// Where the owner's log is, or what it has given out without.
    private var place: UInt64 {
        get throws { try max(owner.changeCursor.lsn.rawValue, owner.store.degraded?.presentVersion ?? 0) }
    }

    // MARK: Reading beside it

    private mutating func read(_ number: Int) async throws {
        let name = "\(name), key \(key(number))"
        let load: @Sendable (String) async throws -> Loaded<Int> = { [asked, remote] key in
            asked.update { $0 += 1 }
            return try await remote.loaded(for: key)
        }
        let found = try await mine.value(for: key(number), loading: load)
        let right = model.readable(number, at: now)
        #expect(right.contains(found), "\(name): \(String(describing: found)), and not of \(right)")
        guard isFollowed else { return }
        #expect(model.isFollowed(number), "\(name)")
        let before = asked.current
        #expect(try await mine.value(for: key(number), loading: load) == found, "\(name), again")
        // What is there is kept, and so is that there is known to be none.
        if model.alive(number, at: now) != nil { #expect(asked.current == before, "\(name): it is not kept") }
        if let held = mine.valueInMemory(for: key(number)) { #expect(held == found, "\(name), in memory") }
    }

    private mutating func readAll() async throws {
        try await settle()
        for number in 0..<CopyRun.keys { try await read(number) }
    }

    /// Everything so far has taken effect here, and the feed has told it.
    mutating func settle() async throws {
        let end = try owner.changeCursor
        try await follower.waitUntilFollowed(end)
        model.follow(upTo: .max)
        isFollowed = true
        for try await change in try owner.changes(since: feedCursor, includingProgress: true) {
            feedCursor = change.cursor
            switch change.event {
            case .set(let key, let value): told[key] = value
            case .removed(let key): told[key] = nil
            case .removedRange(let keys): told = told.filter { !keys.contains($0.key) }
            case .removedAll: told = [:]
            case .tagDropped(let tag): told = told.filter { !model.tags(of: $0.value).contains(where: tag.covers) }
            case .removedOlder, .caughtUp: break
            }
            if change.cursor.lsn >= end.lsn { break }
        }
        for number in 0..<CopyRun.keys {
            guard let alive = model.alive(number, at: now) else { continue }
            #expect(told[key(number)] == alive.value, "\(name), key \(key(number)): what the feed tells")
        }
    }

    // MARK: Waiting

    /// For a write of this history, or of one that was left.
    mutating func wait(for version: EntryVersion) async throws {
        let handed = try #require(EntryVersion(version.description))
        var code: VarveError.Code?
        do throws(VarveError) { try await follower.waitUntilFollowed(handed) } catch { code = error.code }
        let name = "\(name), version \(version)"
        if let end = left[version.history] {
            #expect(code == (version.number <= end ? nil : .notContinuing), "\(name), followed up to \(end)")
        } else {
            #expect(code == nil, "\(name)")
            model.follow(upTo: version.number)
        }
    }

    /// Nothing that a power cut would take back is told, so nobody may be told that it was followed.
    private mutating func waitWhileNothingIsDurable() async throws {
        try await settle()
        log.update { $0 = true }
        let number = draw(CopyRun.keys)
        values += 1
        let kept = CopyModel.Kept(value: values)
        let version = try await owner.set(values, for: key(number), EntryOptions(expiry: .never))
        model.change(number, to: kept, endingAt: try place)
        isFollowed = false
        let isThere = Watched(false)
        let waiting = Task { [follower] in
            try await follower.waitUntilFollowed(version)
            isThere.update { $0 = true }
        }
        for _ in 0..<50 { await Task.yield() }
        try await read(number)
        #expect(!isThere.current, "\(name): a write that is not durable counts as followed")
        log.update { $0 = false }
        try await waiting.value
        model.follow(upTo: version.number)
        try await read(number)
    }
}
