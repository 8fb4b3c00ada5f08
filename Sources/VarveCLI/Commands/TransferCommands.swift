import ArgumentParser
import Foundation

/// `varve load`.
struct LoadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "load", abstract: "Store the entries of a file.",
        discussion: """
            Makes the store where there is none. Commits in the order of the input. How far it came is kept in the store \
            and known by the input's content, so a load that was killed goes on where it stopped, also under another \
            name or through a pipe. With --json a line {"acknowledged": N} says at least every 100 ms how many records \
            of the input are in the store.

            tsv: key, tab, value, with the escapes that scan writes. csv: two fields a record (RFC 4180). jsonl: objects \
            with "key" and "value" (or "key_base64", "value_base64"), and "expires_at" in nanoseconds since 1970.
            """)

    @OptionGroup var store: StoreOptions
    @OptionGroup var namespace: NamespaceOptions
    @Option(help: "The input's format: tsv, csv or jsonl.")
    var format: RecordFormat
    @Option(help: ArgumentHelp("Expire after this time, such as 90s, 5m or 1h30m.", valueName: "duration"))
    var ttl: DurationArgument?
    @Option(help: "What an acknowledged record survives: synced (a power cut) or interval (the default).")
    var durability: DurabilityChoice?
    @OptionGroup var promotion: PromotionOptions
    @Argument(help: "A file, or - for standard input.")
    var file: String

    func run() throws {
        let source = try Input.open(file)
        let counters = LoadCounters()
        let reporter = LoadReporter(counters, totalBytes: source.byteCount, json: store.json)
        let began = BenchClock.now()
        let options = WriteOptions(
            namespace: namespace.name, durability: durability, timeToLive: ttl?.nanoseconds)
        let summary = try StoreOpener.withStore(store.dir, .write, promotes: promotion.promote) { opened in
            reporter.start()
            defer { reporter.finish() }
            return try Loader(store: opened, format: format, options: options, counters: counters).load(source)
        }
        try report(summary, seconds: Double(BenchClock.now() - began) * 1e-9)
    }

    private func report(_ summary: Loader.Summary, seconds: Double) throws {
        let perSecond = UInt64(Double(summary.records - summary.resumedAt) / max(seconds, 1e-6))
        if store.json {
            let line = JSONValue.object([
                .init("records", .unsigned(summary.records)), .init("resumed_at", .unsigned(summary.resumedAt)),
                .init("bytes", .unsigned(summary.bytes)), .init("seconds", .number(seconds)),
                .init("records_s", .unsigned(perSecond)),
            ])
            return try StandardOutput.print(line.text)
        }
        let resumed = summary.resumedAt > 0 ? ", \(summary.resumedAt) of them by an earlier run" : ""
        try StandardOutput.print("loaded \(summary.records) records\(resumed), \(perSecond) records/s")
    }
}

/// `varve dump`.
struct DumpCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dump", abstract: "Print every entry of a namespace, in a form that load reads.",
        discussion: """
            All of one moment, in key order: keys and values, and with jsonl the times of expiry. What a cache keeps \
            beside them is not in it: tags, pins, source versions, until when a value is fresh, and keys that are known \
            to be absent.
            """)

    @OptionGroup var store: StoreOptions
    @OptionGroup var namespace: NamespaceOptions
    @Option(help: "The format: tsv, csv or jsonl.")
    var format = RecordFormat.tsv
    @Argument(help: "A file to write, or - for standard output.")
    var file = "-"

    func run() throws {
        if file != "-" { try Place.checkFile(file) }
        let bar = ProgressBar("dump", isShown: StandardError.isTerminal && file != "-")
        var count: UInt64 = 0
        var range = ScanRange()
        range.namespace = namespace.name
        try StoreOpener.withStore(store.dir, .read) { opened in
            try DumpOutput.write(file) { output in
                try opened.scan(range) { record in
                    try output.append { format.append(record, to: &$0) }
                    count += 1
                    bar.update(count, of: nil, "\(count) records, \(UInt64(Double(count) / max(bar.seconds, 1e-3)))/s")
                    return true
                }
            }
        }
        bar.finish()
        let perSecond = UInt64(Double(count) / max(bar.seconds, 1e-6))
        if file != "-" {
            let line = JSONValue.object([.init("records", .unsigned(count)), .init("records_s", .unsigned(perSecond))])
            try StandardOutput.print(store.json ? line.text : "dumped \(count) records, \(perSecond) records/s")
        }
    }
}

/// Where a dump goes: standard output, or a file that appears whole or not at all.
final class DumpOutput {
    private let path: String?
    private let handle: FileHandle
    private var buffer: [UInt8] = []

    /// Writes all that `body` appends. A file of that name is as it was where anything throws.
    static func write(_ file: String, _ body: (DumpOutput) throws -> Void) throws {
        let output = try DumpOutput(file)
        do {
            try body(output)
            try output.finish()
        } catch {
            output.abandon()
            throw error
        }
    }

    private init(_ file: String) throws {
        guard file != "-" else {
            (path, handle) = (nil, .standardOutput)
            return
        }
        path = file
        guard FileManager.default.createFile(atPath: file + ".tmp", contents: nil),
            let handle = FileHandle(forWritingAtPath: file + ".tmp")
        else { throw OutputFailure("cannot write \(file).tmp: \(Input.reason())") }
        self.handle = handle
    }

    func append(_ body: (inout [UInt8]) -> Void) throws {
        body(&buffer)
        if buffer.count >= 256 << 10 { try flush() }
    }

    private func abandon() {
        guard let path else { return }
        try? handle.close()
        _ = unsafe unlink(path + ".tmp")
    }

    private func finish() throws {
        try flush()
        guard let path else { return }
        try handle.synchronize()
        try handle.close()
        guard unsafe rename(path + ".tmp", path) == 0 else {
            throw OutputFailure("cannot name the dump \(path): \(Input.reason())")
        }
    }

    private func flush() throws {
        try handle.write(contentsOf: Data(buffer))
        buffer.removeAll(keepingCapacity: true)
    }
}
