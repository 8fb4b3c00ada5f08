import Glibc
import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// A store that cannot be opened as it is, while it may go on in memory.
struct DiskOutageTests {
    enum Damage: String, CaseIterable, Sendable {
        case manifest = "MANIFEST"
        case log = ".log"
        case current = "CURRENT"
    }

    private func load(_ cache: Cache<String, String>, _ key: String) async throws -> String? {
        try await cache.value(for: key, loading: { _ in Loaded("loaded") })
    }

    /// A closed store with something old in it. The rot goes and comes by the same call.
    private func damaged(_ damage: Damage, _ degradation: Degradation = .memoryOnly, seed: UInt64 = 0) async throws
        -> (rig: DegradedRig, rot: () throws -> Void)
    {
        let rig = DegradedRig()
        let cache = try await rig.cache(degradation)
        for name in ["set", "removed", "kept"] { try await cache.set("old", for: name) }
        try await cache.store.close()
        let paths = try rig.files.list(CacheRig.path).filter { $0.contains(damage.rawValue) }
        let rot = {
            for path in paths { try rig.files.corrupt(CacheRig.path + "/" + path, at: 20, xor: 1 << UInt8(seed % 8)) }
        }
        try rot()
        return (rig, rot)
    }

    @Test(
        "Reads and loads go on in memory, changes once the mark is durable; nothing old shows, then or later",
        arguments: Damage.allCases, 1...3 as ClosedRange<UInt64>)
    func damagedStore(_ damage: Damage, seed: UInt64) async throws {
        let (rig, rot) = try await damaged(damage, seed: seed)
        #expect(await code { _ = try await rig.cache(.throwing) } == .corruption)
        let cache = try await rig.cache()
        guard case .degraded(let episode) = cache.health.state else {
            Issue.record("\(cache.health)")
            return
        }
        #expect(episode.isWithoutStore && !episode.returnsByItself && !episode.isMarkDurable)
        #expect(episode.cause.code == .corruption && cache.health.description.contains("varve repair"))
        #expect(cache.statistics.degradation?.isDegraded == true)
        #expect(try await cache.value(for: "kept") == nil)
        #expect(try await load(cache, "loaded") == "loaded")
        #expect(try await cache.value(for: "loaded") == "loaded")
        // A load's result condemns nothing.
        #expect(!cache.health.description.contains("has whoever opens it drop what it held"))
        try await cache.set("new", for: "set")
        try await cache.remove("removed")
        try await cache.remove(taggedWith: "t")
        try await cache.removeAll(withPrefix: "other")
        #expect(try await cache.value(for: "set") == "new")
        if case .degraded(let later) = cache.health.state { #expect(later.isMarkDurable) }
        // What a restart could not keep is refused.
        let versioned = await code { try await cache.set("8", for: "a", EntryOptions(sourceVersion: 8)) }
        #expect(versioned == .degraded)
        #expect(await code { try await cache.removeAll(olderThan: 8) } == .degraded)
        #expect(cache.statistics.degradation?.writesRefused == 2)
        #expect(await code { _ = try cache.changeCursor } == .degraded)
        #expect(await code { _ = try await cache.store.cacheNames() } == .degraded)
        // The folder is kept from others, and each name from a second cache.
        #expect(await code { _ = try await rig.cache() } == .storeInUse)
        #expect(
            await code { _ = try await cache.store.cache(named: "c", of: String.self, to: String.self) }
                == .invalidArgument)
        try rot()
        for next in [rig.crashed(seed), rig] {
            if next.files === rig.files { try await cache.store.close() }
            let again = try await next.cache(.throwing)
            for name in ["set", "removed", "kept"] { #expect(try await again.value(for: name) == nil, "\(name)") }
            try await again.store.close()
        }
    }

    @Test("Where nothing was changed meanwhile, nothing is lost", arguments: Damage.allCases)
    func unchanged(_ damage: Damage) async throws {
        let (rig, rot) = try await damaged(damage)
        let cache = try await rig.cache()
        #expect(try await load(cache, "kept") == "loaded")
        try await cache.store.close()
        try rot()
        let again = try await rig.cache()
        #expect(!again.isDegraded)
        for name in ["set", "removed", "kept"] { #expect(try await again.value(for: name) == "old") }
        try await again.store.close()
    }

    @Test("Without a mark, or where it cannot be written, changes throw, and loads go on", arguments: [true, false])
    func noMark(isThere: Bool) async throws {
        let (rig, rot) = try await damaged(.manifest, isThere ? .memoryOnly : .throwing)
        rig.files.fail(EIO, sticky: true) { $0.operation.isChange && $0.path.hasSuffix("DEGRADED") }
        let cache = try await rig.cache()
        #expect(cache.isDegraded)
        #expect(try await load(cache, "set") == "loaded")
        #expect(await code { try await cache.set("new", for: "set") } == .corruption)
        #expect(await code { try await cache.remove("set") } == .corruption)
        #expect(await code { try await cache.remove(taggedWith: "t") } == .corruption)
        #expect(await code { try await cache.removeAll() } == .corruption)
        #expect(try await cache.value(for: "set") == "loaded")
        #expect(cache.statistics.degradation?.writesRefused == 4)
        rig.files.clearFaults()
        // The disk is left alone for a second.
        #expect(await code { try await cache.remove("set") } == .corruption)
        #expect(!cache.health.isWritable)
        rig.rig.clock.advance(by: .seconds(1))
        #expect(await code { try await cache.remove("set") } == (isThere ? nil : .corruption))
        #expect(cache.health.isWritable == isThere)
        try await cache.store.close()
        try rot()
        let again = try await rig.cache(.throwing)
        #expect(try await again.value(for: "set") == (isThere ? nil : "old"))
        try await again.store.close()
    }

    @Test("However many changes a broken disk refuses, it is asked once a second, then less and less often")
    func pauses() async throws {
        let (rig, _) = try await damaged(.manifest)
        let asked = Watched(0)
        rig.files.fail(EIO, sticky: true) { $0.operation.isChange && $0.path.hasSuffix("DEGRADED") }
        let cache = try await rig.cache()
        rig.files.observe { call in
            if call.operation.isChange, call.path.hasSuffix("DEGRADED") { asked.update { $0 += 1 } }
        }
        /// Of 20 changes side by side how often the disk was asked.
        func refused() async -> Int {
            let before = asked.current
            await withTaskGroup(of: Void.self) { group in
                for number in 0..<20 {
                    group.addTask {
                        #expect(await code { try await cache.set("new", for: "\(number)") } == .corruption)
                    }
                }
            }
            return asked.current - before
        }
        #expect(await refused() == 1)
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            #expect(await refused() == 0)
            rig.rig.clock.advance(by: .seconds(seconds) - .nanoseconds(1))
            #expect(await refused() == 0, "\(seconds) s")
            rig.rig.clock.advance(by: .nanoseconds(1))
            #expect(await refused() == 1, "\(seconds) s")
        }
        #expect(cache.statistics.degradation?.writesRefused == 20 * 25)
        rig.files.clearFaults()
        rig.rig.clock.advance(by: .seconds(60))
        try await cache.set("new", for: "a")
        rig.files.observe(nil)
        #expect(cache.health.isWritable)
        try await cache.store.close()
    }

    @Test("A store that is yet to be made on a full disk goes on in memory, with changes while the folder holds none")
    func newOnFullDisk() async throws {
        var (opened, acknowledged) = (0, 0)
        for pages in 0..<8 {
            let rig = DegradedRig()
            rig.files.capacity = rig.files.usedBytes + UInt64(pages * 4096)
            #expect(await code { _ = try await rig.cache(.throwing) } == .diskFull, "\(pages) pages")
            let cache = try await rig.cache()
            #expect(cache.isDegraded, "\(pages) pages")
            #expect(try await load(cache, "a") == "loaded")
            opened += 1
            let refusal = await code { try await cache.set("new", for: "a") }
            #expect(refusal == nil || refusal == .diskFull, "\(pages) pages")
            #expect(try await cache.value(for: "a") == (refusal == nil ? "new" : "loaded"), "\(pages) pages")
            if refusal == nil { acknowledged += 1 }
            try await cache.store.close()
            rig.files.capacity = nil
            let again = try await rig.cache()
            #expect(!again.isDegraded, "\(pages) pages")
            #expect(try await again.value(for: "a") == nil, "\(pages) pages")
            try await again.set("newer", for: "a")
            try await again.store.close()
        }
        #expect(opened > 4 && acknowledged > 0)
    }

    @Test("A folder that could not be locked is looked at anew: what another has made there since is left alone")
    func unlocked() async throws {
        let rig = DegradedRig()
        rig.files.fail(ENOSPC, sticky: true) { $0.operation == .lock }
        let cache = try await rig.cache()
        #expect(cache.isDegraded)
        try await cache.set("mine", for: "a")
        #expect(cache.health.isWritable)
        rig.files.clearFaults()
        let other = try await rig.cache(.throwing)
        try await other.set("theirs", for: "a")
        // While it is open there, and after that.
        #expect(await code { try await cache.set("mine again", for: "a") } == .diskFull)
        try await other.store.close()
        rig.rig.clock.advance(by: .seconds(1))
        #expect(await code { try await cache.remove("a") } == .diskFull)
        #expect(!cache.health.isWritable && cache.health.description.contains("sets and removals throw"))
        #expect(try await cache.value(for: "a") == "mine")
        #expect(try await load(cache, "b") == "loaded")
        let again = try await rig.cache(.throwing)
        #expect(try await again.value(for: "a") == "theirs")
        try await again.store.close()
        try await cache.store.close()
    }

    @Test("It is locked with the first change for which there is room")
    func lockedLater() async throws {
        let rig = DegradedRig()
        rig.files.fail(ENOSPC, sticky: true) { $0.operation == .lock }
        let cache = try await rig.cache()
        rig.files.clearFaults()
        try await cache.set("mine", for: "a")
        #expect(await code { _ = try await rig.cache(.throwing) } == .storeInUse)
        try await cache.store.close()
        let again = try await rig.cache(.throwing)
        #expect(try await again.value(for: "a") == nil)
        try await again.store.close()
    }

    @Test("The folder is looked at once it is locked: what is there before may be another's that is just being made")
    func lockedFirst() async throws {
        let (rig, _) = try await damaged(.manifest)
        let (isLocked, lookedBefore) = (Watched(false), Watched(false))
        rig.files.observe { call in
            if call.operation == .lock { isLocked.update { $0 = true } }
            if call.operation == .list, !isLocked.current { lookedBefore.update { $0 = true } }
        }
        let held = try await IOThread.run(name: "test-hold") { () throws(VarveError) in
            try HeldStore.hold(at: CacheRig.path, rig.files)
        }
        rig.files.observe(nil)
        #expect(isLocked.current && !lookedBefore.current && !held.isNew)
        await IOThread.run(name: "test-hold") { held.letGo() }
    }

    @Test("On a file system that takes no writes loads go on and changes throw, and nobody is kept from reading it")
    func readOnly() async throws {
        let rig = DegradedRig()
        let before = try await rig.cache()
        try await before.set("old", for: "a")
        try await before.store.close()
        rig.files.fail(EROFS, sticky: true) {
            $0.operation.isChange || ($0.operation == .open && $0.path.hasSuffix("DEGRADED"))
        }
        let caches = [try await rig.cache(), try await rig.cache()]
        for cache in caches {
            #expect(cache.isDegraded)
            #expect(try await load(cache, "b") == "loaded")
            #expect(await code { try await cache.set("new", for: "a") } == .io)
            #expect(try await cache.value(for: "a") == nil)
            #expect(cache.statistics.degradation?.writesRefused == 1)
            #expect(!cache.health.isWritable && cache.health.description.contains("sets and removals throw"))
        }
        for cache in caches { try await cache.store.close() }
        rig.files.clearFaults()
        let again = try await rig.cache(.throwing)
        #expect(try await again.value(for: "a") == "old")
        try await again.store.close()
    }

    @Test(
        "Nor are changes taken where the folder is empty: it cannot be locked against all, so somebody may make a store there",
        arguments: [false, true])
    func readOnlyAndEmpty(hasLock: Bool) async throws {
        let rig = DegradedRig()
        if hasLock {
            try rig.files.createDirectory(CacheRig.path)
            try rig.files.open(CacheRig.path + "/LOCK", .createNew).close()
        }
        rig.files.fail(EROFS, sticky: true) { $0.operation.isChange }
        let cache = try await rig.cache()
        #expect(cache.isDegraded && !cache.health.isWritable)
        #expect(cache.health.description.contains("sets and removals throw"))
        #expect(try await load(cache, "b") == "loaded")
        #expect(await code { try await cache.set("new", for: "a") } == .io)
        #expect(await code { try await cache.removeAll() } == .io)
        #expect(try await cache.value(for: "a") == nil)
        #expect(try await cache.value(for: "b") == "loaded")
        rig.files.clearFaults()
        // Where it takes writes again, somebody else may have it, unless there was a LOCK to share.
        let other = hasLock ? nil : try await rig.cache(.throwing)
        if hasLock { #expect(await code { _ = try await rig.cache(.throwing) } == .storeInUse) }
        #expect(await code { try await cache.set("new", for: "a") } == .io)
        try await cache.store.close()
        try await other?.store.close()
    }

    @Test("Its log says so once, and what another program wrote or somebody has open is no outage")
    func told() async throws {
        var (rig, _) = try await damaged(.manifest)
        let lines = Lines()
        rig.rig.observation.logger = lines.logger
        let cache = try await rig.cache()
        await cache.store.maintained()
        await cache.store.maintained()
        #expect(lines.all.filter { $0.contains("cannot be opened as it is") }.count == 1)
        try await cache.store.close()
        for code in [VarveError.Code.unsupportedFormat, .storeInUse, .invalidArgument, .readOnly] {
            #expect(!DiskOutage.allows(VarveError(code, "no")))
        }
        func opening(_ code: Int32) -> VarveError { VarveError(IOError(code: code, operation: "open", path: "/cache")) }
        #expect(DiskOutage.allows(opening(EIO)) && DiskOutage.allows(opening(ENOSPC)))
        #expect(!DiskOutage.allows(opening(EACCES)) && !DiskOutage.allows(opening(ENOTDIR)))
        #expect(!DiskOutage.allows(VarveError(.diskFull, "the store's own budget")))
    }
}
