import Testing

@testable import VarveCLI

/// Durations and sizes as people write them.
@Suite struct QuantityTests {
    @Test(
        arguments: [
            ("90s", 90_000_000_000), ("5m", 300_000_000_000), ("1h30m", 5_400_000_000_000), ("250ms", 250_000_000),
            ("1d", 86_400_000_000_000), ("1m1ms", 60_001_000_000), ("007s", 7_000_000_000),
        ] as [(String, Int64)])
    func durations(_ text: String, _ nanoseconds: Int64) { #expect(DurationText.parse(text) == nanoseconds) }

    @Test(arguments: [
        "", "90", "s", "0s", "-5s", "5x", "1m1h", "1s1s", "1.5s", "99999999999999d", "9223372036854775807s", "5 s",
        "٣s",
    ])
    func noDurations(_ text: String) { #expect(DurationText.parse(text) == nil) }

    @Test func durationsDescribed() {
        #expect(DurationText.describe(nanoseconds: 5_400_000_000_000) == "1h30m")
        #expect(DurationText.describe(nanoseconds: 0) == "0s")
    }

    @Test(
        arguments: [
            ("0", 0), ("4096", 4096), ("64k", 65_536), ("512MiB", 512 << 20), ("1.5g", 3 << 29), ("2TB", 2 << 40),
            ("7b", 7),
        ] as [(String, UInt64)])
    func sizes(_ text: String, _ bytes: UInt64) { #expect(SizeText.parse(text) == bytes) }

    @Test(arguments: ["", "k", "-1", "1.5", "1x", "99999999999999999999", "18446744073709551615k", "1e400g", "1..5g"])
    func noSizes(_ text: String) { #expect(SizeText.parse(text) == nil) }

    @Test func sizesDescribed() {
        #expect(SizeText.describe(1023) == "1023 B")
        #expect(SizeText.describe(1536) == "1.5 KiB")
    }
}
