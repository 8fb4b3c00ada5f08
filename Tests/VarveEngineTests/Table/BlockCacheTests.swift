import Testing
import VarveTestSupport

@testable import VarveEngine

@Suite("Block cache")
struct BlockCacheTests {
    static func block(_ number: Int, bytes: Int = 1000) throws -> CachedBlock {
        unsafe try CachedBlock(count: bytes) { room throws(DecodeError) in
            unsafe room.initializeMemory(as: UInt8.self, repeating: UInt8(truncatingIfNeeded: number))
        }
    }
    static func key(_ number: Int, file: UInt64 = 1) throws -> BlockKey {
        try #require(BlockKey(file: file, block: number))
    }

    @Test("holds what was put in and stays within its bytes")
    func bounded() throws {
        let cache = BlockCache(capacity: 1 << 20)
        for number in 0..<5000 {
            let kept = cache.insert(try Self.key(number), try Self.block(number))
            #expect(unsafe kept.bytes.count == 1000)
            #expect(cache.statistics.bytes <= 1 << 20)
        }
        let statistics = cache.statistics
        #expect(statistics.bytes > 900_000)
        #expect(statistics.blocks + Int(statistics.evictions) == 5000)
        var present = 0
        for number in 0..<5000 {
            guard let found = cache.lookup(try Self.key(number)) else { continue }
            present += 1
            #expect(unsafe found.bytes.allSatisfy { $0 == UInt8(truncatingIfNeeded: number) })
        }
        #expect(present == statistics.blocks)
        #expect(cache.statistics.hits == UInt64(present))
        #expect(cache.statistics.misses == UInt64(5000 - present))
    }

    @Test("agrees with a dictionary while blocks come and go", arguments: 1...4 as ClosedRange<UInt64>)
    func model(_ seed: UInt64) throws {
        var random = SplitMix(seed)
        let cache = BlockCache(capacity: 300_000)
        for _ in 0..<20_000 {
            let file = UInt64.random(in: 1...3, using: &random)
            let number = Int.random(in: 0..<300, using: &random)
            let key = try Self.key(number, file: file)
            let marker = number ^ Int(file)
            switch Int.random(in: 0..<100, using: &random) {
            case 0: cache.removeBlocks(ofFile: file)
            case 1..<50:
                let size = Int.random(in: 100...3000, using: &random)
                _ = cache.insert(key, try Self.block(marker, bytes: size))
                #expect(cache.statistics.bytes <= 300_000, "seed \(seed)")
            default:
                guard let found = cache.lookup(key) else { continue }
                #expect(unsafe found.bytes[0] == UInt8(truncatingIfNeeded: marker), "seed \(seed)")
            }
        }
        for file in 1...3 as ClosedRange<UInt64> { cache.removeBlocks(ofFile: file) }
        #expect(cache.statistics.blocks == 0, "seed \(seed)")
    }

    @Test("a scan does not push out what is used")
    func scanResistance() throws {
        let cache = BlockCache(capacity: 1 << 20)
        for round in 0..<3 {
            for number in 0..<500 where cache.lookup(try Self.key(number)) == nil {
                #expect(round == 0)
                _ = cache.insert(try Self.key(number), try Self.block(number))
            }
        }
        for number in 10_000..<20_000 { _ = cache.insert(try Self.key(number), try Self.block(number)) }
        var kept = 0
        for number in 0..<500 where cache.contains(try Self.key(number)) { kept += 1 }
        #expect(kept > 450)
    }

    @Test("a block that is held outlives its eviction")
    func held() throws {
        let cache = BlockCache(capacity: 100_000)
        let held = cache.insert(try Self.key(7), try Self.block(7))
        for number in 100..<1000 { _ = cache.insert(try Self.key(number), try Self.block(number)) }
        #expect(!cache.contains(try Self.key(7)))
        #expect(unsafe held.bytes.allSatisfy { $0 == 7 })
    }

    @Test("a block larger than a quarter of a shard, and a cache of no size, keep nothing")
    func tooLarge() throws {
        let cache = BlockCache(capacity: 100_000)
        _ = cache.insert(try Self.key(1), try Self.block(1, bytes: 60_000))
        #expect(cache.statistics.blocks == 0)
        let none = BlockCache(capacity: 0)
        _ = none.insert(try Self.key(1), try Self.block(1))
        #expect(none.lookup(try Self.key(1)) == nil)
    }

    @Test("two threads at once see whole blocks")
    func concurrent() async throws {
        let cache = BlockCache(capacity: 2 << 20)
        await withTaskGroup(of: Bool.self) { group in
            for seed in 0..<4 as Range<UInt64> {
                group.addTask {
                    var random = SplitMix(seed)
                    for _ in 0..<20_000 {
                        let number = Int.random(in: 0..<4000, using: &random)
                        guard let key = BlockKey(file: 3, block: number) else { return false }
                        if let found = cache.lookup(key) {
                            let isRight =
                                unsafe found.bytes[0] == UInt8(truncatingIfNeeded: number)
                                && found.bytes[999] == UInt8(truncatingIfNeeded: number)
                            if !isRight { return false }
                        } else if let block = try? Self.block(number) {
                            _ = cache.insert(key, block)
                        }
                    }
                    return true
                }
            }
            for await isRight in group { #expect(isRight) }
        }
        #expect(cache.statistics.bytes <= 2 << 20)
    }
}
