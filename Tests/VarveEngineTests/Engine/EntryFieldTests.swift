import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// What stands beside a value comes back as it was given, from memory, tables and the log.
@Suite struct EntryFieldTests {
    private static let all: [EntryFields] = [
        .none,
        EntryFields(usableUntil: 2_000_000_100_000_000_000),
        EntryFields(freshUntil: 77),
        EntryFields(sourceVersion: .max),
        EntryFields(tags: [1, .max, 3]),
        EntryFields(valueType: 9),
        EntryFields(cause: 255),
        EntryFields(extensions: [EntryExtension(tag: 1 << 60, bytes: [1, 2, 3]), EntryExtension(tag: 0, bytes: [])]),
        EntryFields(
            usableUntil: .max - 1, freshUntil: 1, sourceVersion: 2, tags: [9], valueType: 1, cause: 2,
            extensions: [EntryExtension(tag: 300, bytes: Array(repeating: 7, count: 300))]),
    ]

    @Test func roundTrip() throws {
        let files = SimulatedFileSystem()
        let options = Fixture.options(clock: ManualClock())
        let engine = try Fixture.store(files, options)
        for (index, fields) in Self.all.enumerated() {
            try engine.put(Fixture.key(index), Fixture.value(index, 0, index * 10), fields)
        }
        try check(engine)
        try engine.flush()
        try check(engine)
        try engine.compact()
        try check(engine)
        try engine.close()
        let again = try Fixture.store(files, options)
        try check(again)
        try again.close()
    }

    private func check(_ engine: Engine) throws {
        let iterator = try engine.makeIterator()
        try iterator.seekToFirst()
        for (index, fields) in Self.all.enumerated() {
            #expect(try engine.fields(of: Fixture.key(index)) == fields)
            let value = try #require(try engine.get(Fixture.key(index)))
            #expect(value.bytes == Fixture.value(index, 0, index * 10))
            #expect(value.usableUntil == fields.usableUntil)
            #expect(value.valueType == fields.valueType)
            #expect(try iterator.isValid && iterator.fields() == fields)
            try iterator.next()
        }
        #expect(try engine.fields(of: bytes("absent")) == nil)
    }
}
