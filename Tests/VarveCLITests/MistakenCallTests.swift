import Foundation
import Testing

@testable import VarveCLI

/// What is asked of the wrong folder or file is the caller's mistake (64), and leaves everything as it was.
@Suite struct MistakenCallTests: CommandLineSuite {
    let scratch: Binary.Scratch

    init() throws { scratch = try Binary.Scratch() }

    private func names() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: scratch.path).sorted()
    }

    private func make(file: String) throws {
        try Data("text".utf8).write(to: URL(fileURLWithPath: scratch.path + "/" + file))
    }

    private func make(folder: String) throws {
        try FileManager.default.createDirectory(
            atPath: scratch.path + "/" + folder, withIntermediateDirectories: true)
    }

    @Test func aRefusedApplyLeavesAStoreItsOwn() throws {
        try varve("put", "--dir", "one", "a", "1")
        try varve("put", "--dir", "other", "a", "2")
        try FileManager.default.createSymbolicLink(
            atPath: scratch.path + "/link", withDestinationPath: scratch.path + "/one")
        #expect(try varve("apply", "--from", "other", "--dir", "one").status == 1)
        #expect(try varve("apply", "--from", "nowhere", "--dir", "one").status == 64)
        for same in ["one", "./one/", "link"] {
            let outcome = try varve("apply", "--from", same, "--dir", "one")
            #expect(outcome.status == 64 && outcome.errors.contains("itself"), "\(same): \(outcome.errors)")
        }
        let outcome = try varve("put", "--dir", "one", "b", "1")
        #expect(outcome.status == 0, "\(outcome.errors)")
        #expect(try varve("scan", "--dir", "one").text == "a\t1\nb\t1\n")
    }

    @Test func aFolderThatWasCopiedFollowsAndIsACopyThen() throws {
        try varve("put", "--dir", "one", "a", "1")
        for copy in ["second", "third"] {
            try FileManager.default.copyItem(
                atPath: scratch.path + "/one", toPath: scratch.path + "/" + copy)
        }
        // Nothing new is as good as something: it stands in the history that its source goes on with.
        #expect(try varve("apply", "--from", "one", "--dir", "second").status == 0)
        try varve("put", "--dir", "one", "b", "1")
        #expect(try varve("apply", "--from", "one", "--dir", "third").status == 0)
        for copy in ["second", "third"] {
            #expect(try varve("put", "--dir", copy, "c", "1").status == 64, "\(copy)")
        }
    }

    @Test func aSlotThatTheSourceDoesNotHaveIsRefused() throws {
        try varve("put", "--dir", "one", "a", "1")
        try varve("checkpoint", "--dir", "one", "--slot", "x", "copy")
        try varve("put", "--dir", "one", "b", "1")
        let refused = try varve("apply", "--from", "one", "--dir", "copy", "--slot", "y")
        #expect(refused.status == 64 && refused.errors.contains("no slot y"), "\(refused.errors)")
        let owner = try RunningBinary(
            ["load", "--dir", scratch.path + "/one", "--format", "tsv", "--json", "-"])
        try owner.feed("c\t1\n")
        #expect(owner.wait { owner.largest("acknowledged") == 1 })
        #expect(try varve("apply", "--from", "one", "--dir", "copy", "--slot", "y").status == 64)
        #expect(try !varve("stats", "--dir", "one").text.contains("name y"))
        try owner.endInput()
        #expect(owner.waitForEnd() == 0)
        #expect(try varve("scan", "--dir", "copy").text == "a\t1\n")
        #expect(try varve("apply", "--from", "one", "--dir", "copy", "--slot", "x").status == 0)
    }

    @Test func theSlotOfAClosedSourceMovesWithoutAWord() throws {
        try varve("put", "--dir", "one", "a", "0")
        try varve("checkpoint", "--dir", "one", "--slot", "x", "copy")
        for round in 1...8 {
            try varve("put", "--dir", "one", "a", "\(round)")
            let outcome = try varve("apply", "--from", "one", "--dir", "copy", "--slot", "x")
            #expect(outcome.status == 0 && outcome.errors.isEmpty, "round \(round): \(outcome.errors)")
        }
    }

    @Test(
        arguments: [
            ["verify"], ["stats"], ["scan"], ["dump"], ["get", "k"], ["changes"], ["delete", "k"], ["compact"],
            ["checkpoint", "copy"], ["apply", "--from", "empty"], ["repair", "--into", "new"],
            ["slot", "--remove", "x"],
        ])
    func anEmptyFolderIsNoStoreAndDeleteMakesNone(_ command: [String]) throws {
        try make(folder: "empty")
        for folder in ["empty", "nowhere"] {
            let outcome = try Binary.run([command[0], "--dir", folder] + command.dropFirst(), in: scratch.path)
            #expect(outcome.status == 64 && !outcome.errors.isEmpty, "\(folder): \(outcome.errors)")
        }
        #expect(try names() == ["empty"])
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path + "/empty").isEmpty)
    }

    @Test(
        arguments: [
            ["put", "--dir", "file", "k", "v"], ["delete", "--dir", "file", "k"],
            ["load", "--dir", "file", "--format", "tsv", "file"], ["repair", "--dir", "file", "--into", "new"],
            ["get", "--dir", "file", "k"], ["put", "--dir", "no/such/store", "k", "v"],
            ["checkpoint", "--dir", "store", "folder"], ["checkpoint", "--dir", "store", "file"],
            ["checkpoint", "--dir", "store", "no/such/copy"], ["checkpoint", "--dir", "store", "file/copy"],
            ["repair", "--dir", "store", "--into", "no/such/copy"],
            ["repair", "--dir", "store", "--into", "folder"],
            ["inspect", "folder"], ["dump", "--dir", "store", "folder"], ["dump", "--dir", "store", "no/dump"],
            ["dump", "--dir", "store", "file/dump"], ["load", "--dir", "store", "--format", "tsv", "folder"],
        ])
    func aPlaceThatCannotBeIsTheCallersMistake(_ arguments: [String]) throws {
        try make(folder: "folder")
        try make(file: "file")
        try varve("put", "--dir", "store", "a", "1")
        let outcome = try Binary.run(arguments, in: scratch.path)
        #expect(outcome.status == 64 && outcome.errors.hasPrefix("varve: "), "\(outcome.errors)")
        #expect(try names() == ["file", "folder", "store"])
        #expect(try varve("scan", "--dir", "store").text == "a\t1\n")
    }

    @Test func anOwnerRefusesACheckpointOntoAnotherTheSame() throws {
        try make(folder: "folder")
        let owner = try RunningBinary(
            ["load", "--dir", scratch.path + "/store", "--format", "tsv", "--json", "-"])
        try owner.feed("c\t1\n")
        #expect(owner.wait { owner.largest("acknowledged") == 1 })
        #expect(try varve("checkpoint", "--dir", "store", "folder").status == 64)
        #expect(try varve("checkpoint", "--dir", "store", "no/such/copy").status == 64)
        try owner.endInput()
        #expect(owner.waitForEnd() == 0)
    }

    @Test func aDumpThatFailsLeavesNothing() throws {
        #expect(try varve("dump", "--dir", "nowhere", "out").status == 64)
        #expect(try names().isEmpty)
        let lines = (0..<3000).map { "key\($0)\tvalue \($0 * 7919 % 10_007)\n" }.joined()
        let load = try Binary.run(
            ["load", "--dir", "store", "--format", "tsv", "-"], input: Array(lines.utf8), in: scratch.path)
        #expect(load.status == 0)
        try varve("compact", "--dir", "store")
        let files = try FileManager.default.contentsOfDirectory(atPath: scratch.path + "/store")
        let table = try #require(files.filter { $0.hasSuffix(".sst") }.max())
        let file = try #require(FileHandle(forUpdatingAtPath: scratch.path + "/store/" + table))
        try file.seek(toOffset: try file.seekToEnd() / 3)
        try file.write(contentsOf: Data("damage".utf8))
        try file.close()
        try make(file: "out")
        #expect(try varve("dump", "--dir", "store", "out").status == 65)
        #expect(try names() == ["out", "store"])
        #expect(FileManager.default.contents(atPath: scratch.path + "/out") == Data("text".utf8))
    }
}
