internal import Synchronization

/// Collects what many clients do at once to the registers of a cache. Any thread.
public final class HistoryRecorder: Sendable {
    private struct State {
        var operations: [String: [HistoryOperation]] = [:]
        var values: [Int: HistoryValue] = [:]
        var lastValue = 0
        var lifetimes: [Int: Int64] = [:]
    }

    private let keys: [String]
    private let ticks = Atomic<Int>(0)
    private let state = Mutex(State())

    /// `keys`: the registers, so that what covers many of them counts for each.
    public init(keys: [String]) { self.keys = keys }

    /// The next moment: later than every one that was given out before.
    public func tick() -> Int { ticks.add(1, ordering: .sequentiallyConsistent).newValue }

    /// A value that nobody has written yet, above what counters reach.
    public func newValue(
        tags: Set<String> = [], deadline: Int64? = nil, sourceVersion: UInt64? = nil, isAbsence: Bool = false
    ) -> Int {
        state.withLock { state in
            state.lastValue += 1
            let value = 1_000_000 + state.lastValue
            state.values[value] = HistoryValue(
                tags: tags, deadline: deadline, sourceVersion: sourceVersion, isAbsence: isAbsence)
            return value
        }
    }

    /// Says by when a value must be gone.
    public func setDeadline(_ deadline: Int64?, of value: Int) {
        state.withLock { $0.values[value]?.deadline = deadline }
    }

    /// Says how long a value lives that somebody else is to store.
    public func setLifetime(_ nanoseconds: Int64, of value: Int) {
        state.withLock { $0.lifetimes[value] = nanoseconds }
    }

    /// Somebody has got the value by this time of the clock: it was stored by then, and its life had begun.
    public func saw(_ value: Int, by time: Int64) {
        state.withLock { state in
            guard let lifetime = state.lifetimes[value] else { return }
            let known = state.values[value]?.deadline ?? .max
            state.values[value]?.deadline = min(known, time &+ lifetime)
        }
    }

    public func record(_ operation: HistoryOperation, on key: String) {
        state.withLock { $0.operations[key, default: []].append(operation) }
    }

    /// An operation on every key that it covers.
    public func record(_ operation: HistoryOperation, where covers: (String) -> Bool = { _ in true }) {
        for key in keys where covers(key) { record(operation, on: key) }
    }

    /// Records a crash between two moments, once no client of before is left and none has begun anew. What was answered
    /// after it began may have been the work of a process that was dead already, and counts as never answered; what was
    /// asked after it was over was asked of nobody.
    public func recordCrash(from invocation: Int, to response: Int, power: Bool) {
        state.withLock { state in
            for key in keys {
                state.operations[key] = state.operations[key, default: []].compactMap { operation in
                    if operation.invocation > response { return nil }
                    var operation = operation
                    if let answered = operation.response, answered > invocation { operation.response = nil }
                    return operation
                }
            }
            // What was synced is durable with all that came before it, whichever key it was of.
            let synced = state.operations.values.joined().filter {
                $0.isSynced && $0.response != nil && !$0.action.isObservation
            }
            let last = synced.max { $0.invocation < $1.invocation }
            for key in keys {
                if power, let last {
                    state.operations[key, default: []].append(
                        HistoryOperation(.sync, from: last.invocation, to: last.response))
                }
                state.operations[key, default: []].append(
                    HistoryOperation(.crash(power: power), from: invocation, to: response))
            }
        }
    }

    public var operationCount: Int { state.withLock { $0.operations.values.reduce(0) { $0 + $1.count } } }

    /// What is wrong with the history, by key; empty: nothing.
    public func violations(mayForget: Bool, losesLoads: Bool = false) -> [String] {
        let (operations, values) = state.withLock { ($0.operations, $0.values) }
        let checker = HistoryChecker(mayForget: mayForget, losesLoads: losesLoads, values: values)
        return operations.sorted { $0.key < $1.key }.compactMap { key, history in
            let verdict = checker.check(history)
            return verdict.isLinearizable ? nil : "\(key): \(verdict)"
        }
    }
}
