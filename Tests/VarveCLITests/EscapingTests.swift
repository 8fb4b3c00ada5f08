import Testing
import VarveTestSupport

@testable import VarveCLI

/// Keys and values in lines of text.
@Suite struct EscapingTests {
    @Test(arguments: [
        ("plain", "plain"), ("a\tb", "a\\tb"), ("a\nb\r", "a\\nb\\r"), ("back\\slash", "back\\\\slash"),
        ("\u{0}\u{1B}[0m\u{7F}", "\\x00\\x1b[0m\\x7f"), ("Grüße 漢字 🎈", "Grüße 漢字 🎈"),
        ("\u{202E}rtl\u{85}", "\\xe2\\x80\\xaertl\\xc2\\x85"),
    ])
    func escapes(_ raw: String, _ escaped: String) {
        #expect(String(decoding: Escaping.escape(raw.utf8), as: UTF8.self) == escaped)
        #expect(Escaping.unescape(Array(escaped.utf8)) == Array(raw.utf8))
    }

    @Test func brokenTextIsEscapedByByte() {
        #expect(
            String(decoding: Escaping.escape([0xFF, 0x41, 0xC3, 0xE2, 0x82]), as: UTF8.self) == "\\xffA\\xc3\\xe2\\x82")
    }

    @Test(arguments: ["\\", "\\q", "\\x1", "\\xg0", "a\\"])
    func noEscapes(_ text: String) { #expect(Escaping.unescape(Array(text.utf8)) == nil) }

    @Test func anyBytesComeBack() {
        var rng = Rng(seed: 7)
        for round in 0..<2000 {
            let bytes = (0..<rng.below(40)).map { _ in UInt8(truncatingIfNeeded: rng.next()) }
            let escaped = Escaping.escape(bytes)
            #expect(!escaped.contains { $0 < 0x20 || $0 == 0x7F }, "seed 7, round \(round)")
            #expect(Escaping.unescape(escaped) == bytes, "seed 7, round \(round)")
        }
    }
}
