import ArgumentParser
import Foundation

/// `varve bench`: measures the engine with the workloads that the drivers of other stores run too.
struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Measure the engine.",
        discussion: """
            Workloads: \(Workload.names.map(\.0).joined(separator: " ")); \
            ycsb stands for all of its own. Each fill begins with an empty store; reads fill the store first where it \
            does not hold the records yet. The folder is the bench's own: one that holds anything else is refused.
            """)

    @Argument(help: ArgumentHelp("What to run, in this order.", valueName: "workload"))
    var workloads: [String] = []

    @Option(help: ArgumentHelp("The bench's folder.", valueName: "folder"))
    var dir = "./varve-bench"
    @Flag(help: "Print one line of JSON for each workload.")
    var json = false
    @Flag(help: "Print test vectors of the generators.")
    var selftest = false
    @Flag(help: "Run against a store that does nothing: the cost of the driver.")
    var null = false

    @Option(help: "Records in the store.")
    var n: UInt64 = 1_000_000
    @Option(name: [.customLong("value-size"), .customLong("v")], help: "Bytes of a value.")
    var valueSize = 100
    @Option(help: "Threads that work at once.")
    var threads = 1
    @Option(help: "Operations (0: as the workload has it).")
    var ops: UInt64 = 0
    @Option(help: "Entries of a batch in fillbatch.")
    var batch = 100
    @Option(help: "Seconds that readwhilewriting, cache_pool and each process of cache_restart run.")
    var seconds = 10.0
    @Option(help: "Puts a second in readwhilewriting (0: as fast as it can), requests a second in cache_restart.")
    var rate: UInt64 = 20_000
    @Option(help: "Seed of the random choices.")
    var seed: UInt64 = 42
    @Option(help: "What every put survives when it returns: synced or interval.")
    var durability = DurabilityChoice.interval
    @Flag(
        help: """
            Drop the kernel's page cache first (in cache_pool again and again), and read without warming up (needs root).
            """)
    var cold = false
    @Flag(help: "After a fill, wait for background work and report bytes written and on disk.")
    var settle = false
    @Flag(name: .customLong("no-warm"), help: "Do not warm up before reading.")
    var noWarm = false
    @Flag(
        help: """
            Exit with 1 where a hit costs more than beside an actor or a mutex it may (cache_hit), or timers are late \
            (cache_pool). For machines that do nothing else.
            """)
    var judge = false
    @Option(help: "A name for this configuration in the results.")
    var label = "default"
    @Option(help: "The number of this repetition in the results.")
    var rep = 0
    @Option(name: .customLong("cache-mb"), help: "Block cache in MiB.")
    var cacheMebibytes = 512
    @Option(name: .customLong("memtable-mb"), help: "Memtable in MiB.")
    var memtableMebibytes = 64
    @Option(help: "Compression of tables: lz4 or none.")
    var compression = Compression.lz4
    @Option(name: .customLong("recover-mib"), help: "MiB of records in recovery.")
    var recoverMebibytes: UInt64 = 256
    @Flag(name: .customLong("recovery-child"), help: .private)
    var isRecoveryChild = false
    @Option(name: .customLong("restart-child"), help: .private)
    var restartPhase: CacheRestartWorkload.Phase?

    enum Compression: String, ExpressibleByArgument, CaseIterable, Sendable { case lz4, none }

    func validate() throws {
        guard !selftest else { return }
        if workloads.isEmpty { throw ValidationError("Name at least one workload, or --selftest.") }
        if let unknown = workloads.first(where: { Workload.named($0).isEmpty }) {
            throw ValidationError(
                "There is no workload called '\(unknown)'; there are"
                    + " \(Workload.names.map(\.0).joined(separator: ", ")).")
        }
        try require(n >= 1 && n <= 1 << 40, "--n is a number of records from 1 to 2^40")
        try require(valueSize >= 8 && valueSize <= 64 << 20, "--value-size is a number of bytes from 8 to 64 MiB")
        try require(threads >= 1 && threads <= 1024, "--threads is a number from 1 to 1024")
        try require(batch >= 1 && batch <= 100_000, "--batch is a number from 1 to 100000")
        try require(seconds > 0 && seconds <= 86_400, "--seconds is a number above 0, at most a day")
        try require(cacheMebibytes >= 0 && cacheMebibytes <= 1 << 20, "--cache-mb is a number from 0 to 1048576")
        try require(
            memtableMebibytes >= 1 && memtableMebibytes <= 16_384, "--memtable-mb is a number from 1 to 16384")
        try require(
            recoverMebibytes >= 1 && recoverMebibytes <= 768, "--recover-mib is a number from 1 to 768")
    }

    private func require(_ condition: Bool, _ rule: String) throws {
        guard condition else { throw ValidationError(rule + ".") }
    }

    func run() async throws {
        if selftest {
            var output = StandardOutput()
            try output.write(Selftest.text().utf8)
            return try output.flush()
        }
        if null { try await run(on: NullBackend()) } else { try await run(on: EngineBackend()) }
    }

    private func run(on backend: some BenchBackend) async throws {
        let folder = try BenchFolder(dir)
        let options = options
        if isRecoveryChild {
            return try RecoveryWorkload.fillAndDie(backend, folder, RecoveryWorkload.options(options))
        }
        if let restartPhase { return try await serve(restartPhase, folder) }
        for workload in workloads.flatMap(Workload.named) {
            if case .cache(let work) = workload {
                try await run(work, folder)
                continue
            }
            let runner = BenchRunner(
                backend: backend, folder: folder, options: options, childArguments: childArguments,
                remark: { StandardError.print("bench: \($0)") })
            try show(try runner.run(workload))
        }
    }

    private func run(_ work: Workload.CacheWork, _ folder: BenchFolder) async throws {
        switch work {
        case .hit: try await CacheHitWorkload(options: options).run(show)
        case .zipf: try show(try await CacheReadWorkload(options: options, folder: folder).run())
        case .pool: try await CachePoolWorkload(options: options, folder: folder).run(show)
        case .soak: try await CacheSoakWorkload(options: options, folder: folder).run(show)
        case .restart:
            let arguments = restartArguments
            try CacheRestartWorkload(options: options, folder: folder) { arguments + ["\($0)"] }.run(show)
        }
    }

    /// One process of `cache_restart`.
    private func serve(_ phase: CacheRestartWorkload.Phase, _ folder: BenchFolder) async throws {
        let traffic = RestartTraffic(options: options, directory: folder.storeDirectory, phase: phase)
        let encoder = JSONEncoder()
        try await traffic.serveAndDie { slice in
            try StandardOutput.print(String(decoding: try encoder.encode(slice), as: UTF8.self))
        }
    }

    private func show(_ line: ResultLine) throws { try StandardOutput.print(json ? line.json : line.summary) }

    private var options: BenchOptions {
        var options = BenchOptions()
        options.directory = dir
        options.records = n
        options.valueLength = valueSize
        options.threads = threads
        options.operations = ops == 0 ? nil : ops
        options.seed = seed
        options.batch = batch
        options.rate = rate
        options.seconds = seconds
        options.isSynced = durability == .synced
        options.isCold = cold
        options.settles = settle
        options.warmsUp = !noWarm
        options.judges = judge
        options.label = label
        options.repetition = rep
        options.recoverMebibytes = recoverMebibytes
        options.cacheMebibytes = cacheMebibytes
        options.memtableMebibytes = memtableMebibytes
        options.compresses = compression == .lz4
        return options
    }

    /// This command once more, for a child of `cache_restart`, whose phase follows.
    private var restartArguments: [String] {
        [
            "bench", "cache_restart", "--dir", dir, "--value-size", "\(valueSize)", "--n", "\(n)", "--rate", "\(rate)",
            "--seconds", "\(seconds)", "--seed", "\(seed)", "--restart-child",
        ]
    }

    /// This command once more, for the child of `recovery`.
    private var childArguments: [String] {
        [
            "bench", "recovery", "--recovery-child", "--dir", dir, "--value-size", "\(valueSize)", "--recover-mib",
            "\(recoverMebibytes)", "--cache-mb", "\(cacheMebibytes)", "--memtable-mb", "\(memtableMebibytes)",
            "--durability", durability.rawValue, "--compression", compression.rawValue,
        ] + (null ? ["--null"] : [])
    }
}

extension CacheRestartWorkload.Phase: ExpressibleByArgument {}
