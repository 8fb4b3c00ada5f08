import Foundation

/// One workload's result: fields in the order and spelling of the peers' driver, as a line of JSON or for people.
struct ResultLine: Sendable {
    private(set) var fields: [(name: String, text: String)] = []

    mutating func add(_ name: String, _ value: String) { fields.append((name, JSONText.quoted(value))) }
    mutating func add(_ name: String, _ value: UInt64) { fields.append((name, "\(value)")) }
    mutating func add(_ name: String, _ value: Int) { fields.append((name, "\(value)")) }
    mutating func add(_ name: String, _ value: Bool) { fields.append((name, value ? "true" : "false")) }
    /// Six significant digits. What is no number (a rate over no time) is written as 0, since JSON has no word for it.
    mutating func add(_ name: String, _ value: Double) {
        fields.append((name, value.isFinite ? String(format: "%.6g", value) : "0"))
    }
    mutating func add(_ other: ResultLine) { fields += other.fields }

    var json: String { "{" + fields.map { "\"\($0.name)\": \($0.text)" }.joined(separator: ", ") + "}" }

    /// The fields a person looks for first.
    var summary: String {
        let shown = [
            "workload", "backend", "keys", "threads", "ops", "secs", "ops_s", "mean_us", "p50_us", "p99_us", "max_us",
            "found", "bad",
            "check", "entries_s", "writes_s", "missing", "open_ms", "write_amp", "space_amp", "ns_op",
            "of_mutex", "of_actor", "phase", "hit_ratio", "memory_hit_ratio", "hit_ratio_before", "warm_95_s",
            "cold_95_s",
            "warm_memory_95_s", "cold_memory_95_s", "late_p50_ms", "late_p99_ms", "quiet_late_p99_ms", "rss_anon_kb",
            "disk_blocks", "files", "descriptors", "grown",
        ]
        let named = fields.filter { shown.contains($0.name) }
        return named.map { "\($0.name) \($0.text.filter { $0 != "\"" })" }.joined(separator: "  ")
    }

    subscript(name: String) -> String? { fields.first { $0.name == name }?.text }
}

/// A measured stretch of work.
struct Measurement: Sendable {
    var before = ProcessAccounting()
    var after = ProcessAccounting()
    var latencies = Histogram()
    var mappedBytes: UInt64 = 0
    var seconds: Double { Double(after.nanoseconds &- before.nanoseconds) * 1e-9 }
}

extension ResultLine {
    /// The fields that every workload has.
    init(
        workload: String, backend: String, version: String, options: BenchOptions, measurement: Measurement,
        operations: UInt64, userBytes: UInt64, anonymousPeakKibibytes: UInt64
    ) {
        let (before, after) = (measurement.before, measurement.after)
        let seconds = measurement.seconds
        add("backend", backend)
        add("config", options.label)
        add("version", version)
        add("workload", workload)
        add("n", options.records)
        add("v", options.valueLength)
        add("threads", options.threads)
        add("rep", options.repetition)
        add("sync", options.isSynced)
        add("cold", options.isCold)
        add("ops", operations)
        add("secs", seconds)
        add("ops_s", Double(operations) / seconds)
        add("mb_s", Double(userBytes) / 1e6 / seconds)
        add(latencies: measurement.latencies)
        add("user_bytes", userBytes)
        add("wchar", after.wchar &- before.wchar)
        add("write_bytes", after.writeBytes &- before.writeBytes)
        add("read_bytes", after.readBytes &- before.readBytes)
        add("mapped_bytes", measurement.mappedBytes)
        let cpu = after.ownSeconds - before.ownSeconds
        add("cpu_s", cpu)
        add("cpu_us_op", cpu * 1e6 / Double(max(operations, 1)))
        let status = ProcFile.text("/proc/self/status")
        add("rss_peak_kb", ProcFile.number(after: "VmHWM:", in: status))
        add("rss_anon_kb", ProcFile.number(after: "RssAnon:", in: status))
        add("rss_anon_peak_kb", anonymousPeakKibibytes)
        add("foreign_cores", (after.busySeconds - before.busySeconds - cpu) / seconds)
        add("steal_cores", (after.stolenSeconds - before.stolenSeconds) / seconds)
        add("psi_cpu", Double(after.pressureMicroseconds &- before.pressureMicroseconds) * 1e-6 / seconds)
    }

    private mutating func add(latencies: Histogram) {
        guard latencies.count > 0 else { return }
        add("mean_us", latencies.mean / 1e3)
        add("p50_us", latencies.quantile(0.5) / 1e3)
        add("p99_us", latencies.quantile(0.99) / 1e3)
        add("p999_us", latencies.quantile(0.999) / 1e3)
        add("max_us", Double(latencies.max) / 1e3)
    }
}
