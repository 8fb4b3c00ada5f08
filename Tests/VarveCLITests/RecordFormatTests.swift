import Testing

@testable import VarveCLI

/// The text formats of load and dump.
@Suite struct RecordFormatTests {
    private static func bytes(_ text: String) -> ArraySlice<UInt8> { Array(text.utf8)[...] }
    private static func record(_ key: String, _ value: String) -> Record {
        Record(key: Array(key.utf8), value: Array(value.utf8))
    }

    @Test(arguments: [
        (RecordFormat.tsv, "k\tv", "k", "v"), (.tsv, "a\\tb\t\\x0a", "a\tb", "\n"), (.tsv, "k\t\r", "k", ""),
        (.csv, "k,v", "k", "v"), (.csv, "\"a,\"\"b\"\"\",\"x\ny\"\r", "a,\"b\"", "x\ny"), (.csv, "k,", "k", ""),
        (.csv, ",v", "", "v"),
        (.jsonl, #"{"key":"k","value":"v"}"#, "k", "v"),
        (.jsonl, #" { "value" : "\u00e9\ud83c\udf88\n\/" , "key_base64" : "aGk=" } "#, "hi", "é🎈\n/"),
    ])
    func parses(_ format: RecordFormat, _ line: String, _ key: String, _ value: String) throws {
        #expect(try format.parse(Self.bytes(line)) == Self.record(key, value))
    }

    @Test(arguments: [
        (RecordFormat.tsv, "novalue"), (.tsv, "a\tb\tc"), (.tsv, "a\t\\q"), (.tsv, ""),
        (.csv, "one"), (.csv, "a,b,c"), (.csv, "\"a,b"), (.csv, "\"a\"x,b"), (.csv, "a\"b,c"), (.csv, ""),
        (.jsonl, "{}"), (.jsonl, #"{"key":"k"}"#), (.jsonl, #"{"key":"k","value":1}"#), (.jsonl, "[]"),
        (.jsonl, #"{"key":"k","value":"v"} x"#), (.jsonl, #"{"key":"k","value":"v","other":1}"#),
        (.jsonl, #"{"key":"k","key":"k","value":"v"}"#), (.jsonl, #"{"key":"k","value":"v",}"#),
        (.jsonl, #"{"key":"k","value":"\ud83c"}"#), (.jsonl, #"{"key":"k","value":"\x"}"#),
        (.jsonl, #"{"key":"k","value":"v","expires_at":1.5}"#), (.jsonl, #"{"key":"k","value":"v"#),
        (.jsonl, #"{"key":"k","value_base64":"*"}"#), (.jsonl, "{\"key\":\"k\",\"value\":\"a\tb\"}"),
        (.jsonl, #"{"key":"k","value":01}"#), (.jsonl, #"{"key":"k","value":{"a":1}}"#), (.jsonl, "{"),
    ])
    func refuses(_ format: RecordFormat, _ line: String) {
        #expect(throws: RecordFormat.Malformed.self) { try format.parse(Self.bytes(line)) }
    }

    @Test func blankLinesOfJSONSayNothing() throws { #expect(try RecordFormat.jsonl.parse(Self.bytes(" \r")) == nil) }

    @Test func bytesThatAreNoTextAreNotLostInJSON() {
        #expect(throws: RecordFormat.Malformed.self) {
            try RecordFormat.jsonl.parse(Array(#"{"key":"k","value":""#.utf8)[...] + [0xFF] + Array("\"}".utf8))
        }
    }

    @Test(arguments: RecordFormat.allCases)
    func anyBytesComeBack(_ format: RecordFormat) throws {
        var rng = Rng(seed: 11)
        let alphabet = Array("\",\n\r\t\\ a{}:é\u{0}".utf8) + [0xFF]
        func random() -> [UInt8] { (0..<rng.below(12)).map { _ in alphabet[Int(rng.below(UInt64(alphabet.count)))] } }
        let records = (0..<500).map { _ in Record(key: random(), value: random()) }
        var text: [UInt8] = []
        for record in records { format.append(record, to: &text) }
        var reader = RecordReader(
            PiecewiseSource(bytes: text, pieceBytes: 7), isQuoted: format == .csv)
        var found: [Record] = []
        while case .record(let bytes, _) = try reader.next() {
            if let record = try format.parse(bytes) { found.append(record) }
            reader.accept()
        }
        #expect(found == records, "seed 11")
        #expect(reader.place.bytes == UInt64(text.count))
    }

    @Test func jsonKeepsExpiry() throws {
        var line: [UInt8] = []
        let record = Record(key: [0x6B], value: [0xFF], expiresAt: 1_700_000_000_000_000_001)
        RecordFormat.jsonl.append(record, to: &line)
        #expect(
            String(decoding: line, as: UTF8.self)
                == "{\"key\": \"k\", \"value_base64\": \"/w==\", \"expires_at\": 1700000000000000001}\n")
        #expect(try RecordFormat.jsonl.parse(line.dropLast()) == record)
    }
}
