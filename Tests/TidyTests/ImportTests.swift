import Testing

/// Which module may import which: the direction of dependencies, enforced. A new module is added here on purpose.
@Suite struct ImportTests {
    static let allowed: [String: Set<String>] = [
        "VarveIO": ["CVarveIO", "CVarveSocket", "Glibc", "Synchronization"],
        "VarveEngine": ["VarveIO", "CLZ4", "CXXHash", "CVarveHints", "Glibc", "Synchronization"],
        "VarvePolicy": ["CVarveHints"],
        "Varve": [
            "VarveEngine", "VarveIO", "VarvePolicy", "CXXHash", "CVarveHints", "Logging", "CoreMetrics",
            "FoundationEssentials", "Glibc", "Synchronization",
        ],
        "VarveTestSupport": ["VarveIO", "VarveEngine", "Foundation", "Glibc", "Synchronization"],
        "VarveCLI": [
            "Varve", "VarveEngine", "VarveIO", "CXXHash", "ArgumentParser", "Foundation", "Dispatch", "Synchronization",
            "Glibc",
        ],
        "TicksExample": ["Varve", "VarveEngine", "ArgumentParser", "Foundation", "Synchronization"],
        "HTTPCacheExample": [
            "Varve", "ArgumentParser", "Foundation", "FoundationNetworking", "Hummingbird", "Logging", "NIOCore",
            "Synchronization",
        ],
        "TwoProcessesExample": ["Varve", "Foundation"],
        "VarveCrashTest": [
            "Varve", "VarveTestSupport", "VarveEngine", "VarveIO", "ArgumentParser", "Foundation", "Synchronization",
            "Glibc",
        ],
    ]
    /// Tests import what they test, its helpers, and Foundation.
    static let testsExtra: Set<String> = ["Testing", "Foundation", "Glibc", "Synchronization", "VarveTestSupport"]
    static let tests: [String: Set<String>] = [
        "VarveIOTests": ["VarveIO", "CVarveIO"],
        "VarveEngineTests": ["VarveIO", "VarveEngine", "CLZ4", "CXXHash", "Dispatch"],
        "VarvePolicyTests": ["VarvePolicy"],
        "VarveTests": [
            "Varve", "VarvePolicy", "VarveEngine", "VarveIO", "Logging", "CoreMetrics", "Dispatch", "CVarveAllocations",
        ],
        "VarveCLITests": ["VarveCLI", "Varve", "VarveEngine", "VarveIO", "ArgumentParser"],
        "VarveCrashTests": ["VarveCrashTest", "VarveEngine", "VarveIO"],
        "ExampleTests": ["FoundationNetworking"],
        "TidyTests": [],
    ]

    static func imports(_ text: SwiftText) -> [(module: String, line: Int)] {
        let pattern =
            /^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:(?:public|package|internal|private|fileprivate)\s+)?import\s+(?:(?:struct|class|enum|protocol|func|var|let|typealias)\s+)?(\w+)/
        return text.code.enumerated().compactMap { index, line in
            line.contains("import") ? line.firstMatch(of: pattern).map { (String($0.output.1), index + 1) } : nil
        }
    }

    @Test func targetsImportOnlyWhatTheyMay() {
        for (file, text) in SourceTree.lexed where !file.path.hasPrefix("Fuzz/") {
            let rule = file.isSource ? Self.allowed[file.target] : Self.tests[file.target]?.union(Self.testsExtra)
            guard let rule else {
                Issue.record("\(file.path): the target \(file.target) has no row in the table of allowed imports")
                continue
            }
            for (module, line) in Self.imports(text) {
                #expect(rule.contains(module), "\(file.path):\(line): \(file.target) may not import \(module)")
            }
        }
    }

    @Test func theTableWouldCatchAnImport() {
        let text = SwiftText(
            "@preconcurrency internal import Foundation\n@testable import VarveCLI\nimport struct Glibc.stat\n")
        #expect(Self.imports(text).map(\.module) == ["Foundation", "VarveCLI", "Glibc"])
    }
}
