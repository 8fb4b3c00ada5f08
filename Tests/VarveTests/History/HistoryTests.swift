import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// Many clients at once on a real cache, and every key's history judged: each operation happened at one moment between
/// its call and its return, forgotten or not, and what was acknowledged survived. More seeds: VARVE_HISTORY_SEEDS, from
/// VARVE_HISTORY_FROM on.
@Suite(.serialized)
struct HistoryTests {
    private func judge(_ plan: HistoryPlan, _ seed: UInt64) async throws {
        let violations = try await HistoryRun(plan.varied(seed), seed: seed).violations()
        #expect(violations.isEmpty, "seed \(seed)\n\(violations.joined(separator: "\n"))")
    }

    @Test("In memory alone, with room for everything", arguments: HistoryRun.seeds(6))
    func roomyMemory(seed: UInt64) async throws {
        try await judge(HistoryPlan(operations: 200, home: .memory, memoryEntries: 100_000), seed)
    }

    @Test("In memory alone, with room for little", arguments: HistoryRun.seeds(6))
    func tightMemory(seed: UInt64) async throws {
        try await judge(HistoryPlan(operations: 200, home: .memory, memoryEntries: 3), seed)
    }

    @Test("On disk with entries that come and go, under flushes and compactions", arguments: HistoryRun.seeds(6))
    func disk(seed: UInt64) async throws {
        try await judge(HistoryPlan(memoryEntries: seed % 2 == 0 ? 2 : 4), seed)
    }

    @Test("With synced writes among the others", arguments: HistoryRun.seeds(6))
    func synced(seed: UInt64) async throws {
        try await judge(HistoryPlan(durabilities: [nil, .synced, .interval(.milliseconds(1))]), seed)
    }

    @Test("With time that passes", arguments: CacheRig.Home.allCases, HistoryRun.seeds(3))
    func expiry(home: CacheRig.Home, seed: UInt64) async throws {
        try await judge(HistoryPlan(home: home, expires: true), seed)
    }

    @Test(
        "With values that are due for a refresh, and sources that fail and are spared: what is stale is served until it is changed",
        arguments: CacheRig.Home.allCases, HistoryRun.seeds(4))
    func stale(home: CacheRig.Home, seed: UInt64) async throws {
        var plan = HistoryPlan(home: home, memoryEntries: seed % 2 == 0 ? 1000 : 3)
        let patience: [Duration?] = [.zero, nil, .milliseconds(1)]
        plan.refreshes = patience[Int(seed % 3)]
        plan.sourcesFail = true
        plan.sparesSources = seed % 4 < 2
        try await judge(plan, seed)
    }

    @Test("So it is with deadlines by which they expire, and after a killed process", arguments: HistoryRun.seeds(4))
    func staleOverCrashes(seed: UInt64) async throws {
        var plan = HistoryPlan(durabilities: [nil, .synced], operations: 40, endings: [.kill, .powerCut])
        let patience: [Duration?] = [.zero, nil, .milliseconds(1)]
        plan.refreshes = patience[Int(seed % 3)]
        plan.sourcesFail = true
        plan.sparesSources = seed % 4 < 2
        plan.expires = seed % 2 == 0
        try await judge(plan, seed)
    }

    @Test("A killed process loses nothing that was acknowledged", arguments: HistoryRun.seeds(4))
    func kills(seed: UInt64) async throws {
        let plan = HistoryPlan(durabilities: [nil, .synced], operations: 40, endings: [.kill, .kill])
        try await judge(plan, seed)
    }

    @Test("A power cut loses nothing that was synced", arguments: HistoryRun.seeds(4))
    func powerCuts(seed: UInt64) async throws {
        let plan = HistoryPlan(
            durabilities: [nil, .synced], operations: 40, endings: [.powerCut, .kill, .powerCut])
        try await judge(plan, seed)
    }

    @Test(
        "A feed that follows over crashes and times without the disk tells everything, in order",
        arguments: HistoryRun.seeds(6))
    func observed(seed: UInt64) async throws {
        let plan = HistoryPlan(
            durabilities: [nil, .synced], operations: 40, endings: [.powerCut, .kill, .powerCut],
            degrades: seed % 2 == 0, isObserved: true)
        try await judge(plan, seed)
    }

    @Test("While the store goes over to memory and comes back", arguments: HistoryRun.seeds(6))
    func degrades(seed: UInt64) async throws {
        try await judge(HistoryPlan(memoryEntries: seed % 2 == 0 ? 3 : 1000, degrades: true), seed)
    }

    @Test("A crash while the store goes on in memory undoes nothing", arguments: HistoryRun.seeds(4))
    func crashesWhileDegraded(seed: UInt64) async throws {
        let plan = HistoryPlan(
            durabilities: [nil, .synced], operations: 40, endings: [.kill, .powerCut, .kill], degrades: true)
        try await judge(plan, seed)
    }

    @Test(
        "What is older than a source version that was acknowledged never shows, in memory and on disk",
        arguments: CacheRig.Home.allCases, HistoryRun.seeds(3))
    func sourceVersions(home: CacheRig.Home, seed: UInt64) async throws {
        try await judge(HistoryPlan(home: home, memoryEntries: seed % 3 == 0 ? 1000 : 3, isVersioned: true), seed)
    }

    @Test("Nor where entries are forgotten by the disk, and expire", arguments: HistoryRun.seeds(4))
    func sourceVersionsForgotten(seed: UInt64) async throws {
        try await judge(HistoryPlan(expires: seed % 2 == 0, isVersioned: true, isCrowded: true), seed)
    }

    @Test("Where a full disk takes what loads brought once it was used in memory", arguments: HistoryRun.seeds(8))
    func keptForUse(seed: UInt64) async throws {
        var plan = HistoryPlan(memoryEntries: seed % 2 == 0 ? 3 : 5, isCrowded: true)
        plan.keepsUsed = true
        if seed % 4 == 3 { (plan.durabilities, plan.operations, plan.endings) = ([nil, .synced], 40, [.kill, .kill]) }
        try await judge(plan, seed)
    }

    @Test(
        "Nor where other keys share the floors: who is refused for their sake leaves nothing older behind",
        arguments: CacheRig.Home.allCases, HistoryRun.seeds(4))
    func sourceVersionsOfNeighbours(home: CacheRig.Home, seed: UInt64) async throws {
        var plan = HistoryPlan(home: home, memoryEntries: seed % 2 == 0 ? 900 : 8, isVersioned: true)
        plan.sharesFloors = true
        plan.degrades = home == .disk && seed % 4 == 3
        if home == .disk, seed % 4 == 2 {
            (plan.durabilities, plan.operations, plan.endings) = ([nil, .synced], 40, [.kill, .powerCut, .kill])
        }
        try await judge(plan, seed)
    }

    @Test("Nor after a killed process and a power cut", arguments: HistoryRun.seeds(4))
    func sourceVersionsOverCrashes(seed: UInt64) async throws {
        let plan = HistoryPlan(
            durabilities: [nil, .synced], operations: 40, endings: [.kill, .powerCut, .kill], isVersioned: true)
        try await judge(plan, seed)
    }

    @Test("Nor where the store goes over to memory, comes back, and crashes meanwhile", arguments: HistoryRun.seeds(6))
    func sourceVersionsWhileDegraded(seed: UInt64) async throws {
        let plan = HistoryPlan(
            durabilities: [nil, .synced], operations: 40,
            endings: seed % 3 == 0 ? [] : [.powerCut, .kill, .powerCut], degrades: true, isVersioned: true)
        try await judge(plan, seed)
    }

    private func writingThrough(_ adjust: (inout HistoryPlan) -> Void) -> HistoryPlan {
        var plan = HistoryPlan(registers: ["a/1"], counters: ["n/1"])
        plan.origins = ["o/1", "o/2"]
        plan.prefixes = ["o/", "o/1", "a/"]
        plan.durabilities = [nil, .synced]
        adjust(&plan)
        return plan
    }

    @Test(
        "What is written through to an origin is what the origin has, or nothing",
        arguments: CacheRig.Home.allCases, HistoryRun.seeds(3))
    func writesThrough(home: CacheRig.Home, seed: UInt64) async throws {
        let plan = writingThrough {
            $0.home = home
            $0.isVersioned = seed % 4 == 0
        }
        try await judge(plan, seed)
    }

    @Test("So it is after a killed process and a power cut", arguments: HistoryRun.seeds(6))
    func writesThroughOverCrashes(seed: UInt64) async throws {
        let plan = writingThrough {
            $0.operations = 40
            $0.endings = [.powerCut, .kill, .powerCut, .powerCut]
            $0.isVersioned = seed % 4 == 0
        }
        try await judge(plan, seed)
    }

    @Test("And where the store goes over to memory, comes back, and crashes meanwhile", arguments: HistoryRun.seeds(6))
    func writesThroughWhileDegraded(seed: UInt64) async throws {
        let plan = writingThrough {
            $0.operations = 40
            $0.endings = seed % 3 == 0 ? [] : [.powerCut, .kill, .powerCut]
            $0.degrades = true
        }
        try await judge(plan, seed)
    }
}
