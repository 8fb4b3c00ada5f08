import Foundation
import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// What may be a key, besides strings. `UserID` and `Thumbnail` are the first page's.
struct KeyTypesTests {
    private enum Side: String, CacheKey {
        case left, right
    }

    /// What was stored under a key is found under it by the next process, and what the bytes say is the key.
    private func survives<Key: CacheKey>(_ keys: [Key], _ named: String, _ rig: CacheRig) async throws {
        let store = try await rig.store()
        let cache: Cache<Key, Int> = try await store.cache(named: named)
        for (number, key) in keys.enumerated() {
            try await cache.set(number, for: key)
            let bytes = cache.keyBytes(key)
            #expect(unsafe Key(keyBytes: bytes.span.bytes) == key)
        }
        try await store.close()
        let again = try await rig.store()
        let found: Cache<Key, Int> = try await again.cache(named: named)
        #expect(try await found.values(for: keys) == Dictionary(uniqueKeysWithValues: zip(keys, 0...)))
        try await again.close()
    }

    @Test("UUIDs, small integers and types with a raw value are keys")
    func types() async throws {
        let rig = CacheRig()
        try await survives([UUID(), UUID()], "uuids", rig)
        try await survives([Int8.min, -1, 0, .max], "Int8", rig)
        try await survives([Int16.min, -1, 0, .max], "Int16", rig)
        try await survives([UInt8.min, 1, .max], "UInt8", rig)
        try await survives([UInt16.min, 1, .max], "UInt16", rig)
        try await survives([Side.left, .right], "sides", rig)
        try await survives([UserID(rawValue: 7), UserID(rawValue: .max)], "users", rig)
        let none = Array("middle".utf8)
        #expect(unsafe Side(keyBytes: none.span.bytes) == nil)
    }

    @Test("The types of the first article are kept, and found by their keys")
    func example() async throws {
        let rig = CacheRig()
        let store = try await rig.store()
        let thumbnails: Cache<UserID, Thumbnail> = try await store.cache(named: "thumbnails")
        try await thumbnails.set(Thumbnail(width: 2, pixels: [1, 2, 3, 4]), for: UserID(rawValue: 1))
        try await store.close()
        let again: Cache<UserID, Thumbnail> = try await rig.store().cache(named: "thumbnails")
        #expect(try await again.value(for: UserID(rawValue: 1))?.pixels == [1, 2, 3, 4])
        try await again.store.close()
    }

    @Test("What is the store's is refused of a cache that shares it, by name")
    func storesOptions() async throws {
        let store = try await CacheRig().store()
        var options = CacheOptions(disk: .megabytes(64))
        func refusal() async -> String? {
            do throws(VarveError) {
                let _: Cache<String, Int> = try await store.cache(named: "c", options)
                return nil
            } catch { return error.code == .invalidArgument ? error.message : nil }
        }
        #expect(await refusal()?.contains("`disk`") == true)
        options = CacheOptions(disk: nil)
        #expect(await refusal()?.contains("diskQuota") == true)
        options = CacheOptions()
        options.degradation = .memoryOnly
        #expect(await refusal()?.contains("`degradation`") == true)
        options = CacheOptions()
        options.maximumStall = .seconds(1)
        #expect(await refusal()?.contains("`maximumStall`") == true)
        options = CacheOptions()
        #expect(await refusal() == nil)
        try await store.close()
    }
}
