import Glibc
import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// What the article on durability promises of crashes, failing disks and full ones, in one client's order; many clients at
/// once are the histories' business.
struct CrashTests {
    @Test(
        "After a power cut there is no later write without an earlier one, and all of what was synced",
        arguments: 1...12)
    func order(seed: UInt64) async throws {
        var random = SplitMix(seed)
        var rig = CacheRig()
        let store = try await rig.store { $0.memtableBytes = 64 << 10 }
        let cache: Cache<Int, Int> = try await store.cache(named: "c", CacheOptions(memory: .entries(10)))
        let (count, cut) = (200, Int(random.next() % 200))
        var synced = -1
        for number in 0..<count {
            let isSynced = random.next() % 32 == 0
            try await cache.set(
                number, for: number, EntryOptions(durability: isSynced ? .synced : .interval(.seconds(3600))))
            if isSynced { synced = number }
            if random.next() % 64 == 0 { try await store.engine?.flush() }
            if number == cut { break }
        }
        rig.files.cutPower()
        rig.files = rig.files.crash(seed: seed)
        rig.clock.reboot()
        let again: Cache<Int, Int> = try await rig.store().cache(named: "c")
        var found: [Int] = []
        for number in 0..<count where try await again.value(for: number) != nil { found.append(number) }
        #expect(found == Array(0..<found.count), "seed \(seed): a write is missing before a later one")
        #expect(found.count > synced, "seed \(seed): \(synced) was synced")
        try await again.store.close()
    }

    enum Removal: CaseIterable, Sendable { case key, prefix, all, tag }

    @Test(
        "What was removed is gone after a kill, and after a power cut where the removal was synced",
        arguments: Removal.allCases)
    func removed(_ removal: Removal) async throws {
        for (seed, power) in [(1, false), (2, true), (3, true), (4, true)] as [(UInt64, Bool)] {
            var rig = CacheRig()
            let cache = try await rig.cache(.disk, Int.self)
            try await cache.set(1, for: "key", EntryOptions(tags: ["t"], durability: .synced))
            let durability: Durability = power ? .synced : .interval
            switch removal {
            case .key: try await cache.remove("key", durability: durability)
            case .prefix: try await cache.removeAll(withPrefix: "k", durability: durability)
            case .all: try await cache.removeAll(durability: durability)
            case .tag: try await cache.remove(taggedWith: "t", durability: durability)
            }
            rig.files = power ? rig.files.crash(seed: seed) : rig.files.killProcess()
            if power { rig.clock.reboot() }
            let again = try await rig.cache(.disk, Int.self)
            #expect(try await again.value(for: "key") == nil, "seed \(seed)")
            try await again.close()
        }
    }

    @Test("Where the log cannot be synced writes stop with an error and reads go on; opened anew they go on too")
    func failingSync() async throws {
        var rig = CacheRig()
        let cache = try await rig.cache(.disk, Int.self, CacheOptions(memory: .entries(1), policy: .fifo))
        try await cache.set(1, for: "a", EntryOptions(durability: .synced))
        try await cache.set(2, for: "b", EntryOptions(durability: .synced))
        rig.files.fail(5, sticky: true) { $0.operation == .sync && $0.path.contains(".log") }
        await #expect(throws: VarveError.self) { try await cache.set(3, for: "a", EntryOptions(durability: .synced)) }
        rig.files.clearFaults()
        // A sync that failed once is not tried again and called good.
        for _ in 0..<2 {
            await #expect {
                try await cache.set(4, for: "c")
            } throws: {
                ($0 as? VarveError)?.code == .failedStop
            }
        }
        #expect(try await cache.value(for: "a") == 1)
        #expect(try await cache.value(for: "b") == 2)
        rig.files = rig.files.killProcess()
        try? await cache.close()
        let again = try await rig.cache(.disk, Int.self)
        try await again.set(4, for: "c", EntryOptions(durability: .synced))
        #expect(try await again.value(for: "b") == 2)
        #expect(try await again.value(for: "c") == 4)
        try await again.close()
    }

    /// What a disk does to the log at a step that the seed decides.
    enum Trouble: CaseIterable, Sendable { case failingSync, failingWrite, full }

    @Test(
        "A log that fails at any moment stops writes, one without room holds them up; reads go on, and nothing acknowledged goes",
        arguments: Trouble.allCases, 1...6 as ClosedRange<UInt64>)
    func troubles(_ trouble: Trouble, seed: UInt64) async throws {
        var random = SplitMix(course: seed)
        var rig = CacheRig()
        // Writes are calls that can fail.
        rig.files.offerStoreMaps(false)
        var cache: Cache<Int, Int> = try await rig.store().cache(named: "c", CacheOptions(memory: .entries(3)))
        var acknowledged: [Int: Int] = [:]
        func set(_ step: Int) async -> VarveError.Code? {
            let key = Int(random.next() % 20)
            let thrown = await code { _ = try await cache.set(step, for: key, EntryOptions(durability: .synced)) }
            // One that was not acknowledged may stand or not.
            acknowledged[key] = thrown == nil ? step : Int?.none
            return thrown
        }
        func check(_ when: String) async throws {
            for (key, value) in acknowledged {
                #expect(try await cache.value(for: key) == value, "\(trouble), seed \(seed), \(when)")
            }
        }
        let before = Int.random(in: 5...60, using: &random)
        for step in 0..<before { #expect(await set(step) == nil) }
        rig.files.fail(trouble == .full ? ENOSPC : EIO, sticky: true) {
            $0.path.contains(".log") && $0.operation == (trouble == .failingSync ? .sync : .write)
        }
        for step in before..<before + 5 {
            let thrown = await set(step)
            let expected: [VarveError.Code] = trouble == .full ? [.diskFull] : [.io, .failedStop]
            #expect(thrown.map(expected.contains) == true, "\(trouble), seed \(seed): \(thrown as Any)")
            try await check("while it lasts")
        }
        rig.files.clearFaults()
        if trouble == .full {
            for step in 100..<110 { #expect(await set(step) == nil, "seed \(seed): there is room again") }
        } else {
            #expect(await set(100) == .failedStop, "\(trouble), seed \(seed): a log that failed once is not trusted")
        }
        try await check("afterwards")
        rig.files = rig.files.killProcess()
        try? await cache.store.close()
        cache = try await rig.store().cache(named: "c", CacheOptions(memory: .entries(3)))
        try await check("opened anew")
        #expect(await set(200) == nil, "\(trouble), seed \(seed)")
        try await cache.store.close()
    }

    @Test(
        "On a full disk writes fail and reads go on; freed space lets writes resume, and loads live in memory meanwhile"
    )
    func fullDisk() async throws {
        let rig = CacheRig()
        rig.files.offerStoreMaps(false)
        let cache = try await rig.cache(.disk, Int.self)
        try await cache.set(1, for: "a")
        rig.files.fail(28, sticky: true) { $0.operation == .write && $0.path.contains(".log") }
        await #expect {
            try await cache.set(2, for: "a", EntryOptions(durability: .synced))
        } throws: {
            ($0 as? VarveError)?.code == .diskFull
        }
        #expect(try await cache.value(for: "a") == 1)
        let loaded = try await cache.value(for: "b", loading: { _ in Loaded(3, EntryOptions(durability: .synced)) })
        #expect(loaded == 3)
        #expect(cache.statistics.loadsUnstored == 1)
        #expect(cache.valueInMemory(for: "b") == 3)
        rig.files.clearFaults()
        try await cache.set(4, for: "a", EntryOptions(durability: .synced))
        #expect(try await cache.value(for: "a") == 4)
        try await cache.close()
    }

    @Test("A bit that rots on disk is named by the read that meets it, and never served")
    func rot() async throws {
        let rig = CacheRig()
        let cache = try await rig.cache(.disk, String.self)
        var random = SplitMix(1)
        let texts = (0..<100).map { _ in (0..<30).map { _ in String(random.next()) }.joined() }
        for number in 0..<100 { try await cache.set(texts[number], for: "\(number)") }
        try await cache.store.engine?.flush()
        try await cache.close()
        let tables = try rig.files.list(CacheRig.path).filter { $0.hasSuffix(".sst") }
        for table in tables {
            let path = "\(CacheRig.path)/\(table)"
            // Not where the store keeps what it needs to open.
            let middle = Int(try rig.files.open(path, .read).size()) / 2
            try rig.files.corrupt(path, at: middle, xor: 0x10)
        }
        let again = try await rig.cache(.disk, String.self)
        var named = 0
        for number in 0..<100 {
            do {
                if let found = try await again.value(for: "\(number)") { #expect(found == texts[number]) }
            } catch {
                #expect(error.code == .corruption)
                #expect(tables.contains { error.description.contains($0) }, "\(error)")
                named += 1
            }
        }
        #expect(named > 0)
        try await again.close()
    }
}
