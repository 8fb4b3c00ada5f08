import Testing

/// What must not stand in the code, and where.
@Suite struct BannedCallTests {
    struct Ban: Sendable {
        let what: String
        let why: String
        /// Targets in which it is fine.
        var except: Set<String> = []
        /// Words of which a line must hold one; the expression is slow.
        let words: [String]
        let expression: @Sendable (String) -> Bool

        func matches(_ line: String) -> Bool { words.contains { line.contains($0) } && expression(line) }
    }

    static let bans: [Ban] = [
        Ban(what: "try!", why: "throw or handle the error", words: ["try!"]) { $0.contains(/\btry!/) },
        Ban(what: "as!", why: "a cast that can fail is an error to handle", words: ["as!"]) { $0.contains(/\bas!/) },
        Ban(
            what: "print", why: "output belongs to the commands, through StandardOutput or StandardError",
            words: ["print(", "Print(", "dump("]
        ) {
            $0.contains(/(^|[^.\w])(print|debugPrint|dump)\(/) && !$0.contains(/func\s+(print|dump)\(/)
        },
        Ban(what: "fatalError", why: "a programmer's mistake is a precondition with a sentence", words: ["fatalError("])
        {
            $0.contains(/\bfatalError\(/)
        },
        Ban(what: "NSLock", why: "Mutex guards state", words: ["NSLock", "NSRecursiveLock"]) {
            $0.contains(/\bNS(Recursive)?Lock\b/)
        },
        Ban(
            what: "Task", why: "the engine makes no tasks; its work runs on its own threads",
            except: ["Varve", "VarveServer", "VarveCrashTest"], words: ["Task"]
        ) { $0.contains(/(^|[^.\w])Task(\.detached)?\s*(\(|\{)/) },
    ]

    @Test func sourcesHoldNothingBanned() {
        for (file, text) in SourceTree.lexed where file.isSource {
            for (index, line) in text.code.enumerated() {
                for ban in Self.bans where !ban.except.contains(file.target) && ban.matches(line) {
                    Issue.record("\(file.path):\(index + 1): \(ban.what): \(ban.why)")
                }
            }
        }
    }

    private static func forces(_ line: String) -> Bool { bans.prefix(2).contains { $0.matches(line) } }

    @Test func testsDoNotForce() {
        for (file, text) in SourceTree.lexed where file.path.hasPrefix("Tests/") {
            for (index, line) in text.code.enumerated() where Self.forces(line) {
                Issue.record("\(file.path):\(index + 1): use #require")
            }
        }
    }

    @Test(arguments: ["let x = try! f()", "  print(x)", "Task { await f() }", "y as! Int", "Task.detached {"])
    func theBansWouldCatch(_ line: String) { #expect(Self.bans.contains { $0.matches(line) }) }

    @Test(arguments: ["StandardOutput.print(x)", "footprint(x)", "throw Task.self", "let a = b as? Int"])
    func theBansLetPass(_ line: String) { #expect(!Self.bans.contains { $0.matches(line) }) }

    @Test func uncheckedSendableHasItsReason() {
        for (file, text) in SourceTree.lexed where file.isSource {
            for (index, line) in text.code.enumerated() where line.contains("@unchecked Sendable") {
                let near = text.comments[max(0, index - 12)..<min(text.comments.count, index + 13)]
                #expect(
                    near.contains { $0.contains("nchecked") },
                    "\(file.path):\(index + 1): say beside it what guards the state (\"Unchecked: ...\")")
            }
        }
    }
}
