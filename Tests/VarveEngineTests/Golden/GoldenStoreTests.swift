import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// A whole store of format version 1, closed: today's engine finds exactly what was in it, however it is opened.
@Suite("Golden store") struct GoldenStoreTests {
    /// A copy of it: in a temporary folder of the real file system, or in memory.
    private func copy(to path: String, _ system: any FileSystem) throws {
        try system.createDirectory(path)
        for name in try Golden.names(in: "store") {
            try Golden.put(try Golden.bytes("store/" + name), path + "/" + name, system)
        }
    }

    private func inMemory() throws -> SimulatedFileSystem {
        let system = try Golden.folder()
        try copy(to: GoldenStore.path, system)
        return system
    }

    private func expected(_ hours: Int) throws -> String {
        String(decoding: try Golden.bytes("store-after-\(hours)-h.txt"), as: UTF8.self)
    }

    /// The store that today's engine writes of the same input, file by file. Only ids and salts differ, so with
    /// `VARVE_REWRITE=1` the stored one stays where its text is the same.
    @Test("Written as it was") func written() throws {
        let system = try Golden.folder()
        try GoldenStore.write(system)
        let text = try GoldenStore.files(system)
        if ScriptTest.isRewriting {
            if let old = try? Golden.bytes("store.txt"), old == Array(text.utf8) { return }
            try Golden.remove("store")
            for name in try system.list(GoldenStore.path) {
                let file = try system.open(GoldenStore.path + "/" + name, .read)
                try Golden.write(try file.readAll(atMost: 1 << 20), "store/" + name)
            }
            for hours in [0, 1, 3] {
                let engine = try Engine.openReadOnly(
                    at: GoldenStore.path, GoldenStore.options(hoursLater: hours), fileSystem: system)
                try Golden.check(try GoldenStore.entries(engine), is: "store-after-\(hours)-h.txt")
                try engine.close()
            }
            return try Golden.check(text, is: "store.txt")
        }
        if Golden.isLZ4OfTheFixtures { try Golden.check(text, is: "store.txt") }
        // Tables hold nothing random.
        for name in try system.list(GoldenStore.path).filter({ $0.hasSuffix(".sst") }) {
            let file = try system.open(GoldenStore.path + "/" + name, .read)
            if Golden.isLZ4OfTheFixtures { try Golden.check(try file.readAll(atMost: 1 << 20), is: "store/" + name) }
            file.close()
        }
    }

    @Test("Each file says what it said", .enabled(if: !ScriptTest.isRewriting)) func filesSay() throws {
        try Golden.check(try GoldenStore.files(try inMemory()), is: "store.txt")
    }

    /// Tables in two levels, and log beyond them: else the store proves less than it seems to.
    @Test("It holds what stores hold", .enabled(if: !ScriptTest.isRewriting)) func isRich() throws {
        let engine = try Engine.openReadOnly(at: GoldenStore.path, GoldenStore.options(), fileSystem: try inMemory())
        let version = engine.versions.version
        #expect(version.levels[0].tables.count == 1 && version.levels[6].tables.count == 1)
        #expect(version.allTables.contains { $0.properties.rangeTombstoneCount > 0 })
        #expect(engine.visibleLSN > version.flushed.lsn)
        #expect(engine.versions.state.slots.keys.sorted() == ["archive"])
        try engine.close()
    }

    @Test("Opened to read", .enabled(if: !ScriptTest.isRewriting), arguments: [0, 1, 3]) func opensToRead(hours: Int)
        throws
    {
        let folder = try TemporaryDirectory()
        let system = PosixFileSystem()
        let path = folder.path + "/store"
        try copy(to: path, system)
        let engine = try Engine.openReadOnly(at: path, GoldenStore.options(hoursLater: hours))
        #expect(engine.recoveryCut == nil)
        #expect(try GoldenStore.entries(engine) == expected(hours))
        #expect(try engine.verify().damage.isEmpty)
        try engine.close()
        for name in try Golden.names(in: "store") {
            let file = try system.open(path + "/" + name, .read)
            #expect(
                try file.readAll(atMost: 1 << 20) == Golden.bytes("store/" + name), "\(name) was changed by a reader")
            file.close()
        }
    }

    @Test("Opened to write, and again", .enabled(if: !ScriptTest.isRewriting)) func opensToWrite() throws {
        let folder = try TemporaryDirectory()
        let path = folder.path + "/store"
        try copy(to: path, PosixFileSystem())
        for round in 0..<3 {
            let engine = try Engine.open(at: path, GoldenStore.options(), fileSystem: PosixFileSystem())
            #expect(engine.recoveryCut == nil)
            #expect(try GoldenStore.entries(engine) == expected(1), "round \(round)")
            #expect(try engine.verify().damage.isEmpty)
            if round == 1 { try engine.compact() }
            #expect(try GoldenStore.entries(engine) == expected(1), "round \(round)")
            try engine.close()
        }
    }

    /// The same without the record of the close: as if the process had been killed, or the power had gone.
    @Test("Opened as after a crash", .enabled(if: !ScriptTest.isRewriting)) func opensAfterCrash() throws {
        let system = try inMemory()
        try system.remove(FileName.closed.path(in: GoldenStore.path))
        let engine = try Engine.open(at: GoldenStore.path, GoldenStore.options(), fileSystem: system)
        #expect(try GoldenStore.entries(engine) == expected(1))
        #expect(engine.versions.state.timelines.origins.map(\.reason) == [.created, .powerLoss])
        try engine.close()
    }

    @Test("A torn end loses the last write alone", .enabled(if: !ScriptTest.isRewriting)) func tornEnd() throws {
        let system = try inMemory()
        try system.remove(FileName.closed.path(in: GoldenStore.path))
        let log = try #require(try system.list(GoldenStore.path).filter { $0.hasSuffix(".log") }.max())
        let file = try system.open(GoldenStore.path + "/" + log, .readWrite)
        try file.truncate(to: try file.size() - 3)
        file.close()
        let engine = try Engine.open(at: GoldenStore.path, GoldenStore.options(), fileSystem: system)
        #expect(engine.recoveryCut != nil)
        let lines = try expected(1).split(separator: "\n").filter { !$0.contains("zz last") }
        #expect(try GoldenStore.entries(engine).split(separator: "\n") == lines)
        try engine.close()
    }

    /// Whichever file is of a newer format, the store is refused and the file is named.
    @Test(
        "A newer file in it is refused by name", .enabled(if: !ScriptTest.isRewriting),
        arguments: [
            ("MANIFEST", 8), (".log", 8), ("CLOSED", 8), (".sst", -128),
        ]) func newer(kind: String, version: Int) throws
    {
        let system = try inMemory()
        for name in try system.list(GoldenStore.path) where name.hasPrefix(kind) || name.hasSuffix(kind) {
            var bytes = try Golden.bytes("store/" + name)
            bytes[version < 0 ? bytes.count + version : version] = 9
            // With the checksum of the version before it would be a damaged one of that.
            if kind == "MANIFEST" || kind == ".log" { bytes.resealHeader { _ in } }
            let path = GoldenStore.path + "/" + name
            try Golden.put(bytes, path, system)
            var found: VarveError?
            do {
                let engine = try Engine.openReadOnly(at: GoldenStore.path, GoldenStore.options(), fileSystem: system)
                // Tables are opened when they are needed.
                found = try engine.verify().damage.first
                try engine.close()
            } catch {
                found = error
            }
            #expect(found?.code == .unsupportedFormat && found?.path == path, "\(name)")
            #expect(found?.message.contains("format version 9") == true, "\(name)")
            try Golden.put(try Golden.bytes("store/" + name), path, system)
        }
    }

    /// Its log would look like one whose tail was never synced, and be cut. Tables of then are as those of today.
    @Test(
        "A store of format version 0 is refused by name and left as it is", .enabled(if: !ScriptTest.isRewriting),
        arguments: [true, false], [true, false])
    func older(isClosed: Bool, toWrite: Bool) throws {
        var files = try Golden.oldStore()
        if !isClosed { files["CLOSED"] = nil }
        for manifestIsNew in [false, true] {
            // With a manifest that passes, the log must be refused by itself.
            if manifestIsNew { files["MANIFEST-000001"] = try Golden.bytes("store/MANIFEST-000001") }
            let refused = manifestIsNew ? "000002.log" : "MANIFEST-000001"
            let system = try Golden.folder(files)
            let error = #expect(throws: VarveError.self) {
                if toWrite {
                    _ = try Engine.open(at: Golden.directory, GoldenStore.options(), fileSystem: system)
                } else {
                    _ = try Engine.openReadOnly(at: Golden.directory, GoldenStore.options(), fileSystem: system)
                }
            }
            #expect(error?.code == .unsupportedFormat && error?.path == Golden.directory + "/" + refused)
            #expect(error?.message.contains("format version 0 of an earlier build") == true)
            // A manifest that passes is replaced, as at every opening for writing.
            for (name, bytes) in files where name != "LOCK" && !(manifestIsNew && name == "CURRENT") {
                #expect(try Fixture.folder(Golden.directory, system)[name] == bytes, "\(name)")
            }
        }
    }

    @Test("A file that is missing is named", .enabled(if: !ScriptTest.isRewriting)) func missing() throws {
        for name in try Golden.names(in: "store") where name != "LOCK" && name != "CLOSED" {
            let system = try inMemory()
            let path = GoldenStore.path + "/" + name
            try system.remove(path)
            let error = #expect(throws: VarveError.self, "\(name)") {
                try Engine.open(at: GoldenStore.path, GoldenStore.options(), fileSystem: system)
            }
            #expect(error?.code == .missingFile, "\(name)")
            #expect(error?.path == (name.hasSuffix(".log") ? GoldenStore.path : path), "\(name)")
        }
    }
}
