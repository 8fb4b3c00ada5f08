/// One operation on a register as its client saw it: what was asked, what was answered, and between which ticks.
///
/// Values are numbers, and no two writes but increments write the same one, so that a number names its write; what several
/// loads bring of an origin has the number that the origin has it under.
public struct HistoryOperation: Sendable, Hashable {
    public enum Action: Sendable, Hashable {
        /// Nil: a miss.
        case read(Int?)
        case set(Int)
        case remove
        /// A removal that refuses older source versions from then on.
        case removeOlder(than: UInt64)
        /// One of many keys: those that are as new stay, and the older are refused from then on all the same.
        case removeAllOlder(than: UInt64)
        /// A write of this source version that was refused, because the key itself has had a newer one.
        case refused(UInt64)
        /// A write that was refused though the key itself is not known to have had anything newer: what was there is gone.
        case displaced
        /// `expected` nil: there was none (add).
        case compareAndSet(expected: Int?, to: Int, succeeded: Bool)
        case compareAndRemove(expected: Int, succeeded: Bool)
        case replace(with: Int, succeeded: Bool)
        case take(Int?)
        case increment(by: Int, result: Int)
        /// One whose result nobody learned.
        case incrementUnanswered(by: Int)
        /// The source was asked: a load that will bring this value began.
        case loadBegan(Int)
        /// A load's value is stored, if nothing changed the key since it began.
        case loadStored(Int)
        /// A read that loads, or waits for another's load: the register's value, or that of a load which no change has
        /// outdated. Nil: that the source has none, as one of these said.
        case loaded(Int?)
        case drop(tag: String)
        /// The clock stands there from then on.
        case clock(Int64)
        /// Everything before it is durable.
        case sync
        /// The process ends, and the store is opened again; with `power`, what is not durable may be lost.
        case crash(power: Bool)
    }

    public var action: Action
    public var invocation: Int
    /// Nil: it was never answered. It happened at any time since, or not at all.
    public var response: Int?
    /// Whether what it changed is durable once it is done.
    public var isSynced: Bool

    public init(_ action: Action, from invocation: Int, to response: Int?, isSynced: Bool = false) {
        self.action = action
        self.invocation = invocation
        self.response = response
        self.isSynced = isSynced
    }
}

/// What is known of a value beside its number.
public struct HistoryValue: Sendable, Hashable {
    public var tags: Set<String>
    /// At which time of the clock it must be gone at the latest.
    public var deadline: Int64?
    /// The version that its source gave it: once a newer one was stored it must not be.
    public var sourceVersion: UInt64?
    /// The number is a load's that found none at its source.
    public var isAbsence: Bool
    public init(
        tags: Set<String> = [], deadline: Int64? = nil, sourceVersion: UInt64? = nil, isAbsence: Bool = false
    ) {
        self.tags = tags
        self.deadline = deadline
        self.sourceVersion = sourceVersion
        self.isAbsence = isAbsence
    }
}

extension HistoryOperation.Action {
    /// Whether it changes nothing, whatever the register holds.
    var isObservation: Bool {
        switch self {
        case .read, .loaded, .refused, .take(nil), .compareAndSet(_, _, succeeded: false),
            .compareAndRemove(_, succeeded: false), .replace(_, succeeded: false):
            true
        default: false
        }
    }
}

extension HistoryOperation.Action {
    /// The value that it writes, or that a load may.
    var value: Int? {
        switch self {
        case .set(let value), .compareAndSet(_, let value, _), .replace(let value, _), .loadBegan(let value),
            .loadStored(let value):
            value
        default: nil
        }
    }
}

extension HistoryOperation: CustomStringConvertible {
    public var description: String {
        let synced = isSynced ? ", synced" : ""
        return "[\(invocation), \(response.map(String.init) ?? "?")] \(action)\(synced)"
    }
}
