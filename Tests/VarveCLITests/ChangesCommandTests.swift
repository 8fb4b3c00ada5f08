import Foundation
import Testing
import VarveEngine

@testable import VarveCLI

/// `varve changes`, on a closed store and on one that another process has open.
@Suite struct ChangesCommandTests: CommandLineSuite {
    let scratch: Binary.Scratch

    init() throws { scratch = try Binary.Scratch() }

    /// Lines of a run, as fields.
    private func changes(_ arguments: String...) throws -> [[String]] {
        let outcome = try Binary.run(["changes", "--dir", store] + arguments, in: scratch.path)
        #expect(outcome.status == 0, "\(outcome.errors)")
        return outcome.text.split(separator: "\n").map { line in
            line.split(separator: "\t", omittingEmptySubsequences: false).map { String($0) }
        }
    }

    @Test func aClosedStoreTellsWhatItsLogHolds() throws {
        try varve("put", "--dir", store, "a/1", "one")
        try varve("put", "--dir", store, "b/1", "tab\there")
        try varve("delete", "--dir", store, "a/1", "a/2")
        let all = try changes()
        #expect(
            all.map { $0.dropFirst().joined(separator: " ") } == [
                "put a/1 one", "put b/1 tab\\there", "delete a/1 ", "delete a/2 ",
            ])
        // A batch's end is where to go on.
        #expect(all[2][0] == "-" && all[3][0] != "-")
        #expect(try changes("--since", all[1][0]) == Array(all[2...]))
        #expect(try changes("--since", all[3][0]).isEmpty)
        #expect(try changes("--since", "now").isEmpty)
        #expect(try changes("--prefix", "a/").map { $0[2] } == ["a/1", "a/1", "a/2"])
        let lines = try Binary.run(["changes", "--dir", store, "--json"], in: scratch.path).text.split(separator: "\n")
        let last = try JSONSerialization.jsonObject(with: Data(lines[3].utf8)) as? [String: Any]
        #expect(last?["kind"] as? String == "delete" && last?["key"] as? String == "a/2")
        #expect(last?["cursor"] as? String == all[3][0])
    }

    @Test func whatCannotBeIsRefused() throws {
        try varve("put", "--dir", store, "a", "1")
        #expect(try varve("changes", "--dir", store, "--since", "yesterday").status == 64)
        #expect(try varve("changes", "--dir", store, "--namespace", "nowhere").status == 64)
        #expect(try varve("changes", "--dir", "nowhere").status == 64)
        let foreign = "1-00000000000000000000000000000001:1"
        #expect(try varve("changes", "--dir", store, "--since", foreign).status == 1)
    }

    @Test func aMarkedStoreTellsNothingAndSaysSo() async throws {
        try varve("put", "--dir", store, "a", "1")
        let cursor = try #require(changes().last?.first)
        var options = EngineOptions()
        options.keepsDegradedMark = true
        let engine = try await Engine.open(at: store, options)
        try engine.mark?.set(cause: "the disk was full", at: 7)
        try await engine.close()
        for since in ["oldest", "now", cursor] {
            for arguments in [["--since", since], ["--since", since, "--json"]] {
                let outcome = try Binary.run(["changes", "--dir", store] + arguments, in: scratch.path)
                #expect(outcome.status == 74 && outcome.text.isEmpty)
                #expect(outcome.errors.contains("the disk was full"), "\(outcome.errors)")
            }
        }
        // Who writes the store drops what it held; then it is told that all of it went.
        try varve("put", "--dir", store, "b", "2")
        #expect(try changes("--since", cursor).map { $0[1] } == ["delete-range", "put"])
    }

    @Test func aStoreInUseIsFollowedThroughItsOwner() throws {
        try varve("put", "--dir", store, "a", "1")
        let owner = try RunningBinary(["load", "--dir", store, "--format", "tsv", "--json", "-"])
        try owner.feed("b\t1\n")
        #expect(owner.wait { owner.largest("acknowledged") == 1 })
        // What is acknowledged is told, though the store is in use; then it ends.
        #expect(try changes().map { $0[2] } == ["a", "b"])
        let first = try RunningBinary(["changes", "--dir", store, "--follow"])
        let second = try RunningBinary(["changes", "--dir", store, "--follow", "--since", "now", "--prefix", "k"])
        #expect(first.wait { first.lines.count == 2 })
        // It has begun once it tells something.
        #expect(
            second.wait {
                try? owner.feed("k\tv\n")
                return !second.lines.isEmpty
            })
        try owner.feed((0..<500).map { "k\($0)\tv\($0)\n" }.joined())
        #expect(first.wait { first.lines.last?.hasSuffix("k499\tv499") == true })
        #expect(second.wait { second.lines.last?.hasSuffix("k499\tv499") == true })
        // A client that goes leaves the owner as it was.
        first.kill()
        try owner.feed("l\t1\nk500\tv500\n")
        #expect(second.wait { second.lines.last?.hasSuffix("k500\tv500") == true })
        #expect(second.lines.allSatisfy { $0.contains("\tput\tk") })
        let foreign = "1-00000000000000000000000000000001:1"
        #expect(try varve("changes", "--dir", store, "--since", foreign).status == 1)
        #expect(try varve("changes", "--dir", store, "--namespace", "nowhere").status == 64)
        try owner.endInput()
        #expect(owner.waitForEnd() == 0)
        #expect(second.waitForEnd() == 0)
        #expect(Set(try changes("--prefix", "k").map { $0[2] }).count == 502)
    }
}
