/// Decides whether the recorded operations on one register can have happened one after another, each between its
/// invocation and its response.
///
/// A depth-first search over what may come next, which remembers where it was (Wing and Gong 1993, Lowe 2017; the form
/// of Porcupine). Registers are judged one by one: a history is linearizable if each of its registers' is (Herlihy and
/// Wing 1990), so an operation on many keys counts as one on each.
public struct HistoryChecker {
    /// Whether a miss is always right; else it says that there is no value.
    public var mayForget: Bool
    /// Whether the log may fail: a crash may take what a load brought, however long that was served, and then its source
    /// version refuses nothing afterwards; and one that nobody saw stored may refuse.
    public var losesLoads: Bool
    public var values: [Int: HistoryValue]
    /// Operations to look at, as what may come next, before giving up: a state with many of them costs as much as many
    /// states. Some seconds of a debug build, and forty times what any history has needed that was decided.
    public var effort = 2_000_000

    public init(mayForget: Bool, losesLoads: Bool = false, values: [Int: HistoryValue] = [:]) {
        self.mayForget = mayForget
        self.losesLoads = losesLoads
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
        var state: HistoryState
        var done: Done
        var choices: [(operation: Int, state: HistoryState)]
        var taken: Int?
    }

    /// Which operations stand in the order already, or never will. All before `first` do.
    private struct Done: Hashable {
        private(set) var first = 0
        private var word: UInt64 = 0
        private var beyond: [UInt64] = []

        func contains(_ index: Int) -> Bool { index < first || next(from: index) != index }

        /// The first from `index` on that does not.
        func next(from index: Int) -> Int {
            var place = max(0, index - first)
            while true {
                let number = place / 64
                let present = number == 0 ? word : number <= beyond.count ? beyond[number - 1] : 0
                let left = ~present >> UInt64(place % 64)
                if left != 0 { return first + place + left.trailingZeroBitCount }
                place = (number + 1) * 64
            }
        }

        mutating func insert(_ index: Int) {
            let place = index - first
            if place < 64 {
                word |= 1 << UInt64(place)
            } else {
                while beyond.count < place / 64 { beyond.append(0) }
                beyond[place / 64 - 1] |= 1 << UInt64(place % 64)
            }
            // Whole words go, so that positions in the others stay.
            while word == .max {
                word = beyond.isEmpty ? 0 : beyond.removeFirst()
                first += 64
            }
        }
    }

    /// A history as the search asks for it.
    private struct Context {
        let operations: [HistoryOperation]
        private let rules: HistoryState.Rules
        /// Between which crashes each operation lies.
        private let epochs: [Int]
        /// For the storing of a load, where the load began.
        private let begins: [Int?]

        init(_ operations: [HistoryOperation], _ rules: HistoryState.Rules) {
            self.operations = operations
            self.rules = rules
            let crashes = operations.compactMap { operation in
                if case .crash = operation.action { operation.response } else { Int?.none }
            }
            epochs = operations.map { operation in crashes.count { $0 < operation.invocation } }
            var began: [Int: Int] = [:]
            for (index, operation) in operations.enumerated() {
                if case .loadBegan(let value) = operation.action { began[value] = index }
            }
            begins = operations.map { operation in
                if case .loadStored(let value) = operation.action { began[value] } else { nil }
            }
        }

        /// What may come next: operations that began before any of those left was answered, with the states they lead to,
        /// the likeliest last. One that only looks is taken at once: it can only be in the way later. Those that cannot
        /// come any more are put aside, so that they hold nothing up.
        /// `looked` grows by the work that this took.
        func choices(
            _ state: HistoryState, _ done: inout Done, looked: inout Int
        ) -> [(operation: Int, state: HistoryState)] {
            var found: [(operation: Int, state: HistoryState)] = []
            var earliest = Int.max
            var index = done.next(from: 0)
            while index < operations.count, operations[index].invocation < earliest {
                defer { index = done.next(from: index + 1) }
                looked += 1
                if isPast(index, state, done) {
                    done.insert(index)
                    continue
                }
                let operation = operations[index]
                if let response = operation.response { earliest = min(earliest, response) }
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

        /// Whether an operation that need not have happened cannot happen any more: a load that a change outdated is not
        /// stored, and what a dead process left undone is not done by the next one.
        private func isPast(_ index: Int, _ state: HistoryState, _ done: Done) -> Bool {
            if operations[index].response != nil { return false }
            if epochs[index] < state.crashes { return true }
            guard case .loadStored(let value) = operations[index].action, let began = begins[index] else {
                return false
            }
            return done.contains(began) && !state.loads.contains(value)
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
            mayForget: mayForget, losesLoads: losesLoads, values: values,
            losesPower: operations.contains { $0.action == .crash(power: true) })
        let context = Context(operations, rules)
        let wanted = operations.count { $0.response != nil }
        if wanted == 0 { return .linearizable }
        var visited: Set<Visit> = []
        var order: [Int] = []
        var best: (order: [Int], step: Step?) = ([], nil)
        var certain = 0
        var mostCertain = 0
        var looked = 0

        func step(_ state: HistoryState, _ done: Done, _ taken: Int?) -> Step {
            var step = Step(state: state, done: done, choices: [], taken: taken)
            step.choices = context.choices(state, &step.done, looked: &looked)
            return step
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
            if looked > effort { return .undecided }
            order.append(choice.operation)
            if operations[choice.operation].response != nil { certain += 1 }
            if certain == wanted { return .linearizable }
            stack.append(step(choice.state, done, choice.operation))
            if certain > mostCertain {
                mostCertain = certain
                best = (order, stack.last)
            }
        }
        return .violated(describe(operations, best.order, best.step, rules))
    }

    private func describe(
        _ operations: [HistoryOperation], _ order: [Int], _ step: Step?, _ rules: HistoryState.Rules
    ) -> String {
        let state = step?.state ?? HistoryState()
        var text = "in this order (the last 40)\n"
        func line(_ index: Int) -> String {
            let value = operations[index].action.value.flatMap { rules.values[$0] }
            let version = value?.sourceVersion.map { ", source version \($0)" } ?? ""
            let tags = value.map { $0.tags.isEmpty ? "" : ", tags \($0.tags.sorted())" } ?? ""
            return "  \(operations[index])\(version)\(tags)\n"
        }
        for index in order.suffix(40) { text += line(index) }
        text += "the register holds \(state.value.map(String.init) ?? "nothing"), refuses below \(state.floor)"
        text += " with loads \(state.loads), and none of these can follow\n"
        let left = operations.indices.filter { step?.done.contains($0) != true }
        let earliest = left.compactMap { operations[$0].response }.min() ?? .max
        for index in left where operations[index].invocation < earliest { text += line(index) }
        return text
    }
}
