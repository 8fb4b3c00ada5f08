import Foundation
import Testing
import Varve

@testable import VarveCLI

/// The commands on a store of named caches: each reads and writes one of them.
@Suite struct NamespaceTests: CommandLineSuite {
    let scratch: Binary.Scratch

    init() throws { scratch = try Binary.Scratch() }

    @Test(arguments: [false, true])
    func aNamedCacheIsReadAndWhatItKnowsToBeAbsentIsNoEntry(isOpen: Bool) async throws {
        let opened = try await CacheStore.open(at: store)
        for name in ["c", "d"] {
            let cache = try await opened.cache(named: name, of: String.self, to: String.self)
            try await cache.set("of \(name)", for: "k")
            _ = try await cache.value(for: "none") { _ in Loaded(nil, .init(expiry: .seconds(600))) }
            if name == "c" { try await cache.set("1", for: "a") }
        }
        if !isOpen { try await opened.close() }
        #expect(try varve("get", "--dir", store, "--namespace", "c", "k").text == "of c\n")
        #expect(try varve("get", "--dir", store, "--namespace", "d", "k").text == "of d\n")
        #expect(try varve("get", "--dir", store, "--namespace", "c", "none").status == 1)
        #expect(try varve("get", "--dir", store, "k").status == 1)
        #expect(try varve("scan", "--dir", store, "--namespace", "c").text == "a\t1\nk\tof c\n")
        #expect(try varve("scan", "--dir", store, "--namespace", "c", "--reverse", "--limit", "1").text == "k\tof c\n")
        // What is not shown does not count.
        let limited = try varve("scan", "--dir", store, "--namespace", "c", "--from", "k", "--reverse", "--limit", "1")
        #expect(limited.text == "k\tof c\n")
        #expect(try varve("dump", "--dir", store, "--namespace", "d").text == "k\tof d\n")
        let changes = try varve("changes", "--dir", store, "--namespace", "c").text.split(separator: "\n")
        #expect(changes.filter { $0.contains("\tabsent\tnone\t") }.count == 1, "\(changes)")
        #expect(try varve("scan", "--dir", store).text.isEmpty)
        for command in [["get", "k"], ["scan"], ["dump"], ["delete", "k"]] {
            let outcome = try Binary.run(
                [command[0], "--dir", store, "--namespace", "nowhere"] + command.dropFirst(), in: scratch.path)
            let expected: Int32 = isOpen && command[0] == "delete" ? 75 : 64
            #expect(outcome.status == expected && outcome.errors.contains("nowhere") == (expected == 64), "\(command)")
        }
        if isOpen { try await opened.close() }
    }

    @Test func whatIsDumpedOfANamespaceIsLoadedIntoOne() async throws {
        try varve("put", "--dir", store, "--namespace", "c", "k", "1")
        try varve("put", "--dir", store, "--namespace", "c", "l", "2")
        try varve("put", "--dir", store, "k", "default")
        try varve("delete", "--dir", store, "--namespace", "c", "l")
        let dumped = try varve("dump", "--dir", store, "--namespace", "c", "--format", "jsonl").text
        let load = try varve("load", "--dir", "new", "--namespace", "c", "--format", "jsonl", "-", input: dumped)
        #expect(load.status == 0, "\(load.errors)")
        #expect(try varve("scan", "--dir", "new", "--namespace", "c").text == "k\t1\n")
        #expect(try varve("scan", "--dir", "new").text.isEmpty)
        let opened = try await CacheStore.open(at: scratch.path + "/new")
        let cache = try await opened.cache(named: "c", of: String.self, to: String.self)
        #expect(try await cache.value(for: "k") == "1")
        try await opened.close()
    }

    @Test func aLoadThatWasCutOffGoesOnInItsOwnNamespaceOnly() throws {
        let lines = (0..<3000).map { "k\($0)\t\($0)\n" }.joined()
        // The last line has no value: what came before stands.
        func load(into namespace: String, _ input: String) throws -> Binary.Outcome {
            try varve("load", "--dir", store, "--namespace", namespace, "--format", "tsv", "-", input: input)
        }
        #expect(try load(into: "a", lines + "wrong\n").status != 0)
        let whole = try load(into: "b", lines)
        #expect(whole.status == 0 && whole.text.contains("loaded 3000 records,"), "\(whole.text)")
        let dumped = try varve("dump", "--dir", store, "--namespace", "b", "--format", "tsv").text
        #expect(dumped.split(separator: "\n").count == 3000)
        let resumed = try load(into: "a", lines)
        #expect(resumed.status == 0 && resumed.text.contains("by an earlier run"), "\(resumed.text)")
    }
}
