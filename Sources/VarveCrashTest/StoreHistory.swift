import VarveEngine
import VarveTestSupport

/// One key as the store should hold it.
struct HeldEntry: Hashable, Sendable {
    var value: [UInt8]
    var usableUntil: Timestamp?
}

/// Everything the store should hold after one batch, by key.
typealias StoreState = [[UInt8]: HeldEntry]

/// What was written, batch by batch, and what of it the store has promised.
///
/// `states[n]` is the store after n batches. After a power cut it must be one of `states[durable...issued]`, after the
/// death of the process one of `states[acknowledged...issued]`: batches go as a suffix, whole, and never otherwise.
struct StoreHistory: Sendable {
    private(set) var states: [StoreState]
    /// Batches that survive a power cut: acknowledged as synced, or before one that was.
    private(set) var durable = 0
    /// Batches that survive the death of the process.
    private(set) var acknowledged = 0
    /// Batches that were handed to the store, the one in flight included.
    var issued: Int { states.count - 1 }
    /// Batches before the first that is known here.
    private(set) var forgotten = 0

    init(_ start: StoreState = [:], forgotten: Int = 0) {
        states = [start]
        self.forgotten = forgotten
    }

    /// How many batches were ever handed over, those before this history began included.
    var total: Int { forgotten + issued }

    /// A batch is handed to the store.
    mutating func issue(_ operations: [ModelStore.Operation]) {
        var state = states[issued]
        for operation in operations { StoreHistory.apply(operation, to: &state) }
        states.append(state)
    }

    static func apply(_ operation: ModelStore.Operation, to state: inout StoreState) {
        switch operation {
        case .put(let key, let entry): state[key] = HeldEntry(value: entry.value, usableUntil: entry.usableUntil)
        case .delete(let key): state[key] = nil
        case .deleteRange(let begin, let end):
            state = state.filter { key, _ in
                if key.lexicographicallyPrecedes(begin) { return true }
                guard let end else { return false }
                return !key.lexicographicallyPrecedes(end)
            }
        }
    }

    /// The store has acknowledged the last batch, and with it everything before.
    mutating func acknowledge(synced: Bool) {
        acknowledged = issued
        if synced { durable = issued }
    }

    /// Everything that was acknowledged is durable now.
    mutating func sync() { durable = acknowledged }

    /// The store said that nothing of the last batch was written.
    mutating func withdraw() { states.removeLast() }

    /// The store was seen to be at `states[index]`, and goes on from there.
    mutating func settle(at index: Int) {
        states.removeLast(issued - index)
        acknowledged = index
        durable = min(durable, index)
    }

    /// The states that may be found, newest first.
    func allowed(afterPowerCut: Bool) -> ClosedRange<Int> { (afterPowerCut ? durable : acknowledged)...issued }

    /// The newest state in `range` that equals what was found as of `now`.
    func match(_ found: [FoundEntry], in range: ClosedRange<Int>, now: Timestamp) -> Int? {
        range.reversed().first { StoreHistory.equals(states[$0], found, now) }
    }

    private static func equals(_ state: StoreState, _ found: [FoundEntry], _ now: Timestamp) -> Bool {
        for entry in found {
            guard let held = state[entry.key], held == entry.held, !isExpired(held, now) else { return false }
        }
        return found.count == state.count { !isExpired($0.value, now) }
    }

    static func isExpired(_ entry: HeldEntry, _ now: Timestamp) -> Bool { entry.usableUntil.map { $0 <= now } ?? false }
}

/// One entry as a scan returned it.
struct FoundEntry: Hashable, Sendable {
    let key: [UInt8]
    let held: HeldEntry
}

/// What is said of a point at which a promise was broken.
struct Broken: Error, CustomStringConvertible {
    let description: String
    init(_ text: String) { description = text }
}
