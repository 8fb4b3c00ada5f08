import Testing
import VarveTestSupport

@testable import VarveEngine

/// What a namespace above its limit loses in one compaction.
@Suite struct QuotaPlanTests {
    private struct Entry {
        let lsn: UInt64
        let warmth: Int
        var isPinned = false
        var isGone = false
    }

    /// Plans, then judges in the order given; returns what goes.
    private func evicted(
        _ entries: [Entry], share: Double, forced: Bool = false, counts: Bool = true
    ) -> (gone: [Entry], isPoor: Bool, cooled: Int) {
        let goal = QuotaGoal(namespace: .default, share: share, countsEntries: counts, isForced: forced)
        var plan = QuotaPlan(
            goal, oldest: LSN(entries.map(\.lsn).min() ?? 0), newest: LSN(entries.map(\.lsn).max() ?? 0))
        for entry in entries {
            plan.count(
                bytes: 100, LSN(entry.lsn), warmth: entry.warmth, mayGo: entry.isGone ? nil : !entry.isPinned)
        }
        plan.close()
        var gone: [Entry] = []
        var cooled = 0
        for (index, entry) in entries.enumerated() where !entry.isPinned && !entry.isGone {
            let candidate = EvictionCandidate(
                keyHash: XXH3.hash64Of(UInt64(index)), namespace: 16, bytes: 100, version: LSN(entry.lsn))
            if plan.shouldEvict(candidate, warmth: entry.warmth) {
                gone.append(entry)
            } else if plan.isCooled(candidate, warmth: entry.warmth) {
                cooled += 1
            }
        }
        return (gone, plan.isPoor, cooled)
    }

    @Test("The oldest of what was not read go, wherever they stand, and no more than should", arguments: [true, false])
    func coldest(counts: Bool) {
        var random = SplitMix(1)
        // What was read stands first in key order, and is the oldest.
        let warm = (0..<500).map { Entry(lsn: UInt64($0), warmth: 1 + $0 % 3) }
        let cold = (500..<1000).map { Entry(lsn: UInt64($0), warmth: 0) }.shuffled(using: &random)
        let (gone, isPoor, cooled) = evicted(warm + cold, share: 0.25, counts: counts)
        #expect(gone.allSatisfy { $0.warmth == 0 })
        #expect(abs(gone.count - 250) <= 1)
        #expect((gone.map(\.lsn).max() ?? 0) <= 752)
        #expect(!isPoor)
        #expect(cooled > 60 && cooled < 190, "a quarter of the warm that were old enough to go: \(cooled)")
    }

    @Test("Where too little is cold, what was read stays unless it is forced; then the least read go first")
    func forced() {
        let entries = (0..<900).map { Entry(lsn: UInt64($0 * 7 % 900), warmth: $0 < 20 ? 0 : 1 + $0 % 3) }
        let spared = evicted(entries, share: 0.5)
        #expect(spared.isPoor && spared.gone.count == 20)
        let (gone, isPoor, _) = evicted(entries, share: 0.25, forced: true)
        #expect(!isPoor && abs(gone.count - 225) <= 1)
        #expect(gone.allSatisfy { $0.warmth <= 1 })
    }

    @Test("A rewrite that freed nothing counts as a try of what came out of it; one that did has others tried again")
    func tries() {
        func table(_ number: UInt64, _ puts: UInt64) -> TableFile {
            var properties = TableProperties()
            (properties.putCount, properties.fileBytes, properties.storedDataBytes) = (puts, puts * 100, puts * 100)
            properties.smallestKey = FullKey.make(.default, [1])
            properties.largestKey = FullKey.make(.default, [2])
            return TableFile(number: FileNumber(number), properties: properties)
        }
        let input = table(1, 1000)
        let compaction = Compaction(
            reason: .quota(.default), upper: [input], upperLevel: 6, lower: [], outputLevel: 6, isBottommost: true,
            grandparents: [])
        #expect(!QuotaProgress.madeRoom(for: .default, compaction, [table(2, 1000)]))
        #expect(!QuotaProgress.madeRoom(for: .default, compaction, [table(2, 990)]))
        #expect(QuotaProgress.madeRoom(for: .default, compaction, [table(2, 500), table(3, 450)]))
        #expect(QuotaProgress.madeRoom(for: .default, compaction, []))
        var progress = QuotaProgress()
        progress.poor = [1: 1, 7: 1, 8: 2]
        progress.note([input], outputs: [table(2, 1000)], madeRoom: false)
        #expect(progress.poor[2] == 2)
        progress.note([table(9, 1)], outputs: nil, madeRoom: false)
        #expect(progress.poor[9] == 1)
        progress.note([table(10, 10)], outputs: [table(11, 5)], madeRoom: true)
        #expect(progress.poor == [2: 2, 8: 2])
    }

    @Test("What is pinned is not counted on, and what goes by itself makes room first")
    func rules() {
        let pinned = (0..<100).map { Entry(lsn: UInt64($0), warmth: 0, isPinned: true) }
        #expect(evicted(pinned, share: 1, forced: true).isPoor)
        let half = (0..<100).map { Entry(lsn: UInt64($0), warmth: 0, isGone: $0 % 2 == 0) }
        let (gone, isPoor, _) = evicted(half, share: 0.5)
        #expect(gone.isEmpty && !isPoor)
        #expect(abs(evicted(half, share: 0.6).gone.count - 10) <= 1)
        #expect(evicted([], share: 1).isPoor)
    }
}

extension XXH3 {
    fileprivate static func hash64Of(_ number: UInt64) -> UInt64 {
        unsafe withUnsafeBytes(of: number) { unsafe hash64($0) }
    }
}
