import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

struct AdmissionTests {
    @Test("A full disk takes what a loader brings for the second time, and whatever is written by hand")
    func secondSighting() async throws {
        let eviction = S3FIFOEviction(expectedEntries: 1000)
        let store = try await CacheRig().store(evictingBy: eviction)
        let cache: Cache<String, Int> = try await store.cache(
            named: "c", CacheOptions(memory: .entries(1), policy: .fifo))
        #expect(try await cache.value(for: "while there is room") { _ in 1 } == 1)
        eviction.noteOccupancy(1)
        for number in 0..<3 {
            #expect(try await cache.value(for: "once") { _ in number } == number)
            // Out of memory again.
            try await cache.set(0, for: "by hand \(number)")
            if number == 1 { break }
        }
        // Its second sighting was stored: no third load.
        #expect(try await cache.value(for: "once") { _ in 7 } == 1)
        #expect(try await cache.value(for: "while there is room") { _ in 7 } == 1)
        #expect(try await cache.value(for: "by hand 0") == 0)
        #expect(cache.statistics.diskWritesAvoided == 1)
        try await store.close()
    }

    @Test("What nobody read goes on its way down a full disk, leaves a trace, and stays when it is loaded again")
    func goneOnTheWayDown() async throws {
        var random = SplitMix(5)
        let store = try await CacheRig().store { try? $0.setDiskLimit(.megabytes(16)) }
        let cache: Cache<String, [UInt8]> = try await store.cache(
            named: "c", CacheOptions(memory: .entries(1), policy: .fifo))
        func value() -> [UInt8] { (0..<6000).map { _ in UInt8(truncatingIfNeeded: random.next()) } }
        func settle() async throws {
            try await store.engine?.flush()
            while store.engine?.isSettled == false { try await Task.sleep(for: .milliseconds(2)) }
        }
        // Twice what there is room for.
        let count = 5000
        for number in 0..<count { try await cache.set(value(), for: "\(number)") }
        try await settle()
        let left = try cache.keysOnDisk()
        let gone = (0..<count).filter { !left.contains("\($0)") }
        #expect(gone.count > 1000 && left.count > 1000, "\(gone.count) are gone, \(left.count) are left")
        // Of what it never had it takes nothing at the first sighting.
        let loaded = value()
        for number in 0..<100 { _ = try await cache.value(for: "new \(number)") { _ in loaded } }
        #expect(cache.statistics.diskWritesAvoided == 100)
        // What went where it came down counts as seen; what a sweep let go had its time, and leaves no trace.
        for number in gone.suffix(1000) { _ = try await cache.value(for: "\(number)") { _ in loaded } }
        let stored = 1100 - cache.statistics.diskWritesAvoided
        #expect(stored > 100, "\(stored)")
        try await settle()
        let present = try cache.keysOnDisk()
        #expect(gone.contains { present.contains("\($0)") })
        try await store.close()
    }

    @Test("A load that memory alone keeps is not replaced by one that began before it")
    func overtaken() async throws {
        let eviction = S3FIFOEviction(expectedEntries: 1000)
        let store = try await CacheRig().store(evictingBy: eviction)
        let cache: Cache<String, Int> = try await store.cache(named: "c")
        eviction.noteOccupancy(1)
        let door = Door()
        let first = await cache.hangingLoad("a", of: 1, behind: door)
        cache.partLoad("a")
        #expect(try await cache.value(for: "a") { _ in 2 } == 2)
        #expect(cache.statistics.diskWritesAvoided == 1)
        await door.open()
        #expect(try await first.value == 1)
        #expect(try await cache.value(for: "a") == 2)
        try await store.close()
    }

    @Test("A load of what was removed meanwhile is kept nowhere, and counts as outdated")
    func outdated() async throws {
        let eviction = S3FIFOEviction(expectedEntries: 1000)
        let store = try await CacheRig().store(evictingBy: eviction)
        let cache: Cache<String, Int> = try await store.cache(named: "c")
        eviction.noteOccupancy(1)
        let door = Door()
        let load = await cache.hangingLoad("a", of: 1, behind: door)
        try await cache.remove("a")
        await door.open()
        #expect(try await load.value == 1)
        #expect(cache.valueInMemory(for: "a") == nil)
        #expect(cache.statistics.diskWritesAvoided == 0)
        #expect(cache.statistics.loadsOutdated == 1)
        try await store.close()
    }

    /// Whether the disk takes a key that was seen once before the store was closed.
    private func isKnownAfterReopening(_ damage: (SimulatedFileSystem) throws -> Void) async throws -> Bool {
        let rig = CacheRig()
        for round in 0..<2 {
            let eviction = S3FIFOEviction(expectedEntries: 1000)
            let store = try await rig.store {
                $0.diskBudgetBytes = 64 << 20
                $0.usesThreads = false
                $0.eviction = eviction
            }
            let cache: Cache<String, Int> = try await store.cache(
                named: "c", CacheOptions(memory: .entries(1), policy: .fifo))
            eviction.noteOccupancy(1)
            #expect(try await cache.value(for: "once") { _ in round } == round)
            if round == 0 { #expect(cache.statistics.diskWritesAvoided == 1) }
            if round == 1 {
                let wasStored = cache.statistics.diskWritesAvoided == 0
                try await store.close()
                return wasStored
            }
            try await store.close()
            try damage(rig.files)
        }
        return false
    }

    @Test("What a full disk has seen is known after a restart, and a damaged memory of it is none")
    func sightingsOutliveTheProcess() async throws {
        let path = CacheRig.path + "/eviction-state"
        #expect(try await isKnownAfterReopening { _ in })
        #expect(try await !isKnownAfterReopening { try $0.remove(path) })
        #expect(
            try await !isKnownAfterReopening { files in
                let file = try files.open(path, .readWrite)
                var bytes = try file.read(count: Int(try file.size()), at: 0)
                bytes[bytes.count / 2] ^= 1
                try file.write(bytes, at: 0)
                file.close()
            })
    }

    @Test("A pinned entry is pinned after reopening too, and keeps its idle span")
    func pinned() async throws {
        let rig = CacheRig()
        let cache: Cache<String, Int> = try await rig.store().cache(named: "c")
        try await cache.set(1, for: "a", EntryOptions(expiry: Expiry(idle: .seconds(10)), isPinned: true))
        try await cache.store.close()
        let store = try await rig.store()
        let again: Cache<String, Int> = try await store.cache(
            named: "c", CacheOptions(memory: .entries(2), policy: .lru))
        #expect(try await again.value(for: "a") == 1)
        for number in 0..<10 { try await again.set(number, for: "\(number)") }
        #expect(again.valueInMemory(for: "a") == 1)
        rig.clock.advance(by: .seconds(8))
        #expect(again.valueInMemory(for: "a") == 1)
        rig.clock.advance(by: .seconds(8))
        #expect(again.valueInMemory(for: "a") == 1)
        try await store.close()
    }
}
