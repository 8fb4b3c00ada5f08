import Testing
import VarveTestSupport

@testable import Varve

/// Keys are the bytes that stand for them: strings that are equal to Swift and spelled differently are two keys, in memory,
/// while they are loaded, and on disk.
struct KeyIdentityTests {
    private let one = "caf\u{E9}"
    private let two = "cafe\u{301}"

    @Test("Two spellings have a value each", arguments: CacheRig.Home.allCases)
    func values(_ home: CacheRig.Home) async throws {
        #expect(one == two)
        let rig = CacheRig()
        let cache = try await rig.cache(home, Int.self, CacheOptions(memory: .entries(8), policy: .lru))
        try await cache.set(1, for: one)
        #expect(try await cache.value(for: two) == nil)
        try await cache.set(2, for: two)
        try await cache.increment(one, by: 10)
        #expect(cache.valueInMemory(for: one) == 11 && cache.valueInMemory(for: two) == 2)
        if home == .disk {
            for number in 0..<20 { try await cache.set(0, for: "\(number)") }
            #expect(cache.valueInMemory(for: one) == nil)
            #expect(try await cache.value(for: one) == 11)
            #expect(try await cache.value(for: two) == 2)
        }
        try await cache.remove(one)
        #expect(try await cache.value(for: one) == nil)
        #expect(try await cache.value(for: two) == 2)
        try await cache.close()
        guard home == .disk else { return }
        let again = try await rig.cache(home, Int.self)
        #expect(try await again.value(for: one) == nil)
        #expect(try await again.value(for: two) == 2)
        try await again.close()
    }

    @Test("Two spellings are two loads, of which each caller gets his own", arguments: CacheRig.Home.allCases)
    func loads(_ home: CacheRig.Home) async throws {
        let cache = try await CacheRig().cache(home, Int.self, CacheOptions(memory: .entries(8)))
        #expect(cache.memory.shardCount == 1)
        let door = Door()
        let load: @Sendable (String) async throws -> Int = { key in
            await door.pass()
            return key.unicodeScalars.count
        }
        let tasks = (0..<6).map { number in
            Task { try await cache.value(for: number.isMultiple(of: 2) ? one : two, load: load) }
        }
        await door.arrived(2)
        await door.open()
        for (number, task) in tasks.enumerated() { #expect(try await task.value == (number.isMultiple(of: 2) ? 4 : 5)) }
        #expect(cache.statistics.loads == 2)
        // While both are under way one may outdate the other, which costs a load.
        #expect(try await cache.value(for: one, load: load) == 4)
        #expect(try await cache.value(for: two, load: load) == 5)
        #expect(cache.valueInMemory(for: one) == 4 && cache.valueInMemory(for: two) == 5)
        try await cache.close()
    }

    @Test("A removal by the bytes that one spelling begins with outdates its load, whichever was asked for first")
    func removalOfOne() async throws {
        for (first, second) in [(one, two), (two, one)] {
            for home in CacheRig.Home.allCases {
                let cache = try await CacheRig().cache(home, Int.self, CacheOptions(memory: .entries(8)))
                let door = Door()
                // It stores nothing, by which it would outdate the other.
                let other = Task {
                    try await cache.value(for: first) { (_) async throws -> Int in
                        await door.pass()
                        throw CancellationError()
                    }
                }
                await door.arrived(1)
                let load = await cache.hangingLoad(second, of: 2, behind: door)
                try await cache.removeAll(withPrefix: second)
                let later = await cache.lateLoad(second, of: 4)
                await door.open()
                #expect(try await later.value == 4, "the load is for nobody who comes later")
                #expect(try await load.value == 2)
                _ = await other.result
                #expect(try await cache.value(for: second) == 4)
                try await cache.close()
            }
        }
    }
}
