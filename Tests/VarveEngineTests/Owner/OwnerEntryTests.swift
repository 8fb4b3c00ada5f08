import Testing
@testable import VarveEngine
import VarveIO
import VarveTestSupport

@Suite("The owner's entries are read by their users' keys")
struct OwnerEntryTests {
    private let harness: OwnerHarness
    private let client: OwnerClient

    init() throws {
        harness = try OwnerHarness()
        client = try harness.client()
        harness.service.state.update { state in
            for (index, key) in ["a1", "a2", "b1"].enumerated() {
                var entry = ByteBuffer()
                EntryCodec.appendFields(EntryFields(usableUntil: index == 1 ? 99 : nil), to: &entry)
                entry.append(Array("value of \(key)".utf8))
                state.entries.append(
                    (key: FullKey.make(.default, Array(key.utf8)), lsn: LSN(UInt64(index) + 1), bytes: entry.array()))
            }
            // Another namespace's, which never shows.
            state.entries.append((key: [0, 0, 0, 17, 1], lsn: LSN(9), bytes: [0]))
        }
    }

    private func keys(
        prefix: String = "", from: String? = nil, to: String? = nil, reverse: Bool = false, stopAfter: Int = .max
    ) throws -> [String] {
        var found: [String] = []
        try client.scan(
            prefix: Array(prefix.utf8), from: from.map { Array($0.utf8) }, to: to.map { Array($0.utf8) },
            reverse: reverse, limit: nil
        ) { entry throws(VarveError) in
            found.append(String(decoding: entry.key, as: UTF8.self))
            return found.count < stopAfter
        }
        return found
    }

    @Test("one entry with its fields")
    func get() throws {
        let entry = try #require(try client.entry(Array("a2".utf8)))
        #expect(entry.value == Array("value of a2".utf8))
        #expect(entry.usableUntil == 99)
        #expect(entry.version == LSN(2))
        #expect(try client.entry(Array("a1".utf8))?.usableUntil == nil)
        #expect(try client.entry(Array("zz".utf8)) == nil)
    }

    @Test("ranges, prefixes and both directions, within the namespace")
    func scan() throws {
        #expect(try keys() == ["a1", "a2", "b1"])
        #expect(try keys(prefix: "a", reverse: true) == ["a2", "a1"])
        #expect(try keys(from: "a2") == ["a2", "b1"])
        #expect(try keys(to: "a2") == ["a1"])
        #expect(try keys(stopAfter: 1) == ["a1"])
    }

    @Test("an entry that cannot be read is an error")
    func malformed() throws {
        harness.service.state.update { $0.entries[0].bytes = [1] }
        #expect(thrown { () throws(VarveError) in _ = try client.entry(Array("a1".utf8)) }?.code == .io)
    }
}
