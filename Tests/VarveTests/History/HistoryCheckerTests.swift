import Testing
import VarveTestSupport

/// The checker itself: it must accept what a cache may do, and reject what it must never do.
struct HistoryCheckerTests {
    /// Operations in the order of their invocation, as (action, invocation, response).
    private func check(
        _ operations: [HistoryOperation], mayForget: Bool = false, _ values: [Int: HistoryValue] = [:]
    ) -> Bool {
        HistoryChecker(mayForget: mayForget, values: values).check(operations).isLinearizable
    }

    private func op(
        _ action: HistoryOperation.Action, _ from: Int, _ to: Int?, synced: Bool = false
    ) -> HistoryOperation {
        HistoryOperation(action, from: from, to: to, isSynced: synced)
    }

    @Test("What overlaps may come in either order, what does not may not")
    func order() {
        let writes = [op(.set(1), 1, 5), op(.set(2), 2, 6)]
        #expect(check(writes + [op(.read(1), 7, 8)]))
        #expect(check(writes + [op(.read(2), 7, 8)]))
        #expect(!check(writes + [op(.read(1), 7, 8), op(.read(2), 9, 10)]))
        #expect(!check([op(.set(1), 1, 2), op(.set(2), 3, 4), op(.read(1), 5, 6)]))
        #expect(!check([op(.set(1), 1, 2), op(.set(2), 3, 4), op(.read(1), 5, 6)], mayForget: true))
    }

    @Test("A value that one reader has seen replaced is not seen by a later one")
    func readersAgree() {
        let history = [op(.set(1), 1, 2), op(.set(2), 3, 20), op(.read(2), 4, 5), op(.read(1), 6, 7)]
        #expect(!check(history))
        #expect(!check(history, mayForget: true))
        #expect(check([op(.set(1), 1, 2), op(.set(2), 3, 20), op(.read(1), 4, 5), op(.read(2), 6, 7)]))
        // A removal that finds nothing yet may wait for what it removes.
        #expect(check([op(.remove, 1, 10), op(.set(1), 2, 5), op(.read(1), 6, 7), op(.read(nil), 11, 12)]))
    }

    @Test("A miss is right where forgetting is allowed, and changes nothing")
    func forgetting() {
        let history = [op(.set(1), 1, 2), op(.read(nil), 3, 4), op(.read(1), 5, 6)]
        #expect(check(history, mayForget: true))
        #expect(!check(history))
        #expect(!check([op(.set(1), 1, 2), op(.remove, 3, 4), op(.read(1), 5, 6)], mayForget: true))
    }

    @Test("A removal from many keys spares what is as new, and refuses what is older from then on")
    func olderOfMany() {
        let values = [1: HistoryValue(sourceVersion: 5), 2: HistoryValue(sourceVersion: 7), 3: HistoryValue()]
        let removal = op(.removeAllOlder(than: 6), 3, 4)
        #expect(check([op(.set(1), 1, 2), removal, op(.read(nil), 5, 6)], values))
        #expect(!check([op(.set(1), 1, 2), removal, op(.read(1), 5, 6)], mayForget: true, values))
        #expect(check([op(.set(2), 1, 2), removal, op(.read(2), 5, 6)], values))
        #expect(!check([op(.set(2), 1, 2), removal, op(.read(nil), 5, 6)], values))
        #expect(!check([op(.set(3), 1, 2), removal, op(.read(3), 5, 6)], values))
        #expect(!check([removal, op(.set(1), 5, 6)], mayForget: true, values))
        #expect(check([removal, op(.refused(5), 5, 6), op(.set(2), 7, 8), op(.read(2), 9, 10)], values))
    }

    @Test("One version is removed once")
    func compareAndRemove() {
        func removal(_ succeeded: Bool, _ from: Int, _ to: Int) -> HistoryOperation {
            op(.compareAndRemove(expected: 1, succeeded: succeeded), from, to)
        }
        let set = op(.set(1), 1, 2)
        #expect(check([set, removal(true, 3, 6), removal(false, 4, 7), op(.read(nil), 8, 9)]))
        #expect(!check([set, removal(true, 3, 6), removal(true, 4, 7)]))
        #expect(!check([set, removal(false, 3, 4), op(.read(1), 5, 6)]))
        #expect(!check([set, removal(true, 3, 4), op(.read(1), 5, 6)], mayForget: true))
    }

    @Test("Conditional writes and counters lose no step")
    func conditional() {
        let both = [
            op(.compareAndSet(expected: nil, to: 1, succeeded: true), 1, 4),
            op(.compareAndSet(expected: nil, to: 2, succeeded: true), 2, 5),
        ]
        #expect(!check(both))
        #expect(
            check([
                op(.compareAndSet(expected: nil, to: 1, succeeded: true), 1, 4),
                op(.compareAndSet(expected: nil, to: 2, succeeded: false), 2, 5),
            ]))
        let steps = [op(.increment(by: 1, result: 1), 1, 5), op(.increment(by: 1, result: 1), 2, 6)]
        #expect(!check(steps))
        #expect(!check([op(.set(1), 1, 2), op(.take(1), 3, 8), op(.take(1), 4, 9)], mayForget: true))
        #expect(!check([op(.set(1), 1, 2), op(.replace(with: 2, succeeded: false), 3, 4)]))
        #expect(
            !check(
                [op(.set(1), 1, 2), op(.set(2), 3, 4), op(.compareAndSet(expected: 1, to: 3, succeeded: true), 5, 6)],
                mayForget: true))
    }

    @Test("A load that a change outdated is neither stored nor given to who came later")
    func loads() {
        let load = [op(.loaded(9), 1, 12), op(.loadBegan(9), 2, 2), op(.loadStored(9), 5, nil)]
        #expect(check(load + [op(.read(9), 13, 14)]))
        #expect(check(load + [op(.set(1), 3, 4), op(.read(1), 13, 14)]))
        for change in [op(.set(1), 3, 4), op(.remove, 3, 4)] {
            #expect(!check(load + [change, op(.read(9), 13, 14)], mayForget: true))
            #expect(!check(load + [change, op(.loaded(9), 5, 13)], mayForget: true))
        }
        #expect(check(load + [op(.set(1), 3, 6), op(.loaded(9), 5, 13)]))
    }

    @Test("That the source has none is known from a load that no change has outdated, and from nothing else")
    func absences() {
        let values = [8: HistoryValue(isAbsence: true), 9: HistoryValue(tags: ["t"], isAbsence: true)]
        func isRight(_ operations: [HistoryOperation], mayForget: Bool = false) -> Bool {
            check(operations, mayForget: mayForget, values)
        }
        let load = [op(.set(1), 1, 2), op(.loaded(nil), 3, 12), op(.loadBegan(8), 4, 4), op(.loadStored(8), 6, nil)]
        #expect(isRight(load + [op(.read(nil), 13, 14), op(.loaded(nil), 15, 16)]))
        #expect(isRight(load + [op(.read(1), 13, 14)]))
        #expect(!isRight(load + [op(.read(nil), 13, 14), op(.read(1), 15, 16)]))
        // Over nothing that came since, and to nobody who came after that.
        #expect(!isRight(load + [op(.set(2), 5, 6), op(.read(nil), 13, 14)]))
        for change in [op(.set(2), 17, 18), op(.remove, 17, 18)] {
            #expect(!isRight(load + [change, op(.loaded(nil), 19, 20)], mayForget: true))
        }
        #expect(isRight(load + [op(.compareAndSet(expected: nil, to: 2, succeeded: true), 13, 14)]))
        #expect(!isRight([op(.set(1), 1, 2), op(.loaded(nil), 3, 4)], mayForget: true))
        #expect(!isRight([op(.loaded(nil), 3, 4)], mayForget: true))
        let tagged = [op(.loaded(nil), 1, 12), op(.loadBegan(9), 2, 2), op(.loadStored(9), 3, nil)]
        #expect(!isRight(tagged + [op(.drop(tag: "t"), 13, 14), op(.loaded(nil), 15, 16)], mayForget: true))
        #expect(isRight(tagged + [op(.drop(tag: "u"), 13, 14), op(.loaded(nil), 15, 16)], mayForget: true))
    }

    @Test("A dropped tag takes what carries it, loads under way too, and nothing else")
    func tags() {
        let values = [1: HistoryValue(tags: ["t"]), 2: HistoryValue(), 9: HistoryValue(tags: ["t"])]
        #expect(!check([op(.set(1), 1, 2), op(.drop(tag: "t"), 3, 4), op(.read(1), 5, 6)], mayForget: true, values))
        #expect(check([op(.set(2), 1, 2), op(.drop(tag: "t"), 3, 4), op(.read(2), 5, 6)], values))
        #expect(check([op(.set(1), 1, 2), op(.drop(tag: "t"), 3, 9), op(.read(1), 5, 6)], values))
        let load = [op(.loaded(9), 1, 12), op(.loadBegan(9), 2, 2), op(.loadStored(9), 5, nil)]
        #expect(!check(load + [op(.drop(tag: "t"), 3, 4), op(.read(9), 13, 14)], mayForget: true, values))
        #expect(check(load + [op(.drop(tag: "u"), 3, 4), op(.read(9), 13, 14)], values))
    }

    @Test("What has expired is gone")
    func expiry() {
        let values = [1: HistoryValue(deadline: 100)]
        #expect(!check([op(.set(1), 1, 2), op(.clock(100), 3, 4), op(.read(1), 5, 6)], mayForget: true, values))
        #expect(check([op(.set(1), 1, 2), op(.clock(99), 3, 4), op(.read(1), 5, 6)], values))
        #expect(check([op(.set(1), 1, 2), op(.clock(100), 3, 7), op(.read(1), 5, 6)], values))
    }

    @Test("Of two loads the later one may be stored after the earlier, not before it")
    func twoLoads() {
        let begun = [op(.loadBegan(1), 1, 1), op(.loadBegan(2), 2, 2)]
        func stored(_ first: Int, _ second: Int) -> [HistoryOperation] {
            [op(.loadStored(first), 3, nil), op(.read(first), 4, 5)]
                + [op(.loadStored(second), 6, nil), op(.read(second), 7, 8)]
        }
        #expect(check(begun + stored(1, 2), [:]))
        #expect(!check(begun + stored(2, 1), [:]))
    }

    @Test("What is older than a source version that was stored or named is not stored any more")
    func sourceVersions() {
        let values = [5, 7, 9].reduce(into: [Int: HistoryValue]()) {
            $0[$1] = HistoryValue(sourceVersion: UInt64($1))
        }
        func isRight(_ operations: [HistoryOperation], losesLoads: Bool = false) -> Bool {
            HistoryChecker(mayForget: true, losesLoads: losesLoads, values: values).check(operations).isLinearizable
        }
        #expect(isRight([op(.set(5), 1, 2), op(.set(7), 3, 4), op(.set(7), 5, 6)]))
        #expect(!isRight([op(.set(7), 1, 2), op(.set(5), 3, 4)]))
        #expect(isRight([op(.set(7), 1, 4), op(.set(5), 2, 3)]))
        // Whatever came between.
        for between in [op(.set(1), 3, 4), op(.remove, 3, 4), op(.crash(power: false), 3, 4)] {
            #expect(!isRight([op(.set(7), 1, 2), between, op(.set(5), 5, 6)]), "\(between)")
            #expect(isRight([op(.set(7), 1, 2), between, op(.set(9), 5, 6)]), "\(between)")
        }
        #expect(!isRight([op(.removeOlder(than: 7), 1, 2), op(.set(5), 3, 4)]))
        // A removal is refused for what is there, and by nothing that was there before.
        let below = [op(.set(7), 1, 2), op(.removeOlder(than: 5), 3, 4)]
        #expect(!HistoryChecker(mayForget: false, values: values).check(below).isLinearizable)
        #expect(isRight(below + [op(.read(nil), 5, 6)]))
        #expect(!isRight(below + [op(.read(7), 5, 6)]) && !isRight(below + [op(.set(5), 5, 6)]))
        // Who is refused for another's sake leaves nothing there.
        let refused = [op(.set(5), 1, 2), op(.displaced, 3, 4)]
        #expect(isRight(refused + [op(.read(nil), 5, 6)]) && !isRight(refused + [op(.read(5), 5, 6)]))
        let added = op(.compareAndSet(expected: nil, to: 5, succeeded: true), 5, 6)
        #expect(!isRight([op(.set(7), 1, 2), op(.remove, 3, 4), added]))
        // A reason must be there for a refusal.
        #expect(isRight([op(.set(7), 1, 2), op(.refused(5), 3, 4)]))
        #expect(!isRight([op(.set(5), 1, 2), op(.refused(7), 3, 4)]))
        // With the power goes what was not synced, and its version.
        let power = op(.crash(power: true), 3, 4)
        #expect(isRight([op(.set(7), 1, 2), power, op(.set(5), 5, 6)]))
        #expect(!isRight([op(.set(7), 1, 2, synced: true), power, op(.set(5), 5, 6)]))
        let load = [op(.loadBegan(7), 1, 1), op(.loadStored(7), 2, nil), op(.read(7), 3, 4)]
        #expect(!isRight(load + [op(.set(5), 5, 6)]))
        #expect(isRight(load + [op(.set(5), 5, 6)], losesLoads: true))
        // Nor does one that was never stored refuse, but where the log may hold it.
        let unstored = [op(.loadBegan(7), 1, 1), op(.refused(5), 5, 6)]
        #expect(!isRight(unstored))
        #expect(isRight(unstored, losesLoads: true))
        let late = [op(.loadBegan(7), 3, 3), op(.loadStored(7), 4, nil), op(.read(7), 5, 6)]
        #expect(!isRight([op(.set(9), 1, 2)] + late))
    }

    @Test("A killed process loses nothing; the power takes what was not synced, and no more")
    func crashes() {
        func after(_ power: Bool, _ synced: Bool, _ found: Int?) -> Bool {
            check([
                op(.set(1), 1, 2, synced: true), op(.set(2), 3, 4, synced: synced), op(.crash(power: power), 5, 6),
                op(.read(found), 7, 8),
            ])
        }
        #expect(after(false, false, 2))
        #expect(!after(false, false, 1))
        #expect(after(true, false, 1))
        #expect(after(true, false, 2))
        #expect(!after(true, false, nil))
        #expect(!after(true, true, 1))
        let unanswered = [op(.set(1), 1, 2, synced: true), op(.set(2), 3, nil), op(.crash(power: false), 5, 6)]
        #expect(check(unanswered + [op(.read(1), 7, 8)]))
        #expect(check(unanswered + [op(.read(2), 7, 8)]))
        #expect(!check(unanswered + [op(.read(1), 7, 8), op(.read(2), 9, 10)]))
        let elsewhere = [op(.set(1), 1, 2), op(.sync, 3, 4), op(.crash(power: true), 5, 6)]
        #expect(!check(elsewhere + [op(.read(nil), 7, 8)]))
    }

    @Test(
        "A long history with much at once is decided, and one wrong read in it is found",
        arguments: [1, 2, 3] as [UInt64])
    func long(seed: UInt64) {
        var random = SplitMix(seed)
        var history: [HistoryOperation] = []
        var value: Int?
        // What happens at tick 10n is seen by operations that began up to 35 ticks before and end up to 35 after.
        for number in 1...600 {
            let moment = number * 10
            let (from, to) = (moment - Int(random.next() % 35), moment + Int(random.next() % 35))
            switch random.next() % 4 {
            case 0:
                value = number
                history.append(op(.set(number), from, to))
            case 1:
                history.append(op(.take(value), from, to))
                value = nil
            default: history.append(op(.read(value), from, to))
            }
        }
        #expect(check(history), "seed \(seed)")
        history.append(op(.set(10_000), 7000, 7001))
        history.append(op(.set(10_001), 7002, 7003))
        history.append(op(.read(10_000), 7004, 7005))
        #expect(!check(history), "seed \(seed)")
    }

    @Test("A history that has too many orders is given up")
    func undecided() {
        let writes = (1...30).map { op(.set($0), $0, 1000 + $0) }
        var checker = HistoryChecker(mayForget: false)
        checker.effort /= 4
        let verdict = checker.check(writes + [op(.read(99), 2000, 2001)])
        guard case .undecided = verdict else { Issue.record("\(verdict)"); return }
    }
}
