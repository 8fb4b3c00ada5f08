import Testing
import VarveTestSupport

@testable import VarveEngine

@Suite("Table properties: the sample of tags")
struct TagSampleTests {
    /// Everything with this tag was dropped at an LSN.
    private struct Drop: InvalidationJudge {
        var tag: UInt64 = 7
        var at = LSN.max
        var generation: UInt64 { 1 }
        func invalidation(of entry: JudgedEntry) -> LSN? {
            entry.tags.contains(tag) && entry.version <= at ? at : nil
        }
    }

    private func sample(_ seed: UInt64, _ entries: [(tags: [UInt64], bytes: Int)]) -> TagSample {
        var sampler = TagSampler(seed: seed)
        for (number, entry) in entries.enumerated() {
            let key = FullKey.make(.default, Fixture.key(number))
            TestVersion.entry(EntryFields(tags: entry.tags)).lend { bytes in
                key.lend { key in
                    let view = unsafe try? EntryView(bytes)
                    unsafe sampler.add(key, LSN(UInt64(number + 1)), view, bytes: entry.bytes)
                }
            }
        }
        return sampler.sample()
    }

    @Test("tells about how many of the bytes carry a tag, however these lie among the keys")
    func share() {
        // By chance; every second of entries as large as each other; all in one stretch; a few large ones.
        let shapes: [(inout SplitMix, Int) -> (tags: [UInt64], bytes: Int)] = [
            { random, _ in (random.next() % 3 == 0 ? [7] : [8], 20 + Int(random.next() % 500)) },
            { _, number in (number % 2 == 0 ? [7] : [], 128) },
            { _, number in (number > 1500 ? [7, 9] : [9], 100) },
            { _, number in (number % 100 == 99 ? [7] : [], number % 100 == 99 ? 10_000 : 50) },
        ]
        // Samples are draws, about: of 16 or more the share deviates by 1/8 (p(1-p) is 1/4 at most). The first put is always
        // one of them, which shifts it by 1/16 at most. All are bounded at five deviations: one, the mean of 64, their mean
        // square.
        let (deviation, shift) = (1.0 / 8, 1.0 / 16)
        for (index, shape) in shapes.enumerated() {
            var (sum, squares) = (0.0, 0.0)
            for seed in 1...64 as ClosedRange<UInt64> {
                var random = SplitMix(seed)
                let entries = (0..<2000).map { shape(&random, $0) }
                let sample = sample(seed, entries)
                #expect(sample.count >= 16 && sample.count <= TagSample.limit)
                let all = entries.reduce(0) { $0 + $1.bytes }
                let tagged = entries.reduce(0) { $0 + ($1.tags.contains(7) ? $1.bytes : 0) }
                let (share, until) = sample.invalidated(by: Drop(), from: .max)
                #expect(until == .max)
                let error = share - Double(tagged) / Double(all)
                #expect(abs(error) < shift + 5 * deviation, "shape \(index), seed \(seed)")
                sum += error
                squares += error * error
            }
            #expect(abs(sum / 64) < shift + 5 * deviation / 8, "shape \(index): \(sum / 64)")
            let most = (deviation * deviation + shift * shift) * (1 + 5 * (2.0 / 64).squareRoot())
            #expect(squares / 64 < most, "shape \(index): \(squares / 64)")
        }
    }

    @Test("follows from the input alone, and is bounded; without tags there is none")
    func bounded() {
        let many = Array(0..<100 as Range<UInt64>)
        let entries = (0..<3000).map { _ in (tags: many, bytes: 1000) }
        let found = sample(3, entries)
        #expect(found == sample(3, entries))
        #expect(found.entries.reduce(0) { $0 + $1.weight } == found.count)
        #expect(found.entries.allSatisfy { $0.tags == Array(many.prefix(TagSample.tagLimit)) })
        var buffer = ByteBuffer()
        found.encode(to: &buffer)
        #expect(buffer.count <= TagSample.encodedLimit)
        #expect(sample(3, entries.map { ([], $0.bytes) }) == TagSample())
        #expect(sample(3, []) == TagSample())
        let huge = sample(3, [(tags: [7], bytes: 1 << 29)])
        #expect(huge.entries.map(\.tags) == [[7]] && huge.entries[0].weight == huge.count)
    }

    @Test("what a reader before the drop sees does not count, and the drop's LSN is where it will")
    func readers() {
        let sample = sample(1, (0..<100).map { (tags: [UInt64($0 % 2)], bytes: 100) })
        let drop = Drop(tag: 1, at: LSN(500))
        #expect(sample.invalidated(by: drop, from: LSN(499)) == (0, LSN(500)))
        #expect(sample.invalidated(by: drop, from: LSN(500)).share > 0.2)
        #expect(sample.invalidated(by: drop, from: LSN(500)).until == .max)
    }

    @Test("a manifest that an older version has rewritten lacks it; a table of before has none")
    func olderVersions() throws {
        var (bytes, properties) = try GoldenTable.sampled.written()
        #expect(!properties.tagSample.isEmpty)
        properties.tagSample = TagSample()
        let table = try GoldenTable.open(bytes, GoldenTable.sampled.number, expected: properties)
        #expect(!table.properties.tagSample.isEmpty)
        var before = GoldenTable.sampled
        before.options.samplesTags = false
        (bytes, properties) = try before.written()
        #expect(properties.tagSample.isEmpty)
        properties.tagSample = table.properties.tagSample
        #expect(throws: VarveError.self) { try GoldenTable.open(bytes, before.number, expected: properties) }
    }
}
