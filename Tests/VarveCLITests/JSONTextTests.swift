import Foundation
import Testing

@testable import VarveCLI

/// JSON as the commands write it.
@Suite struct JSONTextTests {
    @Test func valuesAreWrittenInOrder() {
        let value = JSONValue.object([
            .init("b", .unsigned(.max)), .init("a", .array([.null, .bool(true), .number(0.5), .integer(-1)])),
        ])
        #expect(value.text == "{\"b\": 18446744073709551615, \"a\": [null, true, 0.5, -1]}")
    }

    @Test func anyTextIsValidJSON() throws {
        let text = "quote \" backslash \\ newline \n tab \t nul \u{0} escape \u{1B} é 🎈"
        let data = Data("[\(JSONText.quoted(text))]".utf8)
        #expect(try JSONSerialization.jsonObject(with: data) as? [String] == [text])
    }
}
