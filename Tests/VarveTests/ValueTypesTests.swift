import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// What may be a value, besides strings and bytes.
struct ValueTypesTests {
    /// What was stored is what the next process finds.
    private func survives<Value: CacheValue & Equatable>(_ values: [Value], _ rig: CacheRig) async throws {
        let cache = try await rig.cache(.disk, Value.self)
        for (number, value) in values.enumerated() { try await cache.set(value, for: "\(number)") }
        try await cache.close()
        let again = try await rig.cache(.disk, Value.self)
        for (number, value) in values.enumerated() { #expect(try await again.value(for: "\(number)") == value) }
        try await again.close()
    }

    @Test("Integers of every width keep themselves")
    func integers() async throws {
        try await survives([Int8.min, -1, 0, .max], CacheRig())
        try await survives([Int16.min, -1, 0, .max], CacheRig())
        try await survives([Int32.min, -1, 0, .max], CacheRig())
        try await survives([Int64.min, -1, 0, .max], CacheRig())
        try await survives([Int.min, -1, 0, .max], CacheRig())
        try await survives([UInt8.min, 1, .max], CacheRig())
        try await survives([UInt16.min, 1, .max], CacheRig())
        try await survives([UInt32.min, 1, .max], CacheRig())
        try await survives([UInt64.min, 1, .max], CacheRig())
        try await survives([UInt.min, 1, .max], CacheRig())
    }

    private func refuses<Value: CacheValue>(_ type: Value.Type, _ bytes: [UInt8]) {
        #expect(throws: CacheCodingError.self, "\(type): \(bytes)") { try Value(cacheBytes: bytes) }
    }

    @Test("Integers of 8 and 16 bits are kept as those of 64 are, and their JSON, as builds once kept them, is refused")
    func smallIntegers() throws {
        #expect(Int8(-2).cacheBytes() == [0xfe] + Array(repeating: 0xff, count: 7))
        #expect(Int16(-257).cacheBytes() == [0xff, 0xfe] + Array(repeating: 0xff, count: 6))
        #expect(UInt8(200).cacheBytes() == [200] + Array(repeating: 0, count: 7))
        #expect(UInt16(513).cacheBytes() == [1, 2] + Array(repeating: 0, count: 6))
        #expect(Int32(-2).cacheBytes() == [0xfe, 0xff, 0xff, 0xff])
        for text in ["5", "12", "-7", "123", "-32768"] {
            refuses(Int8.self, Array(text.utf8))
            refuses(Int16.self, Array(text.utf8))
            refuses(UInt8.self, Array(text.utf8))
            refuses(UInt16.self, Array(text.utf8))
        }
        refuses(Int8.self, Int64(128).cacheBytes())
        refuses(Int16.self, Int64(-32769).cacheBytes())
        refuses(UInt8.self, Int64(256).cacheBytes())
        refuses(UInt16.self, Int64(-1).cacheBytes())
    }

    private struct Reading: Codable, Sendable {
        var celsius: Double
        var history: [Float]
        var note: String
    }

    @Test("Numbers that JSON has none of survive as it, and strings that look like them are strings")
    func nonConformingNumbers() async throws {
        let rig = CacheRig()
        func open() async throws -> Cache<String, Reading> {
            try await rig.store().cache(named: "readings", coding: .json, CacheOptions())
        }
        let cache = try await open()
        let reading = Reading(celsius: .nan, history: [.infinity, -.infinity, 1.5], note: "nan")
        try await cache.set(reading, for: "a")
        try await cache.store.close()
        let again = try await open()
        let found = try #require(try await again.value(for: "a"))
        #expect(found.celsius.isNaN && found.history == reading.history && found.note == "nan")
        try await again.store.close()
    }

    /// Any JSON, as such types are commonly written: what it is shows the first type that takes it.
    private enum Term: Codable, Sendable, Equatable {
        case number(Double)
        case string(String)

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let number = try? container.decode(Double.self) {
                self = .number(number)
            } else {
                self = .string(try container.decode(String.self))
            }
        }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.singleValueContainer()
            switch self {
            case .number(let number): try container.encode(number)
            case .string(let text): try container.encode(text)
            }
        }
    }

    @Test("A string that reads like NaN or an infinity is a string also to a type that tries numbers first")
    func stringsLikeNumbers() async throws {
        let rig = CacheRig()
        func open() async throws -> Cache<String, [Term]> {
            try await rig.store().cache(named: "terms", coding: .json, CacheOptions())
        }
        let names = ["nan", "NaN", "inf", "-inf", "infinity", "-Infinity"]
        let terms = names.map { Term.string($0) } + [.number(.infinity), .number(-.infinity), .number(1.5)]
        let cache = try await open()
        try await cache.set(terms, for: "a")
        try await cache.set([.number(.nan)], for: "b")
        try await cache.store.close()
        let again = try await open()
        #expect(try await again.value(for: "a") == terms)
        guard case .number(let number)? = try await again.value(for: "b")?.first else {
            Issue.record("no number has come back")
            return
        }
        #expect(number.isNaN)
        try await again.store.close()
    }
}
