import Testing
import VarveEngine

@testable import Varve

struct NameTests {
    @Test("One name is open once at a time, and free again when its cache is closed or gone")
    func once() async throws {
        let store = try await CacheRig().store()
        var first: Cache<String, Int>? = try await store.cache(named: "c")
        try await first?.set(1, for: "a")
        await #expect {
            let _: Cache<String, Int> = try await store.cache(named: "c")
        } throws: { error in
            (error as? VarveError)?.code == .invalidArgument && "\(error)".contains("\"c\"")
        }
        let other: Cache<String, Int> = try await store.cache(named: "d")
        try await other.set(2, for: "a")

        let closed = first
        try await first?.close()
        first = try await store.cache(named: "c")
        #expect(try await first?.value(for: "a") == 1)
        await #expect(throws: VarveError.self) { try await closed?.set(3, for: "a") }
        // The end of what was closed before frees nothing that is another's.
        try await closed?.close()
        await #expect(throws: VarveError.self) { let _: Cache<String, Int> = try await store.cache(named: "c") }

        first = nil
        let again: Cache<String, Int> = try await store.cache(named: "c")
        #expect(try await again.value(for: "a") == 1)
        try await store.close()
        await #expect(throws: VarveError.self) { let _: Cache<String, Int> = try await store.cache(named: "e") }
    }

    @Test("The unnamed cache's name among the store's is its own: nobody opens it twice, or clears it while it is open")
    func unnamed() async throws {
        let cache: Cache<String, Int> = try await CacheRig().store()
            .cache(named: nil, coding: .own, CacheOptions(), ownsStore: false)
        let store = cache.store
        try await cache.set(1, for: "a")
        for name in ["default", nil] {
            #expect(await code { try await store.removeAll(inCacheNamed: name) } == .invalidArgument)
        }
        #expect(await code { let _: Cache<String, Int> = try await store.cache(named: "default") } == .invalidArgument)
        #expect(try await cache.value(for: "a") == 1)
        try await cache.close()
        // Closed it is cleared with the rest.
        for name in try await store.cacheNames() { try await store.removeAll(inCacheNamed: name) }
        let again: Cache<String, Int> = try await store.cache(named: "default")
        #expect(try await again.value(for: "a") == nil)
        try await store.close()
    }

    @Test("Of many who open a name at once one has it")
    func race() async throws {
        let store = try await CacheRig().store()
        let caches = await withTaskGroup(of: Cache<String, Int>?.self) { group in
            for _ in 0..<8 { group.addTask { try? await store.cache(named: "c") } }
            return await group.reduce(into: []) { if let cache = $1 { $0.append(cache) } }
        }
        #expect(caches.count == 1)
        try await store.close()
    }
}
