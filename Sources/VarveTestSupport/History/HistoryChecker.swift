/// Decides whether the recorded operations on one register can have happened one after another, each between its
/// invocation and its response.
///
/// A depth-first search over what may come next, which remembers where it was (Wing and Gong 1993, Lowe 2017; the form
/// of Porcupine). Registers are judged one by one: a history is linearizable if each of its registers' is (Herlihy and
/// Wing 1990), so an operation on many keys counts as one on each.
public struct HistoryChecker {
    /// Whether a miss is always right; else it says that there is no value.
    public var mayForget: Bool
    public var values: [Int: HistoryValue]
    /// States to look at before giving up.
    public var effort = 300_000

    public init(mayForget: Bool, values: [Int: HistoryValue] = [:]) {
        self.mayForget = mayForget
        self.values = values
    }

    public enum Verdict: Sendable, CustomStringConvertible {
        case linearizable
        /// With the longest order that was found and what could not follow it.
        case violated(String)
        case undecided

        public var isLinearizable: Bool { if case .linearizable = self { true } else { false } }
        public var description: String {
            switch self {
            case .linearizable: "linearizable"
            case .violated(let text): "not linearizable:\n\(text)"
            case .undecided: "undecided"
            }
        }
    }

    /// One step of the search: what was done, and what else could have been.
    private struct Step {
        var done: Done
        var choices: [(operation: Int, state: HistoryState)]
        var taken: Int?
    }

    /// Which operations stand in the order already. All before `first` do.
    private struct Done: Hashable {
        var first = 0
        var beyond: [UInt64] = []

        func contains(_ index: Int) -> Bool {
            if index < first { return true }
            let word = (index - first) / 64
            return word < beyond.count && beyond[word] >> UInt64((index - first) % 64) & 1 == 1
        }

        mutating func insert(_ index: Int) {
            let word = (index - first) / 64
            while beyond.count <= word { beyond.append(0) }
            beyond[word] |= 1 << UInt64((index - first) % 64)
            // Whole words go, so that positions in the others stay.
            while beyond.first == .max {
                beyond.removeFirst()
                first += 64
            }
        }
    }

    private struct Visit: Hashable {
        var done: Done
        var state: HistoryState
    }

    /// Judges the operations on one register.
    public func check(_ history: [HistoryOperation]) -> Verdict {
        let operations = history.sorted { ($0.invocation, $0.response ?? .max) < ($1.invocation, $1.response ?? .max) }
        let rules = HistoryState.Rules(
            mayForget: mayForget, values: values,
            losesPower: operations.contains { $0.action == .crash(power: true) })
        let epochs = HistoryChecker.epochs(of: operations)
        let wanted = operations.count { $0.response != nil }
        if wanted == 0 { return .linearizable }
        var visited: Set<Visit> = []
        var order: [Int] = []
        var best: (order: [Int], state: HistoryState) = ([], HistoryState())
        var certain = 0
        var mostCertain = 0

        func step(_ state: HistoryState, _ done: Done, _ taken: Int?) -> Step {
            Step(done: done, choices: choices(operations, epochs, state, done, rules), taken: taken)
        }
        var stack = [step(HistoryState(), Done(), nil)]
        while !stack.isEmpty {
            guard let choice = stack[stack.count - 1].choices.popLast() else {
                if let taken = stack.removeLast().taken {
                    order.removeLast()
                    if operations[taken].response != nil { certain -= 1 }
                }
                continue
            }
            var done = stack[stack.count - 1].done
            done.insert(choice.operation)
            guard visited.insert(Visit(done: done, state: choice.state)).inserted else { continue }
            if visited.count > effort { return .undecided }
            order.append(choice.operation)
            if operations[choice.operation].response != nil { certain += 1 }
            if certain == wanted { return .linearizable }
            if certain > mostCertain {
                mostCertain = certain
                best = (order, choice.state)
            }
            stack.append(step(choice.state, done, choice.operation))
        }
        return .violated(describe(operations, best.order, best.state))
    }

    /// What may come next: operations that began before any of those left was answered, with the states they lead to,
    /// the likeliest last. One that only looks is taken at once: it can only be in the way later.
    private func choices(
        _ operations: [HistoryOperation], _ epochs: [Int], _ state: HistoryState, _ done: Done,
        _ rules: HistoryState.Rules
    ) -> [(operation: Int, state: HistoryState)] {
        var found: [(operation: Int, state: HistoryState)] = []
        var earliest = Int.max
        var index = done.first
        while index < operations.count, operations[index].invocation < earliest {
            defer { index += 1 }
            if done.contains(index) { continue }
            let operation = operations[index]
            if let response = operation.response { earliest = min(earliest, response) }
            // What a dead process left undone is not done by the next one.
            if epochs[index] != state.crashes { continue }
            let next = state.after(operation, rules)
            if operation.action.isObservation, !next.isEmpty {
                if operation.response == nil { continue }
                return [(index, state)]
            }
            for state in next { found.append((index, state)) }
        }
        return found.sorted { lhs, rhs in
            (operations[lhs.operation].response ?? .max) > (operations[rhs.operation].response ?? .max)
        }
    }

    /// Between which crashes each operation lies.
    private static func epochs(of operations: [HistoryOperation]) -> [Int] {
        let crashes = operations.compactMap { operation in
            if case .crash = operation.action { operation.response } else { Int?.none }
        }
        return operations.map { operation in crashes.count { $0 < operation.invocation } }
    }

    private func describe(_ operations: [HistoryOperation], _ order: [Int], _ state: HistoryState) -> String {
        var text = "in this order (the last 40)\n"
        for index in order.suffix(40) { text += "  \(operations[index])\n" }
        text += "the register holds \(state.value.map(String.init) ?? "nothing")"
        text += " with loads \(state.loads.sorted()), and none of these can follow\n"
        let placed = Set(order)
        let left = operations.indices.filter { !placed.contains($0) }
        let earliest = left.compactMap { operations[$0].response }.min() ?? .max
        for index in left where operations[index].invocation < earliest { text += "  \(operations[index])\n" }
        return text
    }
}
