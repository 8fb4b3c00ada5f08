import Foundation
import Testing

@testable import VarveCLI

/// The bench's workloads through the cache: what they say of a run, and that they notice what they look for.
@Suite struct CacheWorkloadTests {
    private func samples(_ change: (Int, inout SoakSample) -> Void) -> [SoakSample] {
        (0..<40).map { index in
            var sample = SoakSample()
            sample.anonymousKibibytes = 100_000
            sample.diskBytes = 20 << 20
            (sample.files, sample.descriptors, sample.threads) = (10, 20, 12)
            change(index, &sample)
            return sample
        }
    }

    @Test func nothingGrowsWhereTheFirstQuarterFillsUp() {
        #expect(SoakVerdict.growth(in: samples { $1.anonymousKibibytes = UInt64(min($0, 10)) * 10_000 }).isEmpty)
        // Ups and downs are no growth.
        #expect(SoakVerdict.growth(in: samples { $1.files = 30 + $0 % 7 }).isEmpty)
    }

    @Test func whatGrowsIsNamed() {
        #expect(SoakVerdict.growth(in: samples { $1.anonymousKibibytes += UInt64($0) * 2000 }).count == 1)
        #expect(SoakVerdict.growth(in: samples { $1.descriptors += $0 }).first?.contains("descriptors") == true)
        #expect(SoakVerdict.growth(in: samples { $1.files += $0 * 2 }).first?.contains("files") == true)
        #expect(SoakVerdict.growth(in: samples { $1.threads += $0 }).first?.contains("threads") == true)
        #expect(!SoakVerdict.growth(in: []).isEmpty)
    }

    @Test func whatIsBeyondABoundOnceIsNamed() {
        func breaches(_ change: (Int, inout SoakSample) -> Void) -> [String] {
            SoakVerdict.breaches(in: samples(change), memoryBytes: 1000, diskBytes: 24 << 20)
        }
        #expect(breaches { $1.memoryWeight = 1000 }.isEmpty)
        #expect(breaches { $1.memoryWeight = $0 == 17 ? 1001 : 900 }.first?.contains("memory held 1001") == true)
        #expect(breaches { $1.storeBytes = 27 << 20 }.isEmpty)
        #expect(breaches { $1.storeBytes = UInt64($0 == 3 ? 28 : 20) << 20 }.first?.contains("store held") == true)
        #expect(breaches { $1.diskBytes = 36 << 20 }.isEmpty)
        #expect(breaches { $1.diskBytes = UInt64($0 == 39 ? 37 : 20) << 20 }.first?.contains("folder held") == true)
    }

    @Test func aSoakThatMetNothingIsNoVerdict() {
        #expect(SoakVerdict.unmet(evictions: 1, expired: 1, diskEvictions: 1).isEmpty)
        #expect(
            SoakVerdict.unmet(evictions: 1, expired: 0, diskEvictions: 1).first?.contains("nothing expired") == true)
        #expect(SoakVerdict.unmet(evictions: 0, expired: 0, diskEvictions: 0).count == 3)
    }

    @Test func latenessIsJudgedWhereItCanBeTold() {
        #expect(CachePoolWorkload.missed(late: 19.9, quiet: 1, diskHits: 5, writes: 5) == nil)
        #expect(CachePoolWorkload.missed(late: 20, quiet: 1, diskHits: 5, writes: 5)?.contains("20.0 ms late") == true)
        #expect(
            CachePoolWorkload.missed(late: 1, quiet: 1, diskHits: 0, writes: 5)?.contains("nothing was read") == true)
        #expect(CachePoolWorkload.missed(late: 30, quiet: 25, diskHits: 5, writes: 5)?.contains("cannot tell") == true)
    }

    @Test func whatAHitMayCostIsJudged() {
        let costs = ["actor": 100.0, "mutex": 50, "cache_value": 90, "cache_load": 40]
        #expect(HitBars.missed(costs, threads: 1).isEmpty)
        // On several threads a mutex is to be overtaken.
        let missed = HitBars.missed(costs, threads: 2)
        #expect(missed.count == 1)
        #expect(missed.first?.contains("cache_value costs 1.8 of mutex") == true)
        #expect(HitBars.missed(["actor": 100, "mutex": 10, "cache_value": 101], threads: 1).count == 2)
    }

    @Test func aRestartIsHeldAgainstTheEndOfWhatWasBefore() {
        func slices(_ ratios: [Double]) -> [TrafficSlice] {
            ratios.enumerated().map { index, ratio in
                var slice = TrafficSlice()
                slice.seconds = Double(index + 1) / 4
                slice.requests = 1000
                slice.hits = UInt64(ratio * 1000)
                slice.memoryHits = UInt64(ratio * 500)
                return slice
            }
        }
        let summary = CacheRestartSummary([
            .before: slices([0.1, 0.2, 0.5, 0.6, 0.7, 0.8, 0.9, 0.9]), .warm: slices([0.8, 0.85, 0.86]),
            .cold: slices([0.1, 0.2, 0.3]),
        ])
        #expect(summary.hitRatioBefore == 0.9)
        #expect(summary.memoryHitRatioBefore == 0.45)
        #expect(summary.warm == 0.75)
        #expect(summary.cold == nil)
        #expect(summary.line(BenchOptions())["cold_95_s"] == nil)
        func missed(_ last: Double, _ change: (inout TrafficSlice) -> Void = { _ in }) -> String? {
            var warm = slices([0.5, last])
            change(&warm[1])
            return CacheRestartSummary([.before: slices([0.9]), .warm: warm]).missed
        }
        let late = "the warm start did not reach 95 % of the earlier hit ratio"
        #expect(missed(0.9) == nil)
        #expect(missed(0.85) == late + " in 10 s")
        #expect(missed(0.9) { $0.seconds = 10.1 } == late + " in 10 s")
        #expect(missed(0.9) { $0.memoryHits = 400 } == late + " of memory in 10 s")
        // One request of a slice is no ratio, and what a cold start does as well is no warmth.
        #expect(missed(0.9) { ($0.requests, $0.hits, $0.memoryHits) = (1, 1, 1) } == late + " in 10 s")
        let both = CacheRestartSummary([.before: slices([0.9]), .warm: slices([0.9]), .cold: slices([0.9])])
        #expect(both.missed?.contains("no later than the warm one") == true)
        let idle = CacheRestartSummary([.before: slices([0]), .warm: slices([0.9])])
        #expect(idle.missed?.contains("too few requests or hits") == true)
    }

    @Test func aShortSoakDoesEveryOperation() throws {
        let scratch = try Binary.Scratch()
        let outcome = try Binary.run([
            "bench", "cache-soak", "--dir", scratch.path + "/bench", "--n", "500", "--value-size", "100", "--ops",
            "12000",
            "--json",
        ])
        // Twelve thousand operations are too few to tell growth, and to fill anything, so either verdict is right; what was
        // done is not.
        let isUntold = outcome.errors.contains("grew") || outcome.errors.contains("too few operations")
        #expect(outcome.status == 0 || isUntold, "\(outcome.errors)")
        #expect(!outcome.errors.contains("held"), "\(outcome.errors)")
        let last = try #require(outcome.text.split(separator: "\n").last)
        let line = try #require(try JSONSerialization.jsonObject(with: Data(last.utf8)) as? [String: Any])
        #expect(line["ops"] as? Int == 12_000)
        #expect(line["loads"] as? Int ?? 0 > 0)
        #expect(line["failed_loads"] as? Int ?? 0 > 0)
    }

    @Test func hitsAreMeasuredOfEveryContender() throws {
        let scratch = try Binary.Scratch()
        let outcome = try Binary.run([
            "bench", "cache-hit", "--dir", scratch.path + "/bench", "--n", "200", "--ops", "2000", "--json",
        ])
        #expect(outcome.status == 0, "\(outcome.errors)")
        var seen: [String: Int] = [:]
        for line in outcome.text.split(separator: "\n") {
            let measured = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
            #expect(measured["ns_op"] as? Double ?? 0 > 0)
            seen[measured["backend"] as? String ?? "", default: 0] += 1
        }
        let caches = ["value", "load", "loading", "in_memory", "expiring", "tagged", "idle"].map { "cache_" + $0 }
        // On one thread and two, by numbers and by strings.
        #expect(seen == Dictionary(uniqueKeysWithValues: (caches + ["actor", "mutex"]).map { ($0, 4) }))
    }

    @Test func timersAreHeldAgainstAQuietPool() throws {
        let scratch = try Binary.Scratch()
        let outcome = try Binary.run([
            "bench", "cache-pool", "--dir", scratch.path + "/bench", "--n", "2000", "--seconds", "0.5", "--json",
        ])
        #expect(outcome.status == 0, "\(outcome.errors)")
        let line = try #require(try JSONSerialization.jsonObject(with: Data(outcome.output)) as? [String: Any])
        #expect(line["timers"] as? Int ?? 0 > 0)
        #expect(line["writes"] as? Int ?? 0 > 0)
        #expect(line["disk_hits"] as? Int ?? 0 > 0)
    }
}
