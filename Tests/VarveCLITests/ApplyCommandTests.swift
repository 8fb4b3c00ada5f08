import Foundation
import Testing
import VarveEngine

@testable import VarveCLI

/// `varve apply`: a checkpoint brought forward by its source's log, closed or open elsewhere.
@Suite struct ApplyCommandTests: CommandLineSuite {
    let scratch: Binary.Scratch

    init() throws { scratch = try Binary.Scratch() }

    /// LSN and running hash.
    private func position(_ store: String) throws -> [String] {
        let text = try varve("stats", "--dir", store, "--json").text
        let object = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
        return ["appendedLSN", "runningHash"].map { "\(object?[$0] ?? "")" }
    }

    private func put(_ key: String, _ value: String) throws { try varve("put", "--dir", "first", key, value) }

    @Test func aCheckpointComesForwardToAnLSNAndToATime() throws {
        try put("a", "1")
        try varve("checkpoint", "--dir", "first", "--slot", "x", "second")
        try varve("checkpoint", "--dir", "first", "third")
        try put("a", "2")
        let moment = try position("first")
        let time = Int64(Date().timeIntervalSince1970 * 1e9)
        usleep(1000)
        try put("a", "3")
        let outcome = try varve("apply", "--from", "first", "--dir", "second", "--lsn", moment[0], "--json")
        #expect(outcome.status == 0, "\(outcome.errors)")
        #expect(outcome.text.contains(moment[1]))
        #expect(try position("second") == moment)
        #expect(try varve("apply", "--from", "first", "--dir", "third", "--time", "\(time)").status == 0)
        #expect(try position("third") == moment)
        #expect(try varve("get", "--dir", "third", "a").text == "2\n")
        #expect(try varve("stats", "--dir", "first").text.contains("name x"))
        #expect(try varve("slot", "--dir", "first", "--remove", "x").status == 0)
        #expect(try varve("slot", "--dir", "first", "--remove", "x").status == 1)
        #expect(try !varve("stats", "--dir", "first").text.contains("name x"))
        // Back is no way, and beyond the end is nothing.
        #expect(try varve("apply", "--from", "first", "--dir", "second", "--lsn", "1").status == 1)
        #expect(try varve("apply", "--from", "first", "--dir", "second", "--lsn", "100000").status == 1)
        #expect(try position("second") == (try position("first")))
        #expect(try varve("get", "--dir", "second", "a").text == "3\n")
    }

    @Test func anotherHistoryIsRefusedAndNothingChanges() throws {
        try put("a", "1")
        try varve("checkpoint", "--dir", "first", "second")
        try varve("put", "--dir", "other", "a", "9")
        let before = try position("second")
        #expect(try varve("apply", "--from", "other", "--dir", "second").status == 1)
        #expect(try position("second") == before)
        #expect(try varve("apply", "--from", "first", "--dir", "nowhere").status == 64)
        #expect(try varve("apply", "--from", "nowhere", "--dir", "second").status == 64)
        #expect(try varve("apply", "--from", "first", "--dir", "second", "--lsn", "1", "--time", "1").status == 64)
        #expect(try varve("apply", "--from", "first", "--dir", "second", "--time", "soon").status == 64)
    }

    @Test func aFollowerKeepsUpWithAStoreThatAnotherProcessWrites() throws {
        try put("a", "1")
        try varve("checkpoint", "--dir", "first", "second")
        try varve("checkpoint", "--dir", "first", "third")
        let path = scratch.path
        let owner = try RunningBinary(["load", "--dir", path + "/first", "--format", "tsv", "--json", "-"])
        try owner.feed("b\t1\n")
        #expect(owner.wait { owner.largest("acknowledged") == 1 })
        let follower = try RunningBinary(
            ["apply", "--from", path + "/first", "--dir", path + "/second", "--follow", "--json"])
        #expect(follower.wait { follower.largest("lsn") > 0 })
        let reached = follower.largest("lsn")
        try owner.feed((0..<500).map { "k\($0)\t\($0)\n" }.joined())
        #expect(owner.wait { owner.largest("acknowledged") == 501 })
        #expect(follower.wait { follower.largest("lsn") >= reached + 500 })
        #expect(try varve("get", "--dir", "second", "k499").text == "499\n")
        // A bound holds over the socket too.
        #expect(try varve("apply", "--from", "first", "--dir", "third", "--lsn", "\(reached)").status == 0)
        #expect(try position("third")[0] == "\(reached)")
        try owner.endInput()
        #expect(owner.waitForEnd() == 0)
        #expect(follower.waitForEnd() == 0)
        #expect(try position("second") == (try position("first")))
        #expect(try varve("dump", "--dir", "second").output == (try varve("dump", "--dir", "first").output))
    }

    private func statistics(of store: String) throws -> [String: Any]? {
        let text = try varve("stats", "--dir", store, "--json").text
        return try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
    }

    /// The LSN of the source's slot x.
    private func slot(_ store: String) throws -> Int? {
        let slots = try statistics(of: store)?["slots"] as? [[String: Any]]
        return slots?.first { $0["name"] as? String == "x" }?["lsn"] as? Int
    }

    @Test func aFollowersSlotMovesAlong() throws {
        try put("a", "1")
        try varve("checkpoint", "--dir", "first", "--slot", "x", "second")
        let first = try #require(try slot("first"))
        let path = scratch.path
        let owner = try RunningBinary(["load", "--dir", path + "/first", "--format", "tsv", "--json", "-"])
        try owner.feed("b\t1\n")
        #expect(owner.wait { owner.largest("acknowledged") == 1 })
        let follower = try RunningBinary(
            ["apply", "--from", path + "/first", "--dir", path + "/second", "--follow", "--slot", "x", "--json"])
        #expect(follower.wait { (try? slot("first")).flatMap { $0 } ?? 0 > first })
        try owner.endInput()
        #expect(owner.waitForEnd() == 0)
        #expect(follower.waitForEnd() == 0)
        #expect("\(try slot("first") ?? 0)" == (try position("second")[0]))
        // A source that nobody has open is opened to move it.
        try put("c", "1")
        #expect(try varve("apply", "--from", "first", "--dir", "second", "--slot", "x").status == 0)
        #expect("\(try slot("first") ?? 0)" == (try position("first")[0]))
    }

    @Test(arguments: [true, false])
    func aSlotThatWasRemovedMeanwhileIsNotMadeAgain(sourceIsOpen: Bool) throws {
        var options = EngineOptions()
        options.offersSocket = true
        let source = try Engine.open(at: scratch.path + "/first", options)
        _ = try source.checkpoint(to: scratch.path + "/second", slot: "x")
        let copy = try Engine.openFollower(at: scratch.path + "/second", options)
        let keeper = SlotKeeper(name: "x", source: scratch.path + "/first", engine: copy)
        try keeper.start()
        try source.removeSlot("x")
        if !sourceIsOpen { try source.close() }
        keeper.finish()
        if sourceIsOpen { #expect(source.statistics.slots.isEmpty) }
        try copy.close()
        try source.close()
        #expect(try slot("first") == nil)
    }

    /// A source that was put back has other changes at the LSNs that the copy has reached: its own copy still needs them.
    @Test(arguments: [true, false])
    func aSourceThatWasPutBackKeepsTheSlotWhereItIs(isOpen: Bool) throws {
        try put("a", "1")
        try varve("checkpoint", "--dir", "first", "second")
        try varve("checkpoint", "--dir", "first", "third")
        for number in 0..<10 { try put("lost", "\(number)") }
        #expect(try varve("apply", "--from", "first", "--dir", "second").status == 0)
        let path = scratch.path
        try FileManager.default.removeItem(atPath: path + "/first")
        try FileManager.default.moveItem(atPath: path + "/third", toPath: path + "/first")
        #expect(try varve("put", "--dir", "first", "--promote", "a", "2").status == 0)
        #expect(try varve("checkpoint", "--dir", "first", "--slot", "x", "fourth").status == 0)
        let before = try #require(try slot("first"))
        for number in 0..<20 { try put("other", "\(number)") }
        let reached = try #require(Int(try position("second")[0]))
        #expect(try before < reached && reached < #require(Int(try position("first")[0])))
        let owner =
            isOpen ? try RunningBinary(["load", "--dir", path + "/first", "--format", "tsv", "--json", "-"]) : nil
        try owner?.feed("b\t1\n")
        if let owner { #expect(owner.wait { owner.largest("acknowledged") == 1 }) }
        let outcome = try varve("apply", "--from", "first", "--dir", "second", "--slot", "x")
        #expect(outcome.status == 1)
        #expect(outcome.errors.contains("the slot x of first was not moved"), "\(outcome.errors)")
        #expect(outcome.errors.contains("is not in this store's history"), "\(outcome.errors)")
        #expect(try slot("first") == before)
        try owner?.endInput()
        if let owner { #expect(owner.waitForEnd() == 0) }
        // Which is where its own copy goes on.
        #expect(try varve("apply", "--from", "first", "--dir", "fourth", "--slot", "x").status == 0)
        #expect("\(try slot("first") ?? 0)" == (try position("first")[0]))
    }

    @Test func aSlotIsRemovedFromAStoreThatAnotherProcessHasOpen() throws {
        try put("a", "1")
        try varve("checkpoint", "--dir", "first", "--slot", "x", "second")
        let owner = try RunningBinary(["load", "--dir", scratch.path + "/first", "--format", "tsv", "--json", "-"])
        try owner.feed("b\t1\n")
        #expect(owner.wait { owner.largest("acknowledged") == 1 })
        #expect(try varve("slot", "--dir", "first", "--remove", "x").status == 0)
        #expect(try slot("first") == nil)
        #expect(try varve("slot", "--dir", "first", "--remove", "x").status == 1)
        try owner.endInput()
        #expect(owner.waitForEnd() == 0)
    }

    @Test func aCopyIsWrittenOnlyWhereThatIsSaid() throws {
        try put("a", "1")
        try varve("checkpoint", "--dir", "first", "second")
        for command in [["put", "b", "2"], ["delete", "a"], ["compact"], ["load", "--format", "tsv", "-"]] {
            let outcome = try Binary.run(
                [command[0], "--dir", "second"] + command.dropFirst(), in: scratch.path)
            #expect(outcome.status == 64, "\(command)")
            #expect(outcome.errors.contains("second") && outcome.errors.contains("--promote"), "\(outcome.errors)")
        }
        // What leaves a copy a copy needs no flag.
        #expect(try varve("checkpoint", "--dir", "second", "third").status == 0)
        #expect(try varve("slot", "--dir", "second", "--remove", "none").status == 1)
        #expect(try varve("verify", "--dir", "second").status == 0)
        try put("a", "2")
        for copy in ["second", "third"] {
            #expect(try varve("apply", "--from", "first", "--dir", copy).status == 0)
            #expect(try varve("get", "--dir", copy, "a").text == "2\n")
        }
        #expect(try varve("put", "--dir", "second", "--promote", "b", "2").status == 0)
        #expect(try varve("put", "--dir", "second", "c", "3").status == 0)
        #expect(try varve("apply", "--from", "first", "--dir", "second").status == 1)
    }

    @Test func aFollowerEndsOrderlyWhenItIsInterrupted() throws {
        try put("a", "1")
        try varve("checkpoint", "--dir", "first", "second")
        let path = scratch.path
        let owner = try RunningBinary(["load", "--dir", path + "/first", "--format", "tsv", "--json", "-"])
        try owner.feed("b\t1\n")
        #expect(owner.wait { owner.largest("acknowledged") == 1 })
        let last = try #require(try statistics(of: "first")?["visibleLSN"] as? Int)
        let follower = try RunningBinary(
            ["apply", "--from", path + "/first", "--dir", path + "/second", "--follow", "--json"])
        // The first reading may be of where it begins.
        #expect(follower.wait { follower.largest("lsn") >= last })
        follower.interrupt()
        #expect(follower.waitForEnd() == 0)
        #expect(try varve("get", "--dir", "second", "b").text == "1\n")
        #expect(owner.isRunning)
        try owner.endInput()
        #expect(owner.waitForEnd() == 0)
    }
}
