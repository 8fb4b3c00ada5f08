/// Opens a store that was closed cleanly and gets one key.
enum OpenWorkload {
    struct Result {
        var measurement: Measurement
        var openMilliseconds: Double
        var firstGetMilliseconds: Double
        var version: String
    }

    static func run<Backend: BenchBackend>(
        _ backend: Backend, _ folder: BenchFolder, _ options: BenchOptions
    ) throws -> Result {
        if options.isCold { try PageCache.drop() }
        var measurement = Measurement()
        measurement.before = .now()
        let store = try backend.open(folder.storeDirectory, options)
        let opened = BenchClock.now()
        let isThere = try get(options.records / 2, store, options) != nil
        measurement.after = .now()
        let version = store.version
        try store.close()
        guard isThere else { throw BenchFailure("open: the key that was read is missing") }
        return Result(
            measurement: measurement, openMilliseconds: milliseconds(measurement.before.nanoseconds, opened),
            firstGetMilliseconds: milliseconds(measurement.before.nanoseconds, measurement.after.nanoseconds),
            version: version)
    }

    static func milliseconds(_ from: UInt64, _ to: UInt64) -> Double { Double(to &- from) * 1e-6 }

    /// Gets one present id: whether its value is right; nil where it is missing.
    static func get<Store: BenchStore>(_ id: UInt64, _ store: Store, _ options: BenchOptions) throws -> Bool? {
        let session = try store.makeSession()
        let key = Scratch(BenchKeys.length)
        let buffer = Scratch(options.readBufferBytes)
        unsafe BenchKeys.present(id, into: key.bytes)
        guard let length = unsafe try session.get(key.readable(BenchKeys.length), into: buffer.bytes) else {
            return nil
        }
        return unsafe BenchValues.isRight(buffer.readable(length), length: options.valueLength, id: id)
    }
}
