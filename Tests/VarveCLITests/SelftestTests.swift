import Testing

@testable import VarveCLI

/// The bench's generators against the driver of the other stores: its `--selftest`, as it printed it.
@Suite struct SelftestTests {
    static let golden = """
        mix64(0)=e220a8397b1dcdaf mix64(1)=910a2dec89025cc1
        rng(42,0)=3f55d90954e09ba7 4cadcbaea0a4a9d7 7233ec2d520f0d29 057068784e0be0e2
        below(1000000)=247403 299526 446104 21246 957163 872678 
        perm(1e6,1)=477325 465065 601524 828568 799106 264754 605573 807092 
        perm(1e6,1) fold31=8423b727b8b65d8e dups=0
        key_of(0)=0000000000000000 key_of(999999)=0000000001999998 missing_key_of(7)=0000000000000015
        value(12345,0,100)[0..32)=a011d1a95882112259ab7d91659011f23bda605ee6eabcca4702e4348aea764d
        sum of sum_words(value(i,0,100)), i<1e6 = a10b0c5cee3cf7e3
        value(12345,0,1000)[0..32)=a011d1a95882112259ab7d91659011f23bda605ee6eabcca4702e4348aea764d
        sum of sum_words(value(i,0,1000)), i<1e6 = 4a8015ce46c65e98
        zetan(1e6,.99)=15.391849746 zipf ranks=19 43 390 0 556804 173684 1 10791 2637 69 11 531134 
        zipf share of rank 0 / <100 / <10000 over 1e6 draws (seed 1) = 65104 354127 669729

        """

    @Test func generatorsMakeTheSameBits() { #expect(Selftest.text() == Self.golden) }

    @Test(arguments: [1, 2, 3, 4, 5, 17, 1000, 65_537] as [UInt64])
    func permutationsAreBijections(_ count: UInt64) {
        let perm = Perm(count, seed: 3)
        #expect(Set((0..<count).map { perm($0) }) == Set(0..<count))
    }

    @Test(arguments: [8, 9, 15, 16, 17, 100, 1001])
    func valuesAreTheirFirstHalfTwice(_ length: Int) {
        let value = Scratch(length)
        unsafe BenchValues.make(id: 5, version: 6, into: value.prefix(length))
        let bytes = unsafe Array(value.readable(length))
        let half = (length + 1) / 2
        #expect(Array(bytes[half...]) == Array(bytes[..<(length - half)]))
        #expect(unsafe BenchValues.isRight(value.readable(length), length: length, id: 5))
        #expect(!(unsafe BenchValues.isRight(value.readable(length), length: length, id: 6)))
        #expect(!(unsafe BenchValues.isRight(value.readable(length - 1), length: length, id: 5)))
    }

    @Test func quantilesAreWithinTheirBucket() {
        var histogram = Histogram()
        for value in 1...100_000 as ClosedRange<UInt64> { histogram.add(value) }
        #expect(abs(histogram.quantile(0.5) - 50_000) < 50_000 * 0.04)
        #expect(abs(histogram.quantile(0.99) - 99_000) < 99_000 * 0.04)
        #expect(histogram.max == 100_000)
        #expect(histogram.count == 100_000)
    }
}
