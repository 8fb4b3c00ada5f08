import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// The socket of an engine that has a store open answers who else wants to use it.
@Suite struct OwnerEngineTests {
    private func compact(_ json: String) -> String { json.filter { !$0.isWhitespace } }

    @Test func answers() throws {
        let folder = try TemporaryDirectory()
        var options = Fixture.options(threads: true)
        options.offersSocket = true
        let engine = try Engine.open(at: folder.path + "/s", options)
        try Fixture.fill(engine, 0..<300)
        let client = try OwnerClient.connect(toStoreAt: folder.path + "/s", PosixFileSystem())
        #expect(client.processID == ProcessIdentity.id)
        #expect(try compact(client.statistics()).contains("\"visibleLSN\":\(engine.position.lsn)"))
        #expect(try client.entry(Fixture.key(7))?.value == Fixture.value(7, 0))
        #expect(try client.entry(Fixture.key(700)) == nil)
        try client.flush()
        #expect(engine.statistics.flushes >= 1)
        try engine.put(Fixture.key(7), [7])
        var keys = 0
        try client.scan(prefix: bytes("key"), from: nil, to: Fixture.key(100), reverse: true, limit: nil) { _ in
            keys += 1
            return true
        }
        #expect(keys == 100)
        try client.compact(from: nil, to: nil) { _ in true }
        #expect(engine.statistics.levels[0].tables == 0)
        #expect(try compact(client.verify { _ in true }).contains("\"ok\":true"))
        let position = try client.checkpoint(to: folder.path + "/copy", slot: "f") { _ in true }
        #expect(position == engine.position)
        #expect(engine.statistics.slots.map(\.name) == ["f"])
        // A follower over the socket, from the checkpoint to the end.
        let follower = try Engine.openFollower(at: folder.path + "/copy", Fixture.options(threads: true))
        try Fixture.fill(engine, 100..<200, round: 1)
        try follower.apply(from: client, follows: false)
        let other = try OwnerClient.connect(toStoreAt: folder.path + "/s", PosixFileSystem())
        #expect(try other.moveSlot("f", to: ChangeCursor(follower.position)))
        #expect(try other.moveSlot("f", to: engine.cursor(at: LSN(1))), "which is where it was long before")
        #expect(engine.statistics.slots.map(\.lsn) == [follower.position.lsn])
        #expect(try other.removeSlot("f"))
        #expect(try !other.removeSlot("f"))
        #expect(try !other.moveSlot("f", to: ChangeCursor(follower.position)), "who removed it is right")
        #expect(engine.statistics.slots.isEmpty)
        #expect(follower.position == engine.position)
        #expect(try Fixture.contents(follower) == Fixture.contents(engine))
        try follower.close()
        try engine.close()
        #expect(
            code { _ = try OwnerClient.connect(toStoreAt: folder.path + "/s", PosixFileSystem()) } != nil,
            "nobody answers after the close")
    }

    @Test("Damage found for a client reaches it by name")
    func damage() throws {
        let folder = try TemporaryDirectory()
        var options = Fixture.options(threads: true)
        options.offersSocket = true
        let engine = try Engine.open(at: folder.path + "/s", options)
        try Fixture.fill(engine, 0..<300)
        try engine.compact()
        let table = FileName.table(try #require(engine.versions.version.allTables.first).number).text
        let file = try PosixFileSystem().open(folder.path + "/s/" + table, .readWrite)
        try file.write([0xAA, 0x55], at: 100)
        file.close()
        let client = try OwnerClient.connect(toStoreAt: folder.path + "/s", PosixFileSystem())
        let error = failure { _ = try client.verify { _ in true } }
        #expect(error?.code == .corruption)
        #expect(error?.path?.hasSuffix(table) == true)
        try engine.close()
    }
}
