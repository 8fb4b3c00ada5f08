/// A register as it should be, and the rules by which operations change it: so simple that it is right by reading.
///
/// A cache may forget: a miss is right whenever forgetting is allowed. But it never lies: what is read is what was written
/// last, and what was overwritten, removed, dropped or has expired never shows again.
struct HistoryState: Hashable {
    var value: Int?
    /// Loads that began after the last change of the register.
    var loads: Set<Int> = []
    /// What the register may fall back to when the power goes.
    var unsynced: Set<Int?> = []
    var crashes = 0

    /// What may be true beside the operations themselves.
    struct Rules {
        var mayForget: Bool
        var values: [Int: HistoryValue]
        /// Whether a crash that loses power will come: else nothing need be remembered for it.
        var losesPower: Bool
    }

    private func has(_ value: Int?) -> Bool { self.value == value }
    private func changed(to value: Int?, _ operation: HistoryOperation, _ rules: Rules) -> HistoryState {
        var next = self
        next.loads = []
        next.set(value, operation, rules)
        return next
    }

    private mutating func set(_ value: Int?, _ operation: HistoryOperation, _ rules: Rules) {
        if rules.losesPower {
            if operation.isSynced { unsynced = [] } else { unsynced.insert(self.value) }
        }
        self.value = value
    }

    /// The states after an operation with this outcome; none: it cannot have this outcome here.
    func after(_ operation: HistoryOperation, _ rules: Rules) -> [HistoryState] {
        switch operation.action {
        case .read(let found):
            return has(found) || (found == nil && rules.mayForget) ? [self] : []
        case .loaded(let found):
            return has(found) || loads.contains(found) ? [self] : []
        case .set(let value): return [changed(to: value, operation, rules)]
        case .remove: return [changed(to: nil, operation, rules)]
        case .take(nil): return value == nil || rules.mayForget ? [self] : []
        case .take(let found): return has(found) ? [changed(to: nil, operation, rules)] : []
        case .compareAndSet(let expected, let new, let succeeded):
            if !succeeded { return !has(expected) || (rules.mayForget && expected != nil) ? [self] : [] }
            let holds = has(expected) || (expected == nil && rules.mayForget)
            return holds ? [changed(to: new, operation, rules)] : []
        case .replace(let new, let succeeded):
            if !succeeded { return value == nil || rules.mayForget ? [self] : [] }
            return value == nil ? [] : [changed(to: new, operation, rules)]
        case .increment(let amount, let result):
            let holds = (value ?? 0) + amount == result || (rules.mayForget && amount == result)
            return holds ? [changed(to: result, operation, rules)] : []
        case .incrementUnanswered(let amount):
            let results = Set([(value ?? 0) + amount] + (rules.mayForget ? [amount] : []))
            return results.map { changed(to: $0, operation, rules) }
        case .loadBegan(let value):
            var next = self
            next.loads.insert(value)
            return [next]
        case .loadStored(let value):
            return loads.contains(value) ? [changed(to: value, operation, rules)] : []
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
            if let value, let deadline = rules.values[value]?.deadline, deadline <= time { next.value = nil }
            next.unsynced = unsynced.filter { value in
                value.flatMap { rules.values[$0]?.deadline }.map { $0 > time } ?? true
            }
            if next.unsynced.count < unsynced.count { next.unsynced.insert(nil) }
        case .sync: next.unsynced = []
        case .crash(let power):
            next.crashes += 1
            next.loads = []
            guard power else { return [next] }
            next.unsynced = []
            return unsynced.union([value]).map { value in
                var fallen = next
                fallen.value = value
                return fallen
            }
        default: break
        }
        return [next]
    }
}
