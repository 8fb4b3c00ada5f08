import Testing

/// Comments speak of the code as it is: nothing left for later, no code put to sleep.
@Suite struct CommentTests {
    static let marks = ["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"]

    static func isMark(_ comment: String) -> Bool {
        guard marks.contains(where: { comment.contains($0) }) else { return false }
        return comment.contains(/\b(TO[D]O|FIX[M]E|X[X]X|HAC[K])\b/)
    }

    /// Lines that read like statements and not like sentences.
    static func looksLikeCode(_ comment: String) -> Bool {
        let text = comment.drop { $0 == " " }
        // The expressions are slow, and few sentences hold any of these.
        guard ["=", "{", "}", "(", "import ", "return "].contains(where: { text.contains($0) }) else { return false }
        let shapes = [
            text.wholeMatch(of: /(let|var)\s+\w+\s*(:\s*[\w\[\]<>?.]+)?\s*=\s.+/) != nil,
            text.wholeMatch(of: /(public |private |internal |static )*(func|struct|class|enum|extension)\s.*\{/) != nil,
            text.wholeMatch(of: /(if|guard|for|while|switch|do|else)\b.*\{/) != nil,
            text.wholeMatch(of: /\}\s*(else\s*\{)?/) != nil,
            text.wholeMatch(of: /(try |await )?[a-z]\w*(\.\w+)*\([^ ]*\)/) != nil,
            text.wholeMatch(of: /import\s+[A-Z]\w+/) != nil,
            text.wholeMatch(of: /return\s+\w+(\.\w+|\(.*\))+/) != nil,
        ]
        return shapes.contains(true)
    }

    @Test func nothingIsLeftForLater() {
        for (file, text) in SourceTree.lexed {
            for (index, comment) in text.comments.enumerated() where Self.isMark(comment) {
                Issue.record("\(file.path):\(index + 1): do it, or write it down as an issue")
            }
        }
    }

    @Test func noCodeIsCommentedOut() {
        for (file, text) in SourceTree.lexed {
            for (index, comment) in text.comments.enumerated() {
                // Documentation may hold examples.
                guard !comment.hasPrefix("/"), Self.looksLikeCode(comment) else { continue }
                Issue.record("\(file.path):\(index + 1): this looks like code that was commented out: \(comment)")
            }
        }
    }

    @Test(arguments: ["let x = 1", "if a {", "}", "foo.bar(1)", "import Foundation", "return x.y"])
    func codeIsSeen(_ comment: String) { #expect(Self.looksLikeCode(" " + comment)) }

    @Test(arguments: ["If it fails, the caller knows.", "let the caller decide", "Room for it was just reserved."])
    func sentencesPass(_ comment: String) { #expect(!Self.looksLikeCode(" " + comment)) }

    @Test func marksAreSeen() {
        #expect(Self.isMark(" TO" + "DO: later"))
        #expect(!Self.isMark(" to do so"))
    }
}
