internal import VarveEngine

/// What the disk knows of an entry whose deadline reads move, in an extension of the entry's fields: span, limit, and the
/// deadline of the last read that it was told of. So the entry goes by the rule that it was written with.
///
/// The engine's own deadline lies a span later, no further than the limit: memory may know of later reads, and the engine
/// must not drop meanwhile what memory knows to be alive. Whether the entry is served, this deadline decides.
struct IdleRecord: Hashable, Sendable {
    var rule: IdleRule
    var until: Int64

    private static let tag: UInt64 = 2
    /// The version that a record carries on which only tells a moved deadline.
    private static let carriedTag: UInt64 = 3

    /// Nil where reads do not matter.
    init?(_ rule: IdleRule, until: Int64) {
        guard rule.span > 0 else { return nil }
        self.rule = rule
        self.until = until
    }

    /// Nil where there is none, or one that cannot be.
    init?(_ extensions: [EntryExtension]) {
        guard let field = extensions.first(where: { $0.tag == IdleRecord.tag }), field.bytes.count == 24 else {
            return nil
        }
        let numbers = (0..<3).map { IdleRecord.number(field.bytes[($0 * 8)..<($0 * 8 + 8)]) }
        guard numbers[0] > 0 else { return nil }
        rule = IdleRule(span: numbers[0], limit: numbers[1])
        until = min(numbers[1], numbers[2])
    }

    /// Whether a deadline is ahead of this one by more than the disk should miss.
    func isBehind(_ deadline: Int64) -> Bool { deadline &- until > rule.slack }

    func write(to fields: inout EntryFields) {
        let engineDeadline = min(rule.limit, Deadlines.add(rule.span, to: until))
        fields.usableUntil = engineDeadline == .max ? nil : engineDeadline
        fields.extensions.removeAll { $0.tag == IdleRecord.tag }
        let bytes = [rule.span, rule.limit, until].flatMap(IdleRecord.bytes)
        fields.extensions.append(EntryExtension(tag: IdleRecord.tag, bytes: bytes))
    }

    static func carriedVersion(_ extensions: [EntryExtension]) -> UInt64? {
        guard let field = extensions.first(where: { $0.tag == carriedTag }), field.bytes.count == 8 else { return nil }
        return UInt64(bitPattern: number(field.bytes[...]))
    }

    static func carry(_ version: UInt64, in fields: inout EntryFields) {
        fields.extensions.removeAll { $0.tag == carriedTag }
        fields.extensions.append(EntryExtension(tag: carriedTag, bytes: bytes(Int64(bitPattern: version))))
    }

    private static func bytes(_ number: Int64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: number >> (Int64($0) * 8)) }
    }

    private static func number(_ bytes: ArraySlice<UInt8>) -> Int64 {
        bytes.reversed().reduce(0) { $0 << 8 | Int64($1) }
    }
}
