/// How the small values of manifest and clean-close record stand in bytes.
extension ByteBuffer {
    /// Timeline (20), LSN u64, running hash u64.
    mutating func appendPosition(_ position: LogPosition) {
        appendTimeline(position.timeline)
        appendFixed(position.lsn.rawValue)
        appendFixed(position.runningHash)
    }

    /// Timeline (20), reason u8, fork LSN u64, then the parent (20) unless it is the first.
    mutating func appendOrigin(_ origin: TimelineOrigin) {
        appendTimeline(origin.timeline)
        append(origin.reason.rawValue)
        appendFixed(origin.forkLSN.rawValue)
        if let parent = origin.parent { appendTimeline(parent) }
    }
}

extension ByteReader {
    private static func checked(_ raw: UInt64) throws(DecodeError) -> LSN {
        guard raw <= LSN.max.rawValue else { throw .outOfRange("an LSN above 56 bits") }
        return LSN(raw)
    }

    mutating func varintLSN() throws(DecodeError) -> LSN { try Self.checked(try varint()) }

    mutating func origin() throws(DecodeError) -> TimelineOrigin {
        let timeline = try timeline()
        let raw = try byte()
        guard let reason = TimelineOrigin.Reason(rawValue: raw) else {
            throw .unknown("the reason \(raw) of a timeline")
        }
        let fork = try lsn()
        let parent = isAtEnd ? nil : try self.timeline()
        return TimelineOrigin(timeline: timeline, parent: parent, forkLSN: fork, reason: reason)
    }

    mutating func fileNumber() throws(DecodeError) -> FileNumber {
        let number = try varint()
        // Room to count on from any number that is stored.
        guard number > 0, number < 1 << 62 else { throw .outOfRange("file number \(number)") }
        return number
    }

    mutating func level() throws(DecodeError) -> Int {
        let level = Int(try byte())
        guard level < Limits.levels else { throw .outOfRange("level \(level)") }
        return level
    }

    /// All that is left, as UTF-8 text of 1 to `limit` bytes.
    mutating func name(atMost limit: Int) throws(DecodeError) -> String {
        guard remaining > 0, remaining <= limit else { throw .outOfRange("a name of \(remaining) bytes") }
        guard let text = unsafe String(validating: rest(), as: UTF8.self) else {
            throw .malformed("a name not in UTF-8")
        }
        return text
    }
}
