import Testing
import VarveTestSupport

@testable import VarveEngine

/// A feed tells of its namespaces and prefix, and of nothing else.
@Suite struct FeedScopeTests {
    private let files = SimulatedFileSystem()

    @Test("Prefix, namespaces and what the store says of them")
    func scopes() throws {
        let engine = try Fixture.store(files, Fixture.options())
        let start = ChangeStart.after(engine.changeCursor)
        let users = try engine.namespace(named: "users")
        let first = engine.position.lsn.rawValue
        try engine.put(bytes("a/1"), [1])
        try engine.put(bytes("b/1"), [2])
        try engine.put(bytes("a/1"), [3], in: users)
        try engine.delete(bytes("a/2"))
        let tag: [UInt8] = users.keyPrefix + [0, 0, 0, 0, 0, 0, 0, 9]
        try engine.put(tag, [], in: .tagDrops)

        #expect(
            try engine.told(from: start).changes == [
                Told(first + 1, bytes("a/1"), .put([1])), Told(first + 2, bytes("b/1"), .put([2])),
                Told(first + 4, bytes("a/2"), .delete),
            ])
        #expect(
            try engine.told(ChangeScope(prefix: bytes("a/")), from: start).changes == [
                Told(first + 1, bytes("a/1"), .put([1])), Told(first + 4, bytes("a/2"), .delete),
            ])
        #expect(
            try engine.told(ChangeScope(namespaces: [users]), from: start).changes == [
                Told(first + 3, bytes("a/1"), .put([3])), Told(first + 5, [], .tag(9)),
            ])
        var both = ChangeScope(namespaces: [users, .default], prefix: bytes("a"))
        both.includesStoreRecords = true
        both.hasValues = false
        let told = try engine.told(both, from: start).changes
        #expect(told.map(\.kind) == [.other("namespace"), .put([]), .put([]), .delete, .tag(9)])
        #expect(told.first?.key == bytes("users"))
        var names: [String?] = []
        try engine.forEachChange(both, from: start) { change in
            names.append(change.namespace?.name)
            return true
        }
        #expect(names == [nil, "default", "users", "default", "users"])
    }

    @Test("Ranges are clipped to the prefix")
    func ranges() throws {
        let engine = try Fixture.store(files, Fixture.options())
        let start = ChangeStart.after(engine.changeCursor)
        func range(_ from: String, _ to: String?) throws {
            var batch = WriteBatch()
            try batch.deleteRange(from: bytes(from), to: to.map { bytes($0) })
            try engine.write(batch)
        }
        try range("", nil)
        try range("a", "b")
        try range("p", "p5")
        try range("p3", "z")
        try range("q", "z")
        try range("a", "p")
        try range("a", "p\u{0}")
        try range("q", nil)
        let told = try engine.told(ChangeScope(prefix: bytes("p")), from: start).changes
        #expect(
            told.map { "\(String(decoding: $0.key, as: UTF8.self)) \($0.kind)" } == [
                "p \(Told.Kind.range(bytes("q")))", "p \(Told.Kind.range(bytes("p5")))",
                "p3 \(Told.Kind.range(bytes("q")))", "p \(Told.Kind.range(bytes("p\u{0}")))",
            ])
        #expect(try engine.told(from: start).changes.first?.kind == .range(nil))
        #expect(try engine.told(from: start).changes.count == 8)
    }

    @Test("Who asks is told how far the feed is while nothing of concern changes")
    func progress() throws {
        let engine = try Fixture.store(files, Fixture.options())
        let start = engine.changeCursor
        try Fixture.fill(engine, 0..<500)
        var scope = ChangeScope(prefix: bytes("none"))
        #expect(try engine.told(scope, from: .after(start)).changes.isEmpty)
        scope.includesProgress = true
        let told = try engine.told(scope, from: .after(start))
        #expect(told.changes.count == 1)
        #expect(told.cursor == engine.changeCursor)
        // From there on nothing is told twice.
        try engine.put(bytes("none"), [])
        #expect(try engine.told(scope, from: .after(try #require(told.cursor))).changes.map(\.key) == [bytes("none")])
    }

    @Test("A closed store is read without being changed")
    func closedStore() throws {
        let engine = try Fixture.store(files, Fixture.options())
        let start = engine.changeCursor
        try Fixture.fill(engine, 0..<50)
        try engine.close()
        let reader = try Engine.openReadOnly(at: "/store", Fixture.options(), fileSystem: files)
        #expect(try reader.told(from: .after(start)).changes.count == 50)
        try reader.close()
    }

    @Test("Entry fields come along, and times do not run back")
    func fields() throws {
        let engine = try Fixture.store(files, Fixture.options())
        let start = engine.changeCursor
        let fields = EntryFields(
            usableUntil: .max - 1, freshUntil: 5, sourceVersion: 7, tags: [1, 2], valueType: 3, cause: 4,
            extensions: [EntryExtension(tag: 9, bytes: [1])])
        var batch = WriteBatch()
        try batch.put([1], [2], fields)
        try engine.write(batch)
        try engine.put([2], [])
        var changes: [Change] = []
        try engine.forEachChange(ChangeScope(), from: .after(start)) { change in
            changes.append(change)
            return true
        }
        #expect(changes.map(\.kind) == [.put(value: [2], fields: fields), .put(value: [], fields: .none)])
        #expect(changes[0].commitTime < changes[1].commitTime)
    }

    @Test("A cursor is what its text says, and nothing else is one")
    func cursors() throws {
        let engine = try Fixture.store(files, Fixture.options())
        let cursor = engine.changeCursor
        #expect(ChangeCursor(cursor.description) == cursor)
        let text = "7-00000000000000ff0000000000000001:12"
        #expect(ChangeCursor(text)?.description == text)
        for bad in [
            "", "7", ":", "7-ff:1", "7-00000000000000FF0000000000000001:12", "07-00000000000000ff0000000000000001:12",
            "7-00000000000000ff0000000000000001:-1", "7-00000000000000ff0000000000000001:012",
            "7-00000000000000ff0000000000000001:99999999999999999999", text + ":1", "-" + text,
            "7-+0000000000000ff0000000000000001:12",
        ] { #expect(ChangeCursor(bad) == nil, "\(bad)") }
    }
}
