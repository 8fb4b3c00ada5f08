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
}
