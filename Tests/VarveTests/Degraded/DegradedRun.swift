import Glibc
import Testing
import VarveIO
import VarveTestSupport

@testable import Varve
@testable import VarveEngine

/// A cache that goes on in memory, on a course that a seed draws: its disk fills up, its log takes no sync, not even the mark
/// can be made, tables cannot be read, and all of that passes again; it is closed, loses power, and is opened on a disk that
/// refuses it.
///
/// Reads and loads go on through all of it; what nobody has changed is there as long as it can be read; what cannot be read
/// is a miss, and counted. Once the disk takes writes the store is there again at the next turn of its own thread.
struct DegradedRun {
    private enum Fault: CaseIterable {
        /// The disk has no room.
        case full
        /// The log takes no sync.
        case log
        /// Nor does the mark.
        case mark
        /// No change of any file is taken.
        case changes
        /// No table can be read.
        case tables
    }

    /// What happened, so that courses which never come there are seen.
    struct Met {
        var returns = 0
        var damaged = 0
        var refusedOpenings = 0
        var degradedOpenings = 0
        var loadsWithoutMark = 0
        /// Found on disk by a store that goes on in memory.
        var readsOfDisk = 0
    }

    private let seed: UInt64
    private var random: SplitMix
    private var rig = DegradedRig()
    private var cache: Cache<String, String>
    private var model = DegradedModel()
    private var faults: Set<Fault> = []
    private var values = 0
    private var step = 0
    private(set) var met = Met()

    private static let keys = ["a/", "b/"].flatMap { prefix in (0..<8).map { "\(prefix)\($0)" } }

    init(_ seed: UInt64) async throws {
        self.seed = seed
        random = SplitMix(course: seed)
        cache = try await DegradedRun.open(rig, .memoryOnly)
    }

    private static func open(_ rig: DegradedRig, _ degradation: Degradation) async throws -> Cache<String, String> {
        try await rig.cache(degradation) { $0.blockCacheBytes = 0 }
    }

    private var name: String { "seed \(seed), step \(step), \(faults)" }
    private mutating func draw(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }
    private mutating func drawKey() -> String { DegradedRun.keys[draw(DegradedRun.keys.count)] }

    mutating func run() async throws {
        for key in DegradedRun.keys { try await set(key) }
        for number in 1...120 {
            step = number
            switch draw(24) {
            case 0..<3: try await set(drawKey())
            case 3, 4: try await removeSome()
            case 5..<9: try await read(drawKey())
            case 9..<12: try await load(drawKey())
            case 12..<14: try await rig.evictAll(cache)
            case 14, 15: fail(Fault.allCases[draw(5)])
            case 16, 17: try await heal()
            case 18: try await passInVain()
            case 19: try await flush()
            case 20 where draw(3) == 0: try await restart()
            case 21 where faults.isEmpty: for key in DegradedRun.keys { try await set(key) }
            default: try await readAll()
            }
        }
        try await heal()
        try await readWithoutMemory()
        for key in DegradedRun.keys { try await set(key) }
        try await restart()
        try await heal()
        try await judgeDamage()
        try await cache.store.close()
    }

    /// What nobody has changed since the disk filled up is read from there.
    private mutating func readWithoutMemory() async throws {
        for key in DegradedRun.keys { try await set(key) }
        faults = [.full]
        try await rig.fillDisk(cache)
        #expect(cache.isDegraded, "\(name)")
        try await rig.evictAll(cache)
        try await readAll()
        try await heal()
        try await readAll()
    }

    // MARK: Faults

    private mutating func fail(_ fault: Fault) {
        faults.insert(fault)
        let files = rig.files
        switch fault {
        case .full: files.capacity = files.usedBytes
        case .log: rig.failLog()
        case .mark: files.fail(EIO, sticky: true) { $0.operation == .sync }
        case .changes: files.fail(EIO, sticky: true) { $0.operation.isChange && $0.operation != .lock }
        case .tables:
            files.dropCaches()
            files.fail(EIO, sticky: true) { $0.operation == .read && $0.path.hasSuffix(".sst") }
        }
    }

    private var takesMark: Bool { faults.isDisjoint(with: [.mark, .changes]) }

    /// The disk is sound again: at its next turn the store's own thread takes everything there, however long it was refused.
    private mutating func heal() async throws {
        faults = []
        rig.files.clearFaults()
        rig.files.capacity = nil
        await cache.store.warmed()
        guard cache.isDegraded else { return }
        rig.rig.clock.advance(by: .seconds(61))
        await cache.store.warmed()
        #expect(!cache.isDegraded, "\(name): the disk is sound, and it does not return")
        met.returns += 1
    }

    /// The store tries its disk meanwhile.
    private mutating func passInVain() async throws {
        rig.rig.clock.advance(by: .seconds(1 + draw(70)))
        await cache.store.warmed()
        try await read(drawKey())
    }

    private mutating func flush() async throws {
        guard faults.isEmpty, !cache.isDegraded else { return }
        try await cache.store.engine?.flush()
        rig.files.dropCaches()
    }

    // MARK: Changes

    private mutating func set(_ key: String, bytes: Int = 200) async throws {
        values += 1
        // They hardly compress.
        let value = "\(values) " + (0..<(bytes / 16)).map { _ in String(random.next(), radix: 16) }.joined()
        let tag = draw(3) == 0 ? "tag \(draw(2))" : nil
        let wasDegraded = cache.isDegraded
        let options = EntryOptions(tags: tag.map { [$0] } ?? [])
        guard await change({ cache in _ = try await cache.set(value, for: key, options) }) else {
            return model.refuse(key, value, tag: tag)
        }
        model.set(key, value, tag: tag, mayBeMissing: wasDegraded || cache.isDegraded)
    }

    private mutating func removeSome() async throws {
        let key = drawKey()
        let prefix = String(key.prefix(1 + draw(3)))
        let tag = "tag \(draw(2))"
        let isGone: (String) -> Bool
        switch draw(6) {
        case 0:
            let isMade = await change { cache in try await cache.removeAll(withPrefix: prefix) }
            guard isMade else { return refuse(prefix) }
            isGone = { $0.hasPrefix(prefix) }
        case 1:
            guard await change({ cache in try await cache.remove(taggedWith: tag) }) else { return refuse("") }
            return model.drop(tag)
        default:
            guard await change({ cache in try await cache.remove(key) }) else { return refuse(key) }
            isGone = { $0 == key }
        }
        model.remove(isGone)
    }

    private mutating func refuse(_ prefix: String) {
        for key in DegradedRun.keys where key.hasPrefix(prefix) { model.refuse(key, nil, tag: nil) }
    }

    /// Whether it was acknowledged. As long as the mark can be made, it is.
    private func change(_ body: (Cache<String, String>) async throws -> Void) async -> Bool {
        let code = await code { try await body(cache) }
        if takesMark { #expect(code == nil, "\(name): a change throws though the mark can be made") }
        return code == nil
    }

    // MARK: Reads and loads

    private mutating func readAll() async throws { for key in DegradedRun.keys { try await read(key) } }

    private mutating func read(_ key: String) async throws {
        let before = cache.health.damagedReads
        let isOnDisk = cache.isDegraded && cache.valueInMemory(for: key) == nil
        let found = try await cache.value(for: key)
        if isOnDisk, found != nil { met.readsOfDisk += 1 }
        judge(key, found, before)
    }

    /// What is missing though it must be there was met as damage, and that was noted.
    private mutating func judge(_ key: String, _ found: String?, _ before: UInt64) {
        if found == nil, model.mustBeThere(key) {
            met.damaged += 1
            let health = cache.health
            #expect(faults.contains(.tables), "\(name), \(key): it is missing, and nothing is damaged")
            #expect(health.damagedReads > before, "\(name), \(key): a miss for damage that is not counted")
            #expect(health.lastDamage?.path?.hasSuffix(".sst") == true, "\(name), \(key)")
            return #expect(!health.isHealthy, "\(name), \(key)")
        }
        let right = model.readable(key)
        #expect(right.contains(found), "\(name), \(key): \(found?.prefix(8) ?? "nothing")")
    }

    /// It has a value, whatever the disk says, and so has who comes next.
    private mutating func load(_ key: String) async throws {
        values += 1
        let value = "\(values) loaded"
        let before = cache.health.damagedReads
        let found = try await cache.value(for: key) { _ in value }
        if found == value {
            judge(key, nil, before)
            model.load(key, value)
            if !takesMark { met.loadsWithoutMark += 1 }
        } else {
            judge(key, found, before)
        }
        let again = try await cache.value(for: key)
        #expect(again == found, "\(name), \(key): what was loaded is not there: \(again?.prefix(8) ?? "nothing")")
    }

    // MARK: Ends and beginnings

    private mutating func restart() async throws {
        await cache.store.warmed()
        let wasInMemory: Bool
        if draw(2) == 0 {
            let code = await code { try await cache.store.close() }
            if faults.isEmpty { #expect(code == nil, "\(name)") }
            // Nobody sees to the disk any more: so it is left.
            wasInMemory = cache.isDegraded
        } else {
            let before = cache.isDegraded
            let next = rig.crashed(random.next())
            // The store may have been setting the mark by itself when the power went.
            await cache.store.degraded?.settled()
            wasInMemory = before || cache.isDegraded
            rig.files.cutPower()
            _ = await code { try await cache.store.close() }
            rig = next
        }
        model.restart(wasInMemory: wasInMemory)
        for _ in 0...draw(3) {
            if try await openRefused() { return }
        }
        soothe()
        cache = try await DegradedRun.open(rig, .memoryOnly)
        #expect(!cache.isDegraded, "\(name)")
        try await readAll()
    }

    private mutating func soothe() {
        faults = []
        rig.files.clearFaults()
        rig.files.capacity = nil
    }

    /// An opening on a disk that has little room, or takes no change from some call on. True where the store goes on from it.
    private mutating func openRefused() async throws -> Bool {
        soothe()
        if draw(2) == 0 {
            faults = [.full]
            rig.files.capacity = rig.files.usedBytes + UInt64(draw(draw(2) == 0 ? 12 : 140) * 4096)
        } else {
            faults = [.changes]
            let (calls, first) = (Watched(0), 1 + draw(12))
            rig.files.fail(EIO, sticky: true) { call in
                guard call.operation.isChange, call.operation != .lock else { return false }
                return calls.update {
                    $0 += 1
                    return $0 >= first
                }
            }
        }
        let isThrowing = draw(3) == 0
        do { cache = try await DegradedRun.open(rig, isThrowing ? .throwing : .memoryOnly) } catch {
            #expect([.diskFull, .io, .failedStop].contains((error as? VarveError)?.code), "\(name): \(error)")
            met.refusedOpenings += 1
            // Nor does a power cut after it.
            if draw(3) == 0 { rig = rig.crashed(random.next()) }
            return false
        }
        if cache.isDegraded { met.degradedOpenings += 1 }
        try await readAll()
        guard !isThrowing, draw(2) == 0 else {
            soothe()
            _ = await code { try await cache.store.close() }
            model.restart(wasInMemory: cache.isDegraded)
            return false
        }
        return true
    }

    // MARK: Damage that stays

    /// A byte of a table is another: what it makes unreadable is a miss, which alarms for an hour, and a load writes over it.
    private mutating func judgeDamage() async throws {
        step += 1
        for key in DegradedRun.keys { try await set(key, bytes: 1000) }
        try await flush()
        try await cache.store.close()
        let tables = try rig.files.list(CacheRig.path).filter { $0.hasSuffix(".sst") }
        let table = CacheRig.path + "/" + (try #require(tables.max()))
        // In a block of entries, beyond what tells of tags.
        try rig.files.corrupt(table, at: 5000 + draw(6000))
        cache = try await DegradedRun.open(rig, .memoryOnly)
        faults = [.tables]
        try await readAll()
        let damaged = cache.health.damagedReads
        for key in DegradedRun.keys where try await cache.value(for: key) == nil {
            #expect(cache.health.lastDamage?.path == table, "\(name), \(key)")
            #expect(try await cache.value(for: key) { _ in "again" } == "again", "\(name), \(key)")
            model.load(key, "again")
            try await rig.evictAll(cache)
            if !cache.isDegraded { #expect(try await cache.value(for: key) == "again", "\(name), \(key)") }
        }
        guard damaged > 0, !cache.isDegraded else { return }
        let reads = cache.health.damagedReads
        rig.rig.clock.advance(by: .seconds(3599))
        #expect(!cache.health.isHealthy, "\(name)")
        rig.rig.clock.advance(by: .seconds(1))
        // A compaction that meets the damage goes round it, and says so for as long as it is there.
        var goesRound = false
        if case .hindered(let error) = cache.health.state { goesRound = error.path == table }
        #expect((cache.health.isHealthy || goesRound) && cache.health.damagedReads == reads, "\(name)")
    }
}
