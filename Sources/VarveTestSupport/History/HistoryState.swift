/// A register as it should be, and the rules by which operations change it: so simple that it is right by reading.
///
/// A cache may forget: a miss is right whenever forgetting is allowed. But it never lies: what is read is what was written
/// last, and what was overwritten, removed, dropped or has expired never shows again, nor what is of an older source
/// version than was stored or named before.
struct HistoryState: Hashable {
    /// What outlives a change that is lost.
    struct Standing: Hashable {
        var value: Int?
        /// Older source versions must be refused.
        var floor: UInt64 = 0
    }

    /// What was stored last; a number that stands for an absence, where a load found none.
    var value: Int?
    var floor: UInt64 = 0
    /// The highest source version that ever came: older ones may be refused.
    var highest: UInt64 = 0
    /// Loads that began after the last change of the register, in the order in which they asked their sources.
    var loads: [Int] = []
    /// What the register may fall back to when the power goes.
    var unsynced: Set<Standing> = []
    var crashes = 0

    /// What may be true beside the operations themselves.
    struct Rules {
        var mayForget: Bool
        var losesLoads: Bool
        var values: [Int: HistoryValue]
        /// Whether a crash that loses power will come: else nothing need be remembered for it.
        var losesPower: Bool

        func isAbsence(_ value: Int) -> Bool { values[value]?.isAbsence ?? false }
    }

    /// What a reader sees.
    private func seen(_ rules: Rules) -> Int? { value.flatMap { rules.isAbsence($0) ? nil : $0 } }
    private func has(_ value: Int?, _ rules: Rules) -> Bool { seen(rules) == value }
    /// Whether the source is known to have none: a load said so since the register was changed last, or was the one to
    /// change it.
    private func isKnownAbsent(_ rules: Rules) -> Bool {
        value.map(rules.isAbsence) ?? false || loads.contains(where: rules.isAbsence)
    }
    private func changed(to value: Int?, _ operation: HistoryOperation, _ rules: Rules) -> HistoryState {
        var next = self
        next.loads = []
        next.set(value, operation, rules)
        return next
    }

    private mutating func set(_ value: Int?, _ operation: HistoryOperation, _ rules: Rules) {
        if rules.losesPower {
            if operation.isSynced { unsynced = [] } else { unsynced.insert(Standing(value: self.value, floor: floor)) }
        }
        self.value = value
    }

    /// The state after a value was stored; none where its source version must be refused.
    private func stored(_ value: Int, _ operation: HistoryOperation, _ rules: Rules) -> [HistoryState] {
        guard let version = rules.values[value]?.sourceVersion else { return [changed(to: value, operation, rules)] }
        if version < floor { return [] }
        var next = changed(to: value, operation, rules)
        next.highest = max(highest, version)
        if case .loadStored = operation.action, rules.losesLoads { return [next] }
        next.floor = version
        return [next]
    }

    /// The state after a removal that refuses older source versions; none where it must be refused itself, for the sake of
    /// what the register holds, which is as new or newer. What it held before refuses no removal.
    private func removed(olderThan version: UInt64, _ operation: HistoryOperation, _ rules: Rules) -> [HistoryState] {
        let own = value.flatMap { rules.values[$0]?.sourceVersion } ?? 0
        if own > 0, version <= own, !rules.mayForget { return [] }
        var next = changed(to: nil, operation, rules)
        next.highest = max(highest, version)
        next.floor = max(floor, version)
        return [next]
    }

    /// The state after a removal from many keys of what is older, or names no source version. It outdates loads of all of them.
    private func removedAll(
        olderThan version: UInt64, _ operation: HistoryOperation, _ rules: Rules
    ) -> HistoryState {
        let own = value.flatMap { rules.values[$0]?.sourceVersion } ?? 0
        var next = changed(to: own > 0 && own >= version ? value : nil, operation, rules)
        next.highest = max(highest, version)
        next.floor = max(floor, version)
        return next
    }

    /// The state after a value was refused that would have taken the place of what was there: that is gone.
    private func displaced(_ operation: HistoryOperation, _ rules: Rules) -> HistoryState {
        var next = self
        next.set(nil, operation, rules)
        return next
    }

    /// The states after an operation with this outcome; none: it cannot have this outcome here.
    func after(_ operation: HistoryOperation, _ rules: Rules) -> [HistoryState] {
        switch operation.action {
        case .read(let found):
            return has(found, rules) || (found == nil && rules.mayForget) ? [self] : []
        case .loaded(nil): return isKnownAbsent(rules) ? [self] : []
        case .loaded(let found?): return has(found, rules) || loads.contains(found) ? [self] : []
        case .set(let value): return stored(value, operation, rules)
        case .remove: return [changed(to: nil, operation, rules)]
        case .removeOlder(let version): return removed(olderThan: version, operation, rules)
        case .removeAllOlder(let version): return [removedAll(olderThan: version, operation, rules)]
        case .refused(let version): return version < highest ? [self] : []
        case .displaced: return [displaced(operation, rules)]
        case .take(nil): return has(nil, rules) || rules.mayForget ? [self] : []
        case .take(let found): return has(found, rules) ? [changed(to: nil, operation, rules)] : []
        case .compareAndSet(let expected, let new, let succeeded):
            if !succeeded { return !has(expected, rules) || (rules.mayForget && expected != nil) ? [self] : [] }
            let holds = has(expected, rules) || (expected == nil && rules.mayForget)
            return holds ? stored(new, operation, rules) : []
        case .compareAndRemove(let expected, let succeeded):
            if !succeeded { return !has(expected, rules) || rules.mayForget ? [self] : [] }
            return has(expected, rules) ? [changed(to: nil, operation, rules)] : []
        case .replace(let new, let succeeded):
            if !succeeded { return has(nil, rules) || rules.mayForget ? [self] : [] }
            return has(nil, rules) ? [] : stored(new, operation, rules)
        case .increment(let amount, let result):
            let holds = (value ?? 0) + amount == result || (rules.mayForget && amount == result)
            return holds ? [changed(to: result, operation, rules)] : []
        case .incrementUnanswered(let amount):
            let results = Set([(value ?? 0) + amount] + (rules.mayForget ? [amount] : []))
            return results.map { changed(to: $0, operation, rules) }
        case .loadBegan(let value):
            var next = self
            next.loads.append(value)
            // A log that fails may keep its version though nobody ever saw it stored.
            if rules.losesLoads { next.highest = max(highest, rules.values[value]?.sourceVersion ?? 0) }
            return [next]
        case .loadStored(let value):
            guard let place = loads.firstIndex(of: value) else { return [] }
            // No change made what sources said since then untrue; what one said before is older.
            var outcomes = stored(value, operation, rules)
            // Where misses are judged: one that is refused takes away what was there, since a newer one was once.
            if !rules.mayForget, let version = rules.values[value]?.sourceVersion, version < highest {
                outcomes.append(displaced(operation, rules))
            }
            return outcomes.map { state in
                var next = state
                next.loads = Array(loads[(place + 1)...])
                return next
            }
        case .drop, .clock, .sync, .crash: return afterEvent(operation, rules)
        }
    }

    private func afterEvent(_ operation: HistoryOperation, _ rules: Rules) -> [HistoryState] {
        var next = self
        switch operation.action {
        case .drop(let tag):
            func carries(_ value: Int) -> Bool { rules.values[value]?.tags.contains(tag) ?? false }
            next.loads = loads.filter { !carries($0) }
            let isHit = value.map(carries) ?? false
            next.set(isHit ? nil : value, operation, rules)
            // Values from before that the drop does not touch are no different after it.
            if !operation.isSynced, !isHit { next.unsynced = unsynced }
        case .clock(let time):
            func isOver(_ value: Int) -> Bool { rules.values[value]?.deadline.map { $0 <= time } ?? false }
            if value.map(isOver) ?? false { next.value = nil }
            next.loads = loads.filter { !isOver($0) }
            next.unsynced = Set(
                unsynced.map { $0.value.map(isOver) ?? false ? Standing(value: nil, floor: $0.floor) : $0 })
        case .sync: next.unsynced = []
        case .crash(let power):
            next.crashes += 1
            next.loads = []
            guard power else { return [next] }
            next.unsynced = []
            return unsynced.union([Standing(value: value, floor: floor)]).map { standing in
                var fallen = next
                (fallen.value, fallen.floor) = (standing.value, standing.floor)
                return fallen
            }
        default: break
        }
        return [next]
    }
}
