/// One history of a store: a new one begins at every promotion, restore, fork and recovery from a power cut, so that two
/// histories never share a position.
public struct TimelineID: Hashable, Sendable, CustomStringConvertible {
    /// Counts the timelines of a store, from 1.
    public let ordinal: UInt32
    /// Random: tells apart two timelines that were begun under one ordinal on two nodes.
    public let unique: UniqueID

    public init(ordinal: UInt32, unique: UniqueID) {
        self.ordinal = ordinal
        self.unique = unique
    }

    public var description: String { "\(ordinal)-\(unique)" }
}

/// 128 random bits.
public struct UniqueID: Hashable, Sendable, CustomStringConvertible {
    public let high: UInt64
    public let low: UInt64

    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// A new one from the given source of randomness.
    public static func random(using generator: inout some RandomNumberGenerator) -> UniqueID {
        UniqueID(high: generator.next(), low: generator.next())
    }

    public static func random() -> UniqueID {
        var system = SystemRandomNumberGenerator()
        return random(using: &system)
    }

    /// 32 hexadecimal digits.
    public var description: String { hexadecimal(high) + hexadecimal(low) }
}

/// Sixteen hexadecimal digits.
func hexadecimal(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
}

/// How a timeline came to be: where it left its parent, and why.
public struct TimelineOrigin: Hashable, Sendable {
    public enum Reason: UInt8, Sendable, CaseIterable {
        /// The store's first timeline.
        case created = 0
        /// A follower became a primary.
        case promotion = 1
        case restore = 2
        /// A checkpoint was opened for writing.
        case fork = 3
        /// The kernel went down under an open store.
        case powerLoss = 4
        /// A writer found the degraded mark set and dropped what it covers.
        case degraded = 5
    }

    public let timeline: TimelineID
    /// The timeline that it left; nil for the first.
    public let parent: TimelineID?
    /// The last LSN that it shares with its parent.
    public let forkLSN: LSN
    public let reason: Reason

    public init(timeline: TimelineID, parent: TimelineID?, forkLSN: LSN, reason: Reason) {
        self.timeline = timeline
        self.parent = parent
        self.forkLSN = forkLSN
        self.reason = reason
    }
}

/// A place between two batches of one history. Two logs whose positions are equal are equal up to there.
public struct LogPosition: Hashable, Sendable, CustomStringConvertible {
    public let timeline: TimelineID
    /// The last change before this place.
    public let lsn: LSN
    /// The running hash over every decoded record up to `lsn`, seeded by the timelines.
    public let runningHash: UInt64

    public init(timeline: TimelineID, lsn: LSN, runningHash: UInt64) {
        self.timeline = timeline
        self.lsn = lsn
        self.runningHash = runningHash
    }

    public var description: String { "\(timeline.ordinal):\(lsn):\(hexadecimal(runningHash))" }
}

/// Nanoseconds since 1970 (UTC). Commit times and the store clock both count so.
public typealias Timestamp = Int64
