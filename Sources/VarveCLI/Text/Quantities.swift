/// Lengths of time as people write them: `250ms`, `90s`, `5m`, `1h30m`, `7d`. Units from large to small, each once.
enum DurationText {
    private static let units: [(name: String, nanoseconds: Int64)] = [
        ("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000),
        ("ms", 1_000_000), ("us", 1000), ("ns", 1),
    ]

    /// Nanoseconds; nil for text that is no duration, is zero or negative, or does not fit.
    static func parse(_ text: String) -> Int64? {
        var total: Int64 = 0
        var rest = Substring(text)
        var smallest = Int64.max
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isASCII && $0.isNumber }
            rest = rest.dropFirst(digits.count)
            let name = rest.prefix { $0.isLetter }
            rest = rest.dropFirst(name.count)
            guard let count = Int64(digits), let unit = units.first(where: { $0.name == name }),
                unit.nanoseconds < smallest
            else { return nil }
            smallest = unit.nanoseconds
            let (part, tooLarge) = count.multipliedReportingOverflow(by: unit.nanoseconds)
            let (sum, overflow) = total.addingReportingOverflow(part)
            guard !tooLarge, !overflow else { return nil }
            total = sum
        }
        return total > 0 ? total : nil
    }

    /// For reports: the two largest units that say something.
    static func describe(nanoseconds: Int64) -> String {
        var rest = max(0, nanoseconds)
        var parts: [String] = []
        for unit in units where rest >= unit.nanoseconds && parts.count < 2 {
            parts.append("\(rest / unit.nanoseconds)\(unit.name)")
            rest %= unit.nanoseconds
        }
        return parts.isEmpty ? "0s" : parts.joined()
    }
}

/// Sizes as people write them: `4096`, `64k`, `512MiB`, `1.5g`. Units are powers of 1024.
enum SizeText {
    /// Bytes; nil for text that is no size or does not fit.
    static func parse(_ text: String) -> UInt64? {
        let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        guard let factor = factor(text.dropFirst(digits.count).lowercased()) else { return nil }
        if let whole = UInt64(digits) {
            let (bytes, overflow) = whole.multipliedReportingOverflow(by: factor)
            return overflow ? nil : bytes
        }
        guard factor > 1, let number = Double(digits), number >= 0 else { return nil }
        let bytes = (number * Double(factor)).rounded()
        return bytes < 0x1p63 ? UInt64(bytes) : nil
    }

    private static func factor(_ unit: String) -> UInt64? {
        switch unit {
        case "", "b": 1
        case "k", "kb", "kib": 1 << 10
        case "m", "mb", "mib": 1 << 20
        case "g", "gb", "gib": 1 << 30
        case "t", "tb", "tib": 1 << 40
        default: nil
        }
    }

    static func describe(_ bytes: UInt64) -> String {
        let names = ["B", "KiB", "MiB", "GiB", "TiB"]
        var value = Double(bytes)
        var unit = 0
        while value >= 1024, unit + 1 < names.count {
            value /= 1024
            unit += 1
        }
        if unit == 0 { return "\(bytes) B" }
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10) \(names[unit])"
    }
}
