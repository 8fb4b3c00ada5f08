import Foundation
import Synchronization
import Testing

@testable import VarveCLI

/// The workloads do the work of the peers' driver: their sums over a store in memory equal those that the driver
/// printed over LevelDB.
@Suite struct BenchWorkloadTests {
    private let scratch: Binary.Scratch

    init() throws { scratch = try Binary.Scratch() }

    private func folder() throws -> BenchFolder { try BenchFolder(scratch.path + "/\(UUID().uuidString)") }

    private func run(
        _ names: [String], _ backend: MemoryBackend = MemoryBackend(), in folder: BenchFolder? = nil,
        _ adapt: (inout BenchOptions) -> Void = { _ in }
    ) throws -> ResultLine {
        var options = BenchOptions()
        options.records = 1000
        options.operations = nil
        options.warmsUp = false
        adapt(&options)
        let folder = try folder ?? self.folder()
        var last = ResultLine()
        for workload in names.flatMap(Workload.named) {
            let runner = BenchRunner(backend: backend, folder: folder, options: options, childArguments: []) { _ in }
            last = try runner.run(workload)
        }
        return last
    }

    @Test(arguments: ["fillseq", "fillrandom", "fillbatch"], [1, 3])
    func fillsMakeTheSameStore(_ fill: String, _ threads: Int) throws {
        let line = try run([fill, "scan"]) { $0.threads = threads }
        #expect(line["ops"] == "1000")
        #expect(line["check"] == "\"9691f681b7814013\"")
    }

    @Test func overwrite3MakesTheSameStore() throws {
        #expect(try run(["fillrandom", "overwrite3", "scan"])["check"] == "\"d9e3574b633ece62\"")
    }

    @Test func seeksReadTheSameEntries() throws {
        let line = try run(["fillrandom", "seekrandom"]) { $0.operations = 500 }
        // The fill obeys --ops too, so the store is filled again by the bench itself.
        #expect(line["entries"] == "47353")
    }

    @Test(arguments: [("readrandom", "3000"), ("readmissing", "0"), ("readzipf", "3000")])
    func readsFindWhatIsThere(_ name: String, _ found: String) throws {
        let line = try run([name]) {
            $0.operations = 3000
            $0.threads = 2
        }
        #expect(line["found"] == found)
        #expect(line["bad"] == "0")
        #expect(line["ops"] == "3000")
    }

    @Test func wrongValuesAreCounted() throws {
        let backend = MemoryBackend()
        let folder = try folder()
        _ = try run(["fillseq"], backend, in: folder)
        backend.store.spoil()
        #expect(try run(["readrandom"], backend, in: folder) { $0.operations = 100 }["bad"] == "100")
    }

    @Test func ycsbDoesTheSameWork() throws {
        let backend = MemoryBackend()
        let folder = try folder()
        for (mix, userBytes, missing, entries, check) in [
            ("a", "348000", "0", "1000", "a8589ca55faf53e6"),
            ("e", "16408664", "0", "1156", "9b4586fe129c0bbd"),
            ("d", "348000", "0", "1287", "58ff33c25fa866ad"),
            ("f", "522232", "0", "1287", "58ff33c25fa866ad"),
        ] {
            let line = try run(["ycsb_\(mix)"], backend, in: folder) { $0.operations = 3000 }
            #expect(line["user_bytes"] == userBytes, "ycsb_\(mix)")
            #expect(line["missing"] == missing, "ycsb_\(mix)")
            let (_, sum) = try ScanWorkload.full(backend.store)
            #expect("\(sum.entries)" == entries, "ycsb_\(mix)")
            #expect(String(format: "%016llx", sum.words) == check, "ycsb_\(mix)")
        }
    }

    @Test func readWhileWritingReadsAndWrites() throws {
        let line = try run(["readwhilewriting"]) {
            $0.seconds = 0.05
            $0.rate = 0
        }
        #expect(line["workload"] == "\"readwhilewriting_max\"")
        #expect(line["ops"] != "0")
        #expect(line["writes"] != "0")
    }

    @Test func aLineHoldsEveryFieldOfTheSchema() throws {
        let line = try run(["fillrandom"]) { $0.settles = true }
        for field in [
            "backend", "config", "version", "workload", "n", "v", "threads", "ops", "secs", "ops_s", "mean_us",
            "p50_us", "p99_us", "p999_us", "max_us", "user_bytes", "wchar", "write_bytes", "read_bytes", "cpu_us_op",
            "rss_peak_kb", "rss_anon_peak_kb", "mapped_bytes", "write_amp", "space_amp", "settle_s",
        ] { #expect(line[field] != nil, "\(field)") }
        let object = try JSONSerialization.jsonObject(with: Data(line.json.utf8)) as? [String: Any]
        #expect(object?.count == line.fields.count)
    }

    @Test func aFolderThatTheBenchDidNotMakeIsRefused() throws {
        let path = scratch.path + "/\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try Data().write(to: URL(fileURLWithPath: path + "/CURRENT"))
        #expect(throws: UsageFailure.self) { try BenchFolder(path) }
        try FileManager.default.removeItem(atPath: path + "/CURRENT")
        _ = try BenchFolder(path)
        _ = try BenchFolder(path)
    }

    @Test(arguments: ["ycsb-a", "ycsba", "YCSB_A", "ycsb_a"])
    func namesAreForgiving(_ name: String) { #expect(Workload.named(name) == [.ycsb(.a)]) }

    @Test func ycsbStandsForAll() { #expect(Workload.named("ycsb").count == 7) }
}
