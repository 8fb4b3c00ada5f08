/// One entry of an input or output file.
struct Record: Sendable, Equatable {
    var key: [UInt8]
    var value: [UInt8]
    /// Nanoseconds since 1970 from which the entry is expired; nil: never. Only JSON lines carry it.
    var expiresAt: Int64?

    init(key: [UInt8], value: [UInt8], expiresAt: Int64? = nil) {
        self.key = key
        self.value = value
        self.expiresAt = expiresAt
    }
}

/// The text formats of `load` and `dump`. Every one of them carries any bytes there and back.
///
///     tsv    key, tab, value; escaped as `scan` prints them
///     csv    two fields a record, RFC 4180; bytes as they are
///     jsonl  one object a line: "key" and "value", or "key_base64" and "value_base64" for bytes that are no UTF-8;
///            "expires_at" (nanoseconds since 1970) where the entry expires
enum RecordFormat: String, Sendable, CaseIterable {
    case tsv, csv, jsonl

    /// Why a record cannot be understood.
    struct Malformed: Error, Equatable {
        let reason: String
        init(_ reason: String) { self.reason = reason }
    }

    /// The entry in one record's bytes, without its line end. Nil for a record that says nothing (a blank line).
    func parse(_ bytes: ArraySlice<UInt8>) throws(Malformed) -> Record? {
        switch self {
        case .tsv: return try TSV.parse(bytes)
        case .csv: return try CSV.parse(bytes)
        case .jsonl: return try JSONLines.parse(bytes)
        }
    }

    /// Appends one record with its line end.
    func append(_ record: Record, to out: inout [UInt8]) {
        switch self {
        case .tsv: TSV.append(record, to: &out)
        case .csv: CSV.append(record, to: &out)
        case .jsonl: JSONLines.append(record, to: &out)
        }
    }
}

/// Key, tab, value, newline.
enum TSV {
    static func parse(_ bytes: ArraySlice<UInt8>) throws(RecordFormat.Malformed) -> Record {
        // A carriage return of the content is escaped, so one at the end belongs to the line end.
        let line = bytes.last == 0x0D ? bytes.dropLast() : bytes
        guard let tab = line.firstIndex(of: 0x09) else { throw .init("there is no tab between key and value") }
        let rest = line[(tab + 1)...]
        guard !rest.contains(0x09) else { throw .init("there is a second tab; write a tab of the value as \\t") }
        guard let key = Escaping.unescape(line[..<tab]), let value = Escaping.unescape(rest) else {
            throw .init("a backslash begins no escape; known are \\t \\n \\r \\\\ \\xHH")
        }
        return Record(key: key, value: value)
    }

    static func append(_ record: Record, to out: inout [UInt8]) {
        Escaping.append(record.key, to: &out)
        out.append(0x09)
        Escaping.append(record.value, to: &out)
        out.append(0x0A)
    }
}

/// Comma-separated values as RFC 4180 has them, with bytes instead of text.
enum CSV {
    private static let quote = UInt8(ascii: "\"")
    private static let comma = UInt8(ascii: ",")

    static func parse(_ bytes: ArraySlice<UInt8>) throws(RecordFormat.Malformed) -> Record {
        let fields = try fields(bytes.last == 0x0D ? bytes.dropLast() : bytes)
        guard fields.count == 2 else { throw .init("there are \(fields.count) fields and not 2 (key, value)") }
        return Record(key: fields[0], value: fields[1])
    }

    private static func fields(_ record: ArraySlice<UInt8>) throws(RecordFormat.Malformed) -> [[UInt8]] {
        var fields: [[UInt8]] = []
        var index = record.startIndex
        while true {
            if index < record.endIndex, record[index] == quote {
                fields.append(try quotedField(record, &index))
            } else {
                let end = record[index...].firstIndex(of: comma) ?? record.endIndex
                guard !record[index..<end].contains(quote) else {
                    throw .init("a quote stands inside a field that is not quoted")
                }
                fields.append(Array(record[index..<end]))
                index = end
            }
            guard index < record.endIndex else { return fields }
            guard record[index] == comma else { throw .init("a quoted field goes on behind its closing quote") }
            index += 1
        }
    }

    private static func quotedField(
        _ record: ArraySlice<UInt8>, _ index: inout Int
    ) throws(RecordFormat.Malformed) -> [UInt8] {
        var field: [UInt8] = []
        index += 1
        while index < record.endIndex {
            if record[index] == quote {
                let next = index + 1
                guard next < record.endIndex, record[next] == quote else {
                    index = next
                    return field
                }
                index = next
            }
            field.append(record[index])
            index += 1
        }
        throw .init("a quote is opened and never closed")
    }

    static func append(_ record: Record, to out: inout [UInt8]) {
        append(record.key, to: &out)
        out.append(comma)
        append(record.value, to: &out)
        out.append(0x0A)
    }

    private static func append(_ field: [UInt8], to out: inout [UInt8]) {
        guard field.contains(where: { $0 == quote || $0 == comma || $0 == 0x0A || $0 == 0x0D }) else {
            out.append(contentsOf: field)
            return
        }
        out.append(quote)
        for byte in field {
            if byte == quote { out.append(quote) }
            out.append(byte)
        }
        out.append(quote)
    }
}
