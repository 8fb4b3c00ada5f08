import Testing
import VarveEngine
import VarveIO
import VarvePolicy
import VarveTestSupport

@testable import Varve

/// What one client saw the next one sees too, or something newer, while changes are on disk that memory has not heard of.
/// Each of these was found by a history of many clients first.
struct FlightTests {
    /// One shard of a memory over a disk, all about the key "a".
    private final class Memory {
        private var shard = MemoryShard<String, Int>(
            policy: MemoryPolicy(.lru, capacity: 100, expectedEntries: 100), expectedEntries: 100, isAuthority: false,
            now: 0)
        private var gone = Discarded<String, Int>()

        var value: Int? { shard.peek("a", 1)?.value }
        func isOutdated(since version: UInt64) -> Bool { shard.isOutdated("a", since: version) }
        func beginFlight(writes: Bool = false) { shard.beginFlight("a", writes: writes) }
        func endFlight() { shard.endFlight("a") }
        func beginRemovalOfOthers() {
            shard.beginMassRemoval()
            _ = shard.removeMany(below: nil, slots: .max, &gone) { $0 == "b" }
        }
        func endRemovalOfOthers(at version: UInt64) { shard.endMassRemoval(at: version) { $0 == "b" } }
        func noteAbsent(upTo seen: UInt64) { shard.noteAbsent("a", 1, upTo: seen, &gone) }
        /// By nil: the load that who comes would join.
        func beginLoad(_ load: Load<Int>? = nil, at began: UInt64) {
            shard.beginLoad("a", 1, of: load ?? self.load ?? Load(), at: began, &gone)
        }
        var load: Load<Int>? {
            get { shard.loads["a"] }
            set { shard.loads["a"] = newValue }
        }
        func noteTagDropped(at version: UInt64) { shard.noteTagDropped(at: version, { _ in 1 }, &gone) }

        var changes: UInt64? { shard.changesBeforeRead(of: "a", 1) }
        func erase(at version: UInt64) { shard.erase("a", 1, at: version, &gone) }
        /// A read without a flight comes home; false: it has to be done again.
        func comeHome(_ version: UInt64, ifStill before: UInt64) -> Bool {
            shard.comeHome(entry(version), ifStill: before, &gone)
        }

        private func entry(_ version: UInt64) -> MemoryEntry<String, Int> {
            MemoryEntry(
                key: "a", value: Int(version), hash: 1, version: version,
                deadlines: Deadlines(usableUntil: .max, freshUntil: .max), weight: 1, traits: .onDisk)
        }

        /// Whether it was taken in. The value is the version.
        func publish(_ version: UInt64, _ origin: MemoryShard<String, Int>.Origin) -> Bool {
            shard.publish(entry(version), origin, &gone)
        }
    }

    @Test("A read that does not wait needs no flight where nothing changes, and comes home empty where anything did")
    func readsWithoutFlight() throws {
        let changes: [(String, (Memory) -> Void)] = [
            ("a write began", { $0.beginFlight(writes: true) }),
            ("a write ended", { _ = $0.publish(2, .write) }),
            ("another read came home", { _ = $0.publish(2, .read) }),
            ("it was removed", { $0.erase(at: 2) }),
            ("a removal of many began", { $0.beginRemovalOfOthers() }),
            (
                "a removal of many came and went",
                {
                    $0.beginRemovalOfOthers()
                    $0.endRemovalOfOthers(at: 2)
                }
            ),
        ]
        for (name, change) in changes {
            let memory = Memory()
            let before = try #require(memory.changes)
            change(memory)
            #expect(!memory.comeHome(1, ifStill: before), "\(name)")
            #expect(memory.value != 1, "\(name)")
        }
        let memory = Memory()
        let before = try #require(memory.changes)
        memory.beginFlight()
        #expect(memory.comeHome(1, ifStill: before))
        #expect(memory.value == 1)
        memory.beginFlight(writes: true)
        #expect(memory.changes == nil)
        let other = Memory()
        other.beginRemovalOfOthers()
        #expect(other.changes == nil)
    }

    @Test("A value that a reader saw replaced, while many other keys are being removed, is not served from memory")
    func seenDuringRemoval() {
        let memory = Memory()
        #expect(memory.publish(1, .write))
        memory.beginRemovalOfOthers()
        #expect(memory.value == 1)
        // A write of version 2 is on disk, and has not come back yet.
        memory.beginFlight(writes: true)
        memory.beginFlight()
        #expect(!memory.publish(2, .read))
        #expect(memory.value == nil)
        memory.endFlight()
        memory.endRemovalOfOthers(at: 3)
        #expect(memory.value == nil)
    }

    @Test("A value that a reader saw gone is not served from memory, though its removal has not come back")
    func seenGone() {
        let memory = Memory()
        // Two readers and a removal are out; one reader brings home what was there before, the other finds nothing.
        memory.beginFlight()
        memory.beginFlight()
        memory.beginFlight(writes: true)
        #expect(memory.publish(1, .read))
        memory.noteAbsent(upTo: 2)
        #expect(memory.value == nil)
        #expect(!memory.publish(1, .read))
        #expect(memory.value == nil)
        // What is newer may come.
        #expect(memory.publish(3, .write))
        #expect(memory.value == 3)
    }

    @Test("Nobody sees what was before a write that a load takes for done")
    func loadDuringWrite() {
        let memory = Memory()
        #expect(memory.publish(1, .write))
        memory.beginFlight()
        memory.beginLoad(at: 5)
        #expect(memory.value == 1, "nothing is being written")
        memory.beginFlight(writes: true)
        memory.beginLoad(at: 5)
        #expect(memory.value == nil)
        #expect(!memory.publish(1, .read))
        #expect(!memory.isOutdated(since: 5))
        #expect(memory.publish(5, .write))
    }

    @Test("A load that takes a write for done leaves nobody to another that may have begun before it")
    func loadBesideLoad() {
        let memory = Memory()
        memory.load = Load()
        memory.beginFlight()
        memory.beginLoad(at: 4)
        memory.beginFlight(writes: true)
        memory.beginLoad(at: 5)
        #expect(memory.load != nil, "it is the one that begins")
        _ = memory.load?.look()
        memory.beginLoad(at: 5)
        #expect(memory.load == nil, "who comes would share what was read before the write")
        memory.load = Load()
        memory.beginLoad(Load(), at: 5)
        #expect(memory.load == nil)
    }

    @Test("A change parts the load of its key, though a newer one was told first of what Swift calls an equal key")
    func otherSpelling() {
        var shard = MemoryShard<String, Int>(
            policy: MemoryPolicy(.lru, capacity: 100, expectedEntries: 100), expectedEntries: 100, isAuthority: false,
            now: 0)
        let (one, two) = ("caf\u{E9}", "cafe\u{301}")
        shard.beginFlight(one)
        shard.beginFlight(two)
        shard.loads[one] = Load()
        shard.note(two, .at(7))
        #expect(shard.loads[one] != nil)
        shard.note(one, .at(6))
        #expect(shard.loads[one] == nil)
        shard.loads[one] = Load()
        shard.noteSeen(one, 6)
        #expect(shard.loads[one] != nil, "nothing is being written")
        shard.beginFlight(one, writes: true)
        shard.noteSeen(one, 6)
        #expect(shard.loads[one] == nil)
        let isOutdated = shard.isOutdated(one, since: 6)
        #expect(isOutdated, "what is newer is not forgotten for it")
    }

    @Test("Nobody sees what was before a write that a drop of a tag may cover")
    func dropDuringWrite() {
        let memory = Memory()
        #expect(memory.publish(1, .write))
        memory.beginFlight()
        memory.noteTagDropped(at: 5)
        #expect(memory.value == 1, "nothing is being written")
        memory.beginFlight(writes: true)
        memory.noteTagDropped(at: 5)
        #expect(memory.value == nil)
        #expect(!memory.publish(1, .read), "a reader who was at the disk before the write")
        #expect(memory.value == nil)
        #expect(memory.publish(6, .write))
        #expect(memory.value == 6)
    }

    @Test("A drop of a tag that was under way when a load began outdates it")
    func loadDuringDrop() {
        let tags = TagRegistry()
        #expect(tags.beginLoad(at: 9) == 9)
        tags.begin(7, since: 5)
        let began = tags.beginLoad(at: 9)
        #expect(!tags.keeps([7], version: began + 1, evenIfPending: false))
        tags.end(7, at: 6)
        #expect(!tags.keeps([7], version: began + 1, evenIfPending: false))
        #expect(tags.keeps([7], version: tags.beginLoad(at: 9) + 1, evenIfPending: false))
    }

    @Test("After a write whose caller was cancelled, later writes still part loads from those who come after them")
    func cancelledWrite() async throws {
        let cache = try await CacheRig().cache(.disk, Int.self)
        let (first, second) = (Door(), Door())
        let early = Task {
            try await cache.refresh("a") { _ in
                await first.pass(); return Loaded(1)
            }
        }
        await first.arrived(1)
        let cancelled = Task {
            unsafe withUnsafeCurrentTask { unsafe $0?.cancel() }
            _ = try await cache.set(2, for: "a", EntryOptions(durability: .synced))
        }
        _ = await cancelled.result
        let load = Task {
            try await cache.refresh("a") { _ in
                await second.pass(); return Loaded(3)
            }
        }
        await second.arrived(1)
        try await cache.set(4, for: "a")
        #expect(cache.statistics.loads == 2)
        let late = Task { try await cache.refresh("a") { _ in Loaded(5) } }
        while cache.statistics.loads < 3, cache.statistics.loadsShared == 0 { await Task.yield() }
        #expect(cache.statistics.loadsShared == 0)
        await first.open()
        await second.open()
        #expect(try await early.value == 1)
        #expect(try await load.value == 3)
        #expect(try await late.value == 5)
        #expect(try await cache.value(for: "a") == 5)
        try await cache.close()
    }

    @Test("A load whose key has a write that will never be visible ends, and its caller has its value")
    func failedLog() async throws {
        let rig = CacheRig()
        let cache = try await rig.cache(.disk, Int.self)
        let door = Door()
        let load = Task {
            try await cache.value(for: "a") { _ in
                await door.pass(); return 1
            }
        }
        await door.arrived(1)
        rig.files.fail(5, sticky: true) { $0.operation == .sync }
        await #expect(throws: VarveError.self) { try await cache.set(2, for: "a", EntryOptions(durability: .synced)) }
        await door.open()
        #expect(try await load.value == 1)
        #expect(cache.statistics.loadsUnstored == 1)
        try? await cache.close()
    }
}
