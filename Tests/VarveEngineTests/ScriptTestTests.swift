import Testing
import VarveTestSupport

/// The script harness itself: it must see differences, or every script proves nothing.
@Suite struct ScriptTestTests {
    private let script = """
        # a comment

        echo one
        a
        b
        ----
        a
        b

        echo blank
        a

        b
        ----
        ----
        a

        b
        ----
        """ + "\n"

    @Test func aScriptThatHoldsRunsWithoutDifferences() throws {
        let result = try ScriptTest.run(script: script, named: "inline") { $0.input.joined(separator: "\n") }
        #expect(result.commands == 2)
        #expect(result.differences.isEmpty)
        #expect(result.rewritten == script)
    }

    @Test func aDifferenceIsFoundAndRewritten() throws {
        let result = try ScriptTest.run(script: script, named: "inline") { command in
            command.has("one") ? "c" : command.input.joined(separator: "\n")
        }
        #expect(result.differences.count == 1)
        #expect(result.differences.first?.hasPrefix("inline:3: echo one") == true)
        #expect(result.rewritten.contains("----\nc\n\necho blank"))
    }

    @Test func anErrorIsPrintedAndArgumentsAreParsed() throws {
        struct Refused: Error, CustomStringConvertible { let description: String }
        let text = "try n=3 word\n----\nerror: n is 3\n"
        let result = try ScriptTest.run(script: text, named: "inline") { command in
            #expect(command.has("word") && command.value("word") == nil)
            throw Refused(description: "n is \(try command.integer("n") ?? 0)")
        }
        #expect(result.differences.isEmpty)
    }

    @Test func aCommandWithoutSeparatorIsRefused() {
        #expect(throws: ScriptFailure.self) {
            _ = try ScriptTest.run(script: "echo\n", named: "inline") { _ in "" }
        }
    }
}
