import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// Power cuts at every call while a store goes over to memory, stays there and comes back: what was acknowledged is not
/// undone.
struct DegradedCrashTests {
    @Test("No acknowledged change is undone, whenever the power goes", arguments: 1...3 as ClosedRange<UInt64>)
    func everywhere(seed: UInt64) async throws {
        var change = 0
        var isDone = false
        while !isDone {
            change += 1
            let rig = DegradedRig()
            let cache = try await rig.cache()
            for name in ["set", "removed", "kept", "prefix/1"] { try await cache.set("old", for: name) }
            try await cache.set("old", for: "tagged", EntryOptions(tags: ["t"]))
            rig.files.cutPower(atChange: rig.files.changeCount + change)
            let acknowledged = await run(rig, cache)
            isDone = !rig.files.isPowerCut
            let next = rig.crashed(seed &* 1000 &+ UInt64(change))
            next.files.capacity = nil
            try await check(next, acknowledged, "seed \(seed), change \(change)")
        }
        #expect(change > 15)
    }

    /// Goes through all phases; returns the names of the steps that were acknowledged.
    private func run(_ rig: DegradedRig, _ cache: Cache<String, String>) async -> Set<String> {
        var done: Set<String> = []
        func step(_ name: String, _ body: () async throws -> Void) async {
            do {
                try await body()
                done.insert(name)
            } catch {}
        }
        await step("full") { try await rig.fillDisk(cache) }
        await step("new") { try await cache.set("new", for: "set") }
        await step("removed") { try await cache.remove("removed") }
        await step("prefix") { try await cache.removeAll(withPrefix: "prefix/") }
        await step("tag") { try await cache.remove(taggedWith: "t") }
        await step("floor") { try await cache.set("seven", for: "versioned", EntryOptions(sourceVersion: 7)) }
        rig.files.capacity = nil
        if await cache.tryReturn() { done.insert("returned") }
        await IOThread.run(name: "test-save") { cache.saveAll() }
        await step("newer") { try await cache.set("newer", for: "set") }
        await step("kept") { try await cache.remove("kept") }
        return done
    }

    private func check(_ rig: DegradedRig, _ done: Set<String>, _ message: String) async throws {
        // Whoever opens it.
        let cache = try await rig.cache(.throwing)
        var allowed: [String?] = [nil, "newer"]
        if !done.contains("newer") { allowed.append("new") }
        if done.isDisjoint(with: ["new", "newer"]) { allowed.append("old") }
        let found = try await cache.value(for: "set")
        #expect(allowed.contains(found), "\(found ?? "nil") after \(done), \(message)")
        for (step, name) in [("removed", "removed"), ("prefix", "prefix/1"), ("tag", "tagged"), ("kept", "kept")]
        where done.contains(step) {
            #expect(try await cache.value(for: name) == nil, "\(name), \(message)")
        }
        if done.contains("floor") {
            let late = await code { _ = try await cache.set("late", for: "versioned", EntryOptions(sourceVersion: 6)) }
            #expect(late == .conditionFailed, "\(message)")
        }
        // Once it was back, the store is warm again.
        if done.contains("returned"), !done.contains("kept"), !rig.files.isPowerCut {
            let kept = try await cache.value(for: "kept")
            #expect(kept == nil || kept == "old", "\(message)")
        }
        if done.contains("newer"), done.contains("returned") {
            #expect(try await cache.value(for: "set") == "newer", "\(message)")
        }
        try await cache.store.close()
    }
}
