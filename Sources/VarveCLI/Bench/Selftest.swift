import Foundation

/// Test vectors of the bench's generators, line for line what the peers' driver prints under `--selftest`: two programs
/// that print the same do the same work.
enum Selftest {
    static func text() -> String {
        var lines = ["mix64(0)=\(hexadecimal(Mix64.mix(0))) mix64(1)=\(hexadecimal(Mix64.mix(1)))"]
        var rng = Rng(seed: 42)
        lines.append("rng(42,0)=" + (0..<4).map { _ in hexadecimal(rng.next()) }.joined(separator: " "))
        rng = Rng(seed: 42)
        lines.append("below(1000000)=" + (0..<6).map { _ in "\(rng.below(1_000_000)) " }.joined())
        lines += permutation() + [keys()]
        for length in [100, 1000] { lines += values(length) }
        lines += zipf()
        return lines.joined(separator: "\n") + "\n"
    }

    private static func permutation() -> [String] {
        let count: UInt64 = 1_000_000
        let perm = Perm(count, seed: 1)
        var fold: UInt64 = 0
        var duplicates = 0
        var seen = [Bool](repeating: false, count: Int(count))
        for index in 0..<count {
            let image = perm(index)
            fold = fold &* 31 &+ image
            if seen[Int(image)] { duplicates += 1 }
            seen[Int(image)] = true
        }
        return [
            "perm(1e6,1)=" + (0..<8 as Range<UInt64>).map { "\(perm($0)) " }.joined(),
            "perm(1e6,1) fold31=\(hexadecimal(fold)) dups=\(duplicates)",
        ]
    }

    private static func keys() -> String {
        let key = Scratch(BenchKeys.length)
        func text() -> String { unsafe String(decoding: key.readable(BenchKeys.length), as: UTF8.self) }
        unsafe BenchKeys.present(0, into: key.bytes)
        var line = "key_of(0)=\(text())"
        unsafe BenchKeys.present(999_999, into: key.bytes)
        line += " key_of(999999)=\(text())"
        unsafe BenchKeys.missing(7, into: key.bytes)
        return line + " missing_key_of(7)=\(text())"
    }

    private static func values(_ length: Int) -> [String] {
        let value = Scratch(length)
        unsafe BenchValues.make(id: 12345, version: 0, into: value.prefix(length))
        let head = unsafe value.readable(32).map { String(format: "%02x", $0) }.joined()
        var sum: UInt64 = 0
        for id in 0..<1_000_000 as Range<UInt64> {
            unsafe BenchValues.make(id: id, version: 0, into: value.prefix(length))
            sum &+= unsafe BenchValues.sumWords(value.readable(length))
        }
        return [
            "value(12345,0,\(length))[0..32)=\(head)",
            "sum of sum_words(value(i,0,\(length))), i<1e6 = \(hexadecimal(sum))",
        ]
    }

    private static func zipf() -> [String] {
        let zipf = Zipf(1_000_000)
        var rng = Rng(seed: 42)
        let ranks = (0..<12).map { _ in "\(zipf(rng.unit())) " }.joined()
        rng = Rng(seed: 1)
        var first = 0
        var hundred = 0
        var tenThousand = 0
        for _ in 0..<1_000_000 {
            let rank = zipf(rng.unit())
            if rank == 0 { first += 1 }
            if rank < 100 { hundred += 1 }
            if rank < 10_000 { tenThousand += 1 }
        }
        return [
            "zetan(1e6,.99)=\(String(format: "%.12g", zipf.zetan)) zipf ranks=\(ranks)",
            "zipf share of rank 0 / <100 / <10000 over 1e6 draws (seed 1) = \(first) \(hundred) \(tenThousand)",
        ]
    }

    private static func hexadecimal(_ value: UInt64) -> String { String(format: "%016llx", value) }
}
