import Testing

/// The lexer that the tidy rules stand on.
@Suite struct SwiftTextTests {
    @Test func stringsAndCommentsAreNoCode() {
        let text = SwiftText("let a = \"{ // no \\(b + \"}\") {\" // real {\n/* { */ let c = #\"\"{\"\"#\n")
        #expect(text.code.joined(separator: "\n").filter { $0 == "{" || $0 == "}" }.isEmpty)
        #expect(text.code[0].contains("b + "))
        #expect(text.comments[0] == " real {")
        #expect(text.code[1].contains("let c ="))
    }

    @Test func multilineStringsAreNoCode() {
        let text = SwiftText("let a = \"\"\"\n    { \" {\n    \\(b) {\n    \"\"\"\nfunc f() {}\n")
        #expect(text.functions().map(\.name) == ["func f"])
        #expect(!text.code.joined().contains("{ "))
    }

    @Test func functionsAreMeasuredFromSignatureToBrace() {
        let source = """
            protocol P { func required() -> Int }
            struct S {
                init(_ a: Int) {
                    let x = { a }
                }
                func long(
                    _ body: () -> Void = {}
                ) throws -> Int
                where Int: Sendable {
                    if true { return 1 }
                    return 2
                }
                func short() -> Int { 1 }
            }
            """
        let functions = SwiftText(source).functions()
        #expect(functions.map(\.name) == ["init", "func long", "func short"])
        #expect(functions.map(\.length) == [3, 7, 1])
    }
}
