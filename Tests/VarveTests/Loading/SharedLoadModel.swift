/// Who waits for which call of the source, key by key: what overlapping callers of a cache should cost it, and what each
/// should get.
struct SharedLoadModel {
    /// One call of the source, for one key or many.
    struct Call {
        /// By key, who waits for it. A key of which nobody is left is given up.
        var callers: [Int: Set<Int>]
    }

    struct Caller: Equatable {
        /// By key, the call that it waits for.
        var waits: [Int: Int] = [:]
        var found: [Int: Int] = [:]
        var failure: Failure?
    }

    enum Failure: Equatable { case sourceDown, refused }

    /// What the cache has.
    private(set) var values: [Int: Int] = [:]
    /// The call that who comes now joins.
    private(set) var joinable: [Int: Int] = [:]
    private(set) var calls: [Int: Call] = [:]
    private(set) var callers: [Int: Caller] = [:]
    /// Keys that are left alone until then, where failures are remembered.
    private(set) var alone: [Int: Int64] = [:]
    private var lastCall = 0

    // MARK: Asking

    /// Somebody asks for keys: which call he begins, for which of them, and how many he joins.
    mutating func ask(
        _ caller: Int, _ keys: [Int], refreshes: Bool, at now: Int64
    ) -> (begun: [Int], joined: Int) {
        var new = Caller()
        var begun: [Int] = []
        var joined = 0
        for key in keys {
            if !refreshes, let value = values[key] {
                new.found[key] = value
            } else if let call = joinable[key] {
                new.waits[key] = call
                calls[call]?.callers[key]?.insert(caller)
                joined += 1
            } else if let until = alone[key], until > now {
                new.failure = .refused
            } else {
                begun.append(key)
            }
        }
        if !begun.isEmpty {
            lastCall += 1
            calls[lastCall] = Call(callers: Dictionary(uniqueKeysWithValues: begun.map { ($0, [caller]) }))
            for key in begun { (joinable[key], new.waits[key]) = (lastCall, lastCall) }
        }
        callers[caller] = new
        return (begun, joined)
    }

    // MARK: What happens meanwhile

    /// The key was written, or removed (nil): who waits is not told, who comes later begins anew.
    mutating func change(_ key: Int, to value: Int?) {
        (values[key], joinable[key]) = (value, nil)
    }

    /// A caller leaves; what nobody waits for is given up.
    mutating func leave(_ caller: Int) {
        for (key, call) in callers[caller]?.waits ?? [:] {
            calls[call]?.callers[key]?.remove(caller)
            if calls[call]?.callers[key]?.isEmpty == true, joinable[key] == call { joinable[key] = nil }
        }
        callers[caller] = nil
    }

    /// A call ends. `brought`: what it has of its keys; nil: it failed. Which callers have theirs then.
    mutating func end(_ call: Int, _ brought: [Int: Int]?, aloneUntil: Int64?) -> [Int] {
        guard let ended = calls.removeValue(forKey: call) else { return [] }
        let isGivenUp = ended.callers.values.allSatisfy(\.isEmpty)
        for (key, waiting) in ended.callers {
            if brought == nil, !isGivenUp, let aloneUntil { alone[key] = aloneUntil }
            if brought != nil, !isGivenUp { alone[key] = nil }
            let counts = joinable[key] == call
            if counts { joinable[key] = nil }
            if counts, !waiting.isEmpty, let brought { values[key] = brought[key] }
            for caller in waiting {
                callers[caller]?.waits[key] = nil
                if let brought { callers[caller]?.found[key] = brought[key] }
                // A failure counts for more than a refusal.
                if brought == nil { callers[caller]?.failure = .sourceDown }
            }
        }
        return callers.filter { $0.value.waits.isEmpty }.keys.sorted()
    }

    /// How many loads are under way, those included of which nobody is left.
    var loads: Int { calls.values.reduce(0) { $0 + $1.callers.count } }

    mutating func forget(_ caller: Int) { callers[caller] = nil }
}
