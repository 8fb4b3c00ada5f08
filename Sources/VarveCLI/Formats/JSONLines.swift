/// One JSON object a line.
enum JSONLines {
    static func parse(_ bytes: ArraySlice<UInt8>) throws(RecordFormat.Malformed) -> Record? {
        if bytes.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) { return nil }
        var parser = FlatJSONParser(bytes)
        var (key, value): ([UInt8]?, [UInt8]?)
        var expiresAt: Int64?
        for (name, scalar) in try parser.object() {
            switch name {
            case "key": try set(&key, text(scalar, name), name)
            case "key_base64": try set(&key, base64(scalar, name), name)
            case "value": try set(&value, text(scalar, name), name)
            case "value_base64": try set(&value, base64(scalar, name), name)
            case "expires_at":
                guard case .number(let digits) = scalar, let time = Int64(digits) else {
                    throw .init("\"expires_at\" is not a whole number of nanoseconds since 1970")
                }
                expiresAt = time
            default: throw .init("there is no member called \(JSONText.quoted(name))")
            }
        }
        guard let key else { throw .init("there is no \"key\"") }
        guard let value else { throw .init("there is no \"value\"") }
        return Record(key: key, value: value, expiresAt: expiresAt)
    }

    private static func set(
        _ field: inout [UInt8]?, _ bytes: [UInt8], _ name: String
    ) throws(RecordFormat.Malformed) {
        guard field == nil else { throw .init("\"\(name)\" says again what another member has said") }
        field = bytes
    }

    private static func text(_ scalar: FlatJSONParser.Scalar, _ name: String) throws(RecordFormat.Malformed) -> [UInt8]
    {
        guard case .string(let bytes) = scalar else { throw .init("\"\(name)\" is not a string") }
        return bytes
    }

    private static func base64(
        _ scalar: FlatJSONParser.Scalar, _ name: String
    ) throws(RecordFormat.Malformed) -> [UInt8] {
        guard case .string(let text) = scalar, let bytes = Base64.decode(String(decoding: text, as: UTF8.self)) else {
            throw .init("\"\(name)\" is not a string of Base64")
        }
        return bytes
    }

    static func append(_ record: Record, to out: inout [UInt8]) {
        var members = [JSONValue.bytes("key", record.key), JSONValue.bytes("value", record.value)]
        if let time = record.expiresAt { members.append(.init("expires_at", .integer(time))) }
        out.append(contentsOf: JSONValue.object(members).text.utf8)
        out.append(0x0A)
    }
}

/// A strict parser of one flat JSON object: strings, numbers, true, false and null; no nesting.
struct FlatJSONParser {
    enum Scalar: Equatable {
        case string([UInt8])
        case number(String)
        case word(String)
    }

    typealias Malformed = RecordFormat.Malformed

    private let bytes: ArraySlice<UInt8>
    private var index: Int

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        index = bytes.startIndex
    }

    /// The members in their order.
    mutating func object() throws(Malformed) -> [(name: String, value: Scalar)] {
        try expect(UInt8(ascii: "{"), "an object begins with {")
        var members: [(name: String, value: Scalar)] = []
        skipSpace()
        if peek == UInt8(ascii: "}") {
            index += 1
        } else {
            repeat {
                skipSpace()
                let name = String(decoding: try string(), as: UTF8.self)
                try expect(UInt8(ascii: ":"), "a colon follows a member's name")
                members.append((name, try scalar()))
                skipSpace()
            } while take(UInt8(ascii: ","))
            try expect(UInt8(ascii: "}"), "a comma or } follows a member")
        }
        skipSpace()
        guard index == bytes.endIndex else { throw .init("something stands behind the object") }
        return members
    }

    private var peek: UInt8? { index < bytes.endIndex ? bytes[index] : nil }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard peek == byte else { return false }
        index += 1
        return true
    }

    private mutating func expect(_ byte: UInt8, _ rule: String) throws(Malformed) {
        skipSpace()
        guard take(byte) else { throw .init("this is not JSON: \(rule) (column \(index - bytes.startIndex + 1))") }
    }

    private mutating func skipSpace() {
        while let byte = peek, byte == 0x20 || byte == 0x09 || byte == 0x0D { index += 1 }
    }

    private mutating func scalar() throws(Malformed) -> Scalar {
        skipSpace()
        guard let first = peek else { throw .init("this is not JSON: a value is missing") }
        if first == UInt8(ascii: "\"") { return .string(try string()) }
        let start = index
        while let byte = peek, byte != UInt8(ascii: ","), byte != UInt8(ascii: "}"), byte > 0x20 { index += 1 }
        let text = String(decoding: bytes[start..<index], as: UTF8.self)
        if ["true", "false", "null"].contains(text) { return .word(text) }
        guard text.wholeMatch(of: /-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/) != nil else {
            throw .init("a value is no string or number (column \(start - bytes.startIndex + 1))")
        }
        return .number(text)
    }

    private mutating func string() throws(Malformed) -> [UInt8] {
        guard take(UInt8(ascii: "\"")) else { throw .init("this is not JSON: a string begins with a quote") }
        var out: [UInt8] = []
        while let byte = peek {
            index += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard String(validating: out, as: UTF8.self) != nil else {
                    throw .init("a string is not UTF-8; write such bytes as Base64")
                }
                return out
            case UInt8(ascii: "\\"): try escape(&out)
            case 0..<0x20: throw .init("a string holds a control character that is not escaped")
            default: out.append(byte)
            }
        }
        throw .init("a string is opened and never closed")
    }

    private mutating func escape(_ out: inout [UInt8]) throws(Malformed) {
        guard let byte = peek else { throw .init("a string is opened and never closed") }
        index += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): out.append(byte)
        case UInt8(ascii: "b"): out.append(0x08)
        case UInt8(ascii: "f"): out.append(0x0C)
        case UInt8(ascii: "n"): out.append(0x0A)
        case UInt8(ascii: "r"): out.append(0x0D)
        case UInt8(ascii: "t"): out.append(0x09)
        case UInt8(ascii: "u"): out.append(contentsOf: String(Character(try unicodeEscape())).utf8)
        default: throw .init("a backslash begins no escape of JSON")
        }
    }

    private mutating func unicodeEscape() throws(Malformed) -> Unicode.Scalar {
        let first = try fourDigits()
        if let scalar = Unicode.Scalar(first) { return scalar }
        // The first half of a surrogate pair needs its second.
        guard (0xD800..<0xDC00).contains(first), take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) else {
            throw .init("half a surrogate pair stands alone")
        }
        let second = try fourDigits()
        guard (0xDC00..<0xE000).contains(second),
            let scalar = Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
        else { throw .init("half a surrogate pair stands alone") }
        return scalar
    }

    private mutating func fourDigits() throws(Malformed) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = peek.flatMap(Escaping.hexadecimalDigit) else {
                throw .init("\\u is not followed by four hexadecimal digits")
            }
            value = value << 4 | UInt32(digit)
            index += 1
        }
        return value
    }
}
