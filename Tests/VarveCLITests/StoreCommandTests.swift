import Foundation
import Testing

@testable import VarveCLI

/// The commands on a store, run as a user runs them.
@Suite struct StoreCommandTests: CommandLineSuite {
    let scratch: Binary.Scratch

    init() throws { scratch = try Binary.Scratch() }

    private func names(_ suffix: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: store).filter { $0.hasSuffix(suffix) }.sorted()
    }

    private func damage(_ name: String) throws {
        let file = try #require(FileHandle(forUpdatingAtPath: store + "/" + name))
        let size = try file.seekToEnd()
        try file.seek(toOffset: size / 3)
        try file.write(contentsOf: Data("damage".utf8))
        try file.close()
    }

    @Test func whatIsPutIsGotUntilItIsDeletedOrExpires() throws {
        #expect(try varve("put", "--dir", store, "--durability", "synced", "a", "1").status == 0)
        #expect(try varve("put", "--dir", store, "--ttl", "1ms", "brief", "2").status == 0)
        #expect(try varve("get", "--dir", store, "a").text == "1\n")
        #expect(try varve("get", "--dir", store, "brief").status == 1)
        #expect(try varve("get", "--dir", store, "never").status == 1)
        #expect(try varve("delete", "--dir", store, "a", "never").status == 0)
        #expect(try varve("get", "--dir", store, "a").status == 1)
        let verified = try varve("verify", "--dir", store)
        #expect(verified.status == 0)
        #expect(verified.text.contains(/ok +yes\n/))
    }

    @Test func scanEscapesWhatDoesNotPrintAndReadsItBack() throws {
        #expect(try varve("put", "--dir", store, "--escaped", #"k\t1"#, #"line\nand\x00\xff\\"#).status == 0)
        #expect(try varve("put", "--dir", store, "k2", "plain é").status == 0)
        #expect(try varve("scan", "--dir", store).text == #"k\t1"# + "\t" + #"line\nand\x00\xff\\"# + "\nk2\tplain é\n")
        #expect(try varve("get", "--dir", store, "--escaped", "--raw", #"k\t1"#).output.count == 11)
        #expect(try varve("scan", "--dir", store, "--reverse", "--limit", "1").text == "k2\tplain é\n")
        #expect(try varve("scan", "--dir", store, "--from", "k1", "--to", "k3").text == "k2\tplain é\n")
    }

    @Test(arguments: [["get", "k"], ["scan"], ["dump"], ["stats"], ["verify"], ["compact"], ["checkpoint", "copy"]])
    func aMissingStoreIsTheCallersMistake(_ command: [String]) throws {
        let outcome = try Binary.run([command[0], "--dir", "nowhere"] + command.dropFirst(), in: scratch.path)
        #expect(outcome.status == 64)
        #expect(outcome.errors.contains("nowhere"))
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path).isEmpty)
    }

    @Test func aFolderInWhichACreationWasCutShortIsAnEmptyStore() throws {
        try FileManager.default.createDirectory(atPath: store, withIntermediateDirectories: true)
        // LOCK is the first file of a store: a folder without it may be a volume that is not mounted.
        for names in [["LOCK"], ["LOCK", "CURRENT.tmp", "MANIFEST-000001.tmp"]] {
            for name in names { try Data().write(to: URL(fileURLWithPath: store + "/" + name)) }
            #expect(try varve("verify", "--dir", store).status == 0, "\(names)")
            #expect(try varve("get", "--dir", store, "k").status == 1, "\(names)")
            #expect(try varve("scan", "--dir", store).text.isEmpty)
        }
        #expect(try varve("put", "--dir", store, "k", "v").status == 0)
        #expect(try varve("get", "--dir", store, "k").text == "v\n")
    }

    @Test(arguments: [".sst", ".log"])
    func damageIsNamedAndWhatIsLeftIsSalvaged(_ kind: String) throws {
        let lines = (0..<3000).map { "key\($0)\tvalue \($0 * 7919 % 10_007)\n" }.joined()
        #expect(try varve("load", "--dir", store, "--format", "tsv", "-", input: lines).status == 0)
        if kind == ".sst" {
            #expect(try varve("compact", "--dir", store).status == 0)
            for name in try names(".log").dropLast() { try FileManager.default.removeItem(atPath: store + "/" + name) }
        }
        // The newest table is the one in use.
        let name = try #require(kind == ".sst" ? try names(kind).last : try names(kind).first)
        #expect(try varve("inspect", store + "/" + name).status == 0)
        try damage(name)
        let outcome = try varve("verify", "--dir", store)
        #expect(outcome.status == 65, "\(outcome.errors)")
        #expect(outcome.errors.contains(name))
        let repair = try varve("repair", "--dir", store, "--into", "new", "--json")
        #expect(repair.status == 0, "\(repair.errors)")
        #expect(repair.text.contains(name))
        #expect(try varve("verify", "--dir", "new").status == 0)
        #expect(try varve("repair", "--dir", store, "--into", "new").status == 64)
    }

    @Test func inspectKnowsEveryFileOfAStore() throws {
        try varve("put", "--dir", store, "a", "1")
        try varve("compact", "--dir", store)
        for name in try FileManager.default.contentsOfDirectory(atPath: store) {
            let outcome = try varve("inspect", store + "/" + name)
            #expect(outcome.status == 0 && !outcome.text.isEmpty, "\(name): \(outcome.errors)")
        }
        try Data("something".utf8).write(to: URL(fileURLWithPath: scratch.path + "/other"))
        #expect(try varve("inspect", "other").status == 64)
        #expect(try varve("inspect", "nothing").status == 64)
    }

    @Test func aStoreInUseAnswersReadsAndRefusesWrites() throws {
        let owner = try RunningBinary(["load", "--dir", store, "--format", "tsv", "--json", "-"])
        try owner.feed("a\t1\nb\t2\n")
        #expect(owner.wait { owner.largest("acknowledged") == 2 })
        #expect(try varve("get", "--dir", store, "b").text == "2\n")
        #expect(try varve("scan", "--dir", store).text == "a\t1\nb\t2\n")
        #expect(try varve("stats", "--dir", store, "--json").text.contains("\"primary\""))
        #expect(try varve("verify", "--dir", store).status == 0)
        let refused = try varve("put", "--dir", store, "c", "3")
        #expect(refused.status == 75)
        #expect(refused.errors.contains("varve"))
        #expect(try varve("checkpoint", "--dir", store, "copy").status == 0)
        try owner.endInput()
        #expect(owner.waitForEnd() == 0)
        #expect(try varve("scan", "--dir", "copy").text == "a\t1\nb\t2\n")
        #expect(try varve("put", "--dir", store, "c", "3").status == 0)
    }

    @Test func aKilledLoadLosesNothingAcknowledgedAndGoesOn() throws {
        let lines = (0..<20_000).map { "key\($0)\tvalue \($0)\n" }
        let first = try RunningBinary(["load", "--dir", store, "--format", "tsv", "--json", "-"])
        try first.feed(lines[..<7000].joined())
        #expect(first.wait { first.largest("acknowledged") >= 5000 })
        first.kill()
        let acknowledged = first.largest("acknowledged")
        #expect(try varve("verify", "--dir", store).status == 0)
        let held = try varve("dump", "--dir", store).text.split(separator: "\n").count
        #expect(held >= acknowledged)
        let second = try varve("load", "--dir", store, "--format", "tsv", "--json", "-", input: lines.joined())
        #expect(second.status == 0)
        #expect(second.text.contains("\"resumed_at\": \(held)"))
        let dumped = try varve("dump", "--dir", store).text.split(separator: "\n").map { "\($0)\n" }
        #expect(dumped.sorted() == lines.sorted())
    }
}
