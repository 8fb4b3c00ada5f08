import Foundation

/// A child process fills a store without any flush and kills itself; then the time until the store is open again is
/// taken and every record counted.
enum RecoveryWorkload {
    struct Result {
        var measurement: Measurement
        var openMilliseconds: Double
        var firstGetMilliseconds: Double
        var blocksBefore: UInt64
        var records: UInt64
        var version: String
    }

    /// The options of both halves: as many records as fit the size, and a memtable that holds them all.
    static func options(_ options: BenchOptions) -> BenchOptions {
        var adapted = options
        adapted.records = max(1, (options.recoverMebibytes << 20) / options.recordBytes)
        adapted.memtableMebibytes = 1024
        return adapted
    }

    /// The child's half: it does not return.
    static func fillAndDie<Backend: BenchBackend>(
        _ backend: Backend, _ folder: BenchFolder, _ options: BenchOptions
    ) throws {
        let store = try backend.open(folder.storeDirectory, options)
        let session = try store.makeSession()
        let order = Perm(options.records, seed: 1)
        var entries = BatchScratch(capacity: 100, valueLength: options.valueLength)
        var index: UInt64 = 0
        while index < options.records {
            entries.removeAll()
            let end = min(index + 100, options.records)
            for place in index..<end { entries.add(id: order(place), version: 0) }
            try entries.write(to: session)
            index = end
        }
        kill(getpid(), SIGKILL)
    }

    /// The parent's half. `arguments` make the child run `fillAndDie` in the same folder.
    static func run<Backend: BenchBackend>(
        _ backend: Backend, _ folder: BenchFolder, _ options: BenchOptions, childArguments: [String]
    ) throws -> Result {
        let child = Process()
        child.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        child.arguments = childArguments
        try child.run()
        child.waitUntilExit()
        guard child.terminationReason == .uncaughtSignal, child.terminationStatus == SIGKILL else {
            throw BenchFailure("recovery: the child that should have killed itself ended otherwise")
        }
        let blocks = FolderSize.measure(folder.storeDirectory).blocks
        if options.isCold { try PageCache.drop() } else { sync() }

        var measurement = Measurement()
        measurement.before = .now()
        let store = try backend.open(folder.storeDirectory, options)
        let opened = BenchClock.now()
        let last = Perm(options.records, seed: 1)(options.records - 1)
        let lastIsRight = try OpenWorkload.get(last, store, options)
        measurement.after = .now()
        guard lastIsRight == true else { throw BenchFailure("recovery: the last record is lost or wrong") }
        var sum = ScanSum()
        unsafe try store.makeSession().scan(from: nil, limit: .max, into: &sum)
        guard sum.entries == options.records else {
            throw BenchFailure("recovery: \(sum.entries) of \(options.records) records are there")
        }
        let version = store.version
        try store.close()
        return Result(
            measurement: measurement,
            openMilliseconds: OpenWorkload.milliseconds(measurement.before.nanoseconds, opened),
            firstGetMilliseconds: OpenWorkload.milliseconds(
                measurement.before.nanoseconds, measurement.after.nanoseconds),
            blocksBefore: blocks, records: options.records, version: version)
    }
}
