/// A place in a store's history of changes, between two batches: (timeline, LSN). Opaque: to be kept and handed back.
///
/// It outlives the process as text or through `Codable`. One that does not lie in a store's history (the store was
/// restored to an earlier moment, or lost power before that place was synced) is refused and never guessed at.
public struct ChangeCursor: Hashable, Sendable {
    let timeline: TimelineID
    /// The last change before this place.
    public let lsn: LSN

    init(timeline: TimelineID, lsn: LSN) {
        self.timeline = timeline
        self.lsn = lsn
    }

    /// The end of a log: for a copy that takes the log itself, and so has met its source's history.
    package init(_ position: LogPosition) { self.init(timeline: position.timeline, lsn: position.lsn) }

    /// Names the history in which this is a place, for versions that stand for one as well.
    package var history: UInt64 { timeline.unique.high ^ timeline.unique.low }
}

extension ChangeCursor: LosslessStringConvertible {
    /// As "1-0123456789abcdef0123456789abcdef:42".
    public var description: String { "\(timeline):\(lsn)" }

    public init?(_ description: String) {
        let parts = description.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let lsn = UInt64(parts[1]), lsn <= LSN.max.rawValue else { return nil }
        let names = parts[0].split(separator: "-", omittingEmptySubsequences: false)
        guard names.count == 2, let ordinal = UInt32(names[0]), names[1].utf8.count == 32,
            let high = UInt64(names[1].prefix(16), radix: 16), let low = UInt64(names[1].suffix(16), radix: 16)
        else { return nil }
        self.init(timeline: TimelineID(ordinal: ordinal, unique: UniqueID(high: high, low: low)), lsn: LSN(lsn))
        // What is not written as we write it (signs, zeros, capitals) is not ours.
        guard self.description == description else { return nil }
    }
}

extension ChangeCursor: Codable {
    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let cursor = ChangeCursor(text) else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "\"\(text)\" is no cursor of a change feed"))
        }
        self = cursor
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
