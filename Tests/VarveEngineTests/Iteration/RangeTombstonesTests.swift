import Testing
import VarveTestSupport

@testable import VarveEngine

/// Range tombstones answer as the plain list that they were made from.
@Suite("Range tombstones")
struct RangeTombstonesTests {
    /// A small space of keys, so that ranges meet, touch and nest.
    private static func key(_ number: Int) -> [UInt8] {
        number % 3 == 0 ? [UInt8(number / 3)] : [UInt8(number / 3), UInt8(number % 3)]
    }
    private static let keys = (0..<30).map(key)

    private func random(_ generator: inout SplitMix, count: Int) -> [RangeTombstone] {
        (0..<count).map { _ in
            RangeTombstone(
                begin: Self.key(Int.random(in: 0..<30, using: &generator)),
                end: Self.key(Int.random(in: 0..<30, using: &generator)),
                lsn: LSN(UInt64.random(in: 1..<20, using: &generator)))
        }
    }

    private func expected(_ list: [RangeTombstone], _ key: [UInt8], at lsn: LSN) -> LSN? {
        list.filter {
            !RangeTombstone.isBefore(key, $0.begin) && RangeTombstone.isBefore(key, $0.end) && $0.lsn <= lsn
        }.map(\.lsn).max()
    }

    private func found(_ tombstones: RangeTombstones, _ key: [UInt8], at lsn: LSN) -> LSN? {
        unsafe key.withUnsafeBytes { unsafe tombstones.maxLSN(covering: $0, at: lsn) }
    }

    @Test(arguments: 0..<40 as Range<UInt64>)
    func answersAsTheList(seed: UInt64) {
        var generator = SplitMix(seed)
        let list = random(&generator, count: Int.random(in: 0..<12, using: &generator))
        let tombstones = RangeTombstones(list)
        #expect(tombstones.isEmpty == list.allSatisfy(\.isEmpty), "seed \(seed)")
        for lsn in 0..<21 as Range<UInt64> {
            var cover = tombstones.makeCover(at: LSN(lsn))
            for key in Self.keys + Self.keys.reversed() {
                let right = expected(list, key, at: LSN(lsn))
                #expect(found(tombstones, key, at: LSN(lsn)) == right, "seed \(seed), \(key) at \(lsn)")
                let walked = unsafe key.withUnsafeBytes { unsafe cover.lsn(covering: $0) }
                #expect(walked == right ?? .zero, "seed \(seed), \(key) at \(lsn)")
            }
        }
    }

    @Test(arguments: 0..<40 as Range<UInt64>)
    func unionClipCollapseAndCodec(seed: UInt64) throws {
        var generator = SplitMix(seed)
        let lists = (0..<3).map { _ in random(&generator, count: 5) }
        let all = RangeTombstones(lists.flatMap { $0 })
        #expect(RangeTombstones(union: lists.map { RangeTombstones($0) }) == all, "seed \(seed)")

        let cut = Self.key(Int.random(in: 0..<30, using: &generator))
        let (left, right) = (all.clipped(from: nil, to: cut), all.clipped(from: cut, to: nil))
        #expect(RangeTombstones(union: [left, right]) == all, "seed \(seed), cut at \(cut)")
        for key in Self.keys {
            let isLeft = RangeTombstone.isBefore(key, cut)
            #expect(found(left, key, at: .max) == (isLeft ? found(all, key, at: .max) : nil), "seed \(seed)")
            #expect(found(right, key, at: .max) == (isLeft ? nil : found(all, key, at: .max)), "seed \(seed)")
        }

        let snapshots = [4, 9, 9, 15].map { LSN($0) }
        let collapsed = all.collapsed(snapshots: snapshots)
        for key in Self.keys {
            for lsn in snapshots + [.max] {
                #expect(found(collapsed, key, at: lsn) == found(all, key, at: lsn), "seed \(seed)")
            }
        }
        #expect(collapsed.tombstones().count <= all.tombstones().count)

        var buffer = ByteBuffer()
        all.encode(to: &buffer)
        var reader = unsafe ByteReader(buffer.bytes)
        #expect(try RangeTombstones.decode(from: &reader) == all, "seed \(seed)")
        #expect(reader.isAtEnd)
    }

    @Test func equalCoverHasOneForm() {
        let whole = RangeTombstones([RangeTombstone(begin: [1], end: [9], lsn: LSN(5))])
        let pieces = RangeTombstones([
            RangeTombstone(begin: [4], end: [9], lsn: LSN(5)), RangeTombstone(begin: [1], end: [4], lsn: LSN(5)),
        ])
        #expect(whole == pieces)
        #expect(pieces.fragmentCount == 1)
        #expect(pieces.begin == [1] && pieces.end == [9])
    }

    /// Any bytes are refused or read back as the same bytes; nothing traps.
    @Test(arguments: 0..<30 as Range<UInt64>)
    func damagedBlocksAreRefused(seed: UInt64) {
        var generator = SplitMix(seed)
        var buffer = ByteBuffer()
        RangeTombstones(random(&generator, count: 6)).encode(to: &buffer)
        for _ in 0..<200 {
            var bytes = buffer.array()
            for _ in 0..<Int.random(in: 1...3, using: &generator) where !bytes.isEmpty {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = generator.byte()
            }
            if Bool.random(using: &generator) {
                bytes.removeLast(Int.random(in: 0...bytes.count, using: &generator))
            }
            unsafe bytes.withUnsafeBytes { raw in
                var reader = unsafe ByteReader(raw)
                guard let decoded = try? RangeTombstones.decode(from: &reader) else { return }
                var again = ByteBuffer()
                decoded.encode(to: &again)
                let used = raw.count - reader.remaining
                #expect(again.array() == Array(bytes.prefix(used)), "seed \(seed)")
            }
        }
    }
}
