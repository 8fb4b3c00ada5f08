import Foundation

/// Runs one workload, on a store that is opened for it alone, and gives its result line.
struct BenchRunner<Backend: BenchBackend> {
    let backend: Backend
    let folder: BenchFolder
    let options: BenchOptions
    let sampler = AnonymousMemorySampler()
    /// The arguments that make a child process fill the folder for `recovery`.
    let childArguments: [String]
    /// Remarks for the operator (what is prepared); never part of the results.
    let remark: (String) -> Void

    func run(_ workload: Workload) throws -> ResultLine {
        defer { sampler.stop() }
        try prepare(for: workload)
        switch workload {
        case .open: return try open()
        case .recovery: return try recovery()
        default: break
        }
        if options.isCold { try PageCache.drop() }
        let store = try backend.open(folder.storeDirectory, effectiveOptions(workload))
        let line: ResultLine
        do {
            if workload.warmsUp, options.warmsUp, !options.isCold { try ReadWorkload.warmUp(store, options) }
            line = try measure(workload, store)
        } catch {
            // The failure of the workload is what the user must see, not that of closing after it.
            try? store.close()
            throw error
        }
        try store.close()
        try noteContent(after: workload)
        return line
    }

    /// `fillsync` is synced whatever was asked for.
    private func effectiveOptions(_ workload: Workload) -> BenchOptions {
        var effective = options
        if workload == .fill(.fillsync) { effective.isSynced = true }
        return effective
    }

    private func measure(_ workload: Workload, _ store: Backend.Store) throws -> ResultLine {
        switch workload {
        case .fill(.overwrite3): return try overwriteThrice(store)
        case .fill(let fill): return try self.fill(fill, store)
        case .read(let pick):
            let result = try ReadWorkload(pick, options).run(store, options)
            let operations = ReadWorkload(pick, options).operations
            var line = line(
                workload.description, store.version, result.measurement, operations,
                result.found * options.recordBytes)
            line.add("found", result.found)
            line.add("bad", result.wrong)
            return line
        case .scan:
            let (measurement, sum) = try ScanWorkload.full(store)
            var line = line("scan", store.version, measurement, sum.entries, sum.bytes)
            line.add("check", String(format: "%016llx", sum.words))
            line.add("entries_s", Double(sum.entries) / measurement.seconds)
            return line
        case .seekRandom:
            let operations = options.operations ?? 20_000
            let (measurement, sum) = try ScanWorkload.seeks(store, options, operations: operations)
            var line = line("seekrandom100", store.version, measurement, operations, sum.bytes)
            line.add("entries", sum.entries)
            line.add("entries_s", Double(sum.entries) / measurement.seconds)
            return line
        case .readWhileWriting: return try readWhileWriting(store)
        case .ycsbLoad:
            let measurement = try YCSBWorkload.load(store, options)
            return line(
                "ycsb_load", store.version, measurement, options.records, options.records * options.recordBytes)
        case .ycsb(let mix): return try ycsb(mix, store)
        case .open, .recovery, .cache: preconditionFailure("they open the store themselves")
        }
    }

    private func line(
        _ workload: String, _ version: String, _ measurement: Measurement, _ operations: UInt64, _ userBytes: UInt64,
        _ effective: BenchOptions? = nil
    ) -> ResultLine {
        ResultLine(
            workload: workload, backend: Backend.Store.backendName, version: version, options: effective ?? options,
            measurement: measurement, operations: operations, userBytes: userBytes,
            anonymousPeakKibibytes: sampler.peakKibibytes)
    }
}

// MARK: - Workloads that write

extension BenchRunner {
    private func fill(_ fill: Workload.Fill, _ store: Backend.Store) throws -> ResultLine {
        let work = FillWorkload(fill, options)
        let mapped = store.mappedBytes
        let measurement = try work.run(store, options)
        let user = work.operations * options.recordBytes
        var line = line(
            work.name, store.version, measurement, work.operations, user, effectiveOptions(.fill(fill)))
        line.add("batch", work.batch)
        if options.settles {
            line.add(try settled(store, since: measurement, mapped, user: user))
        }
        return line
    }

    private func overwriteThrice(_ store: Backend.Store) throws -> ResultLine {
        let mapped = store.mappedBytes
        var total = Measurement()
        for pass in 1...3 as ClosedRange<UInt64> {
            let measurement = try FillWorkload(overwritePass: pass, options).run(store, options)
            if pass == 1 { total = measurement } else { total.latencies.merge(measurement.latencies) }
            total.after = measurement.after
        }
        total.mappedBytes = store.mappedBytes &- mapped
        let user = 3 * options.records * options.recordBytes
        var line = line("overwrite3", store.version, total, 3 * options.records, user)
        line.add(try settled(store, since: total, mapped, user: user))
        return line
    }

    /// Waits for the background work that the writes left, and counts all that was written for them.
    private func settled(
        _ store: Backend.Store, since measurement: Measurement, _ mapped: UInt64, user: UInt64
    ) throws -> ResultLine {
        try store.settle()
        let (now, start) = (ProcessAccounting.now(), measurement.before)
        let size = FolderSize.measure(folder.storeDirectory)
        let written = now.wchar &- start.wchar
        let mappedBytes = store.mappedBytes &- mapped
        var line = ResultLine()
        line.add("settle_s", Double(now.nanoseconds &- measurement.after.nanoseconds) * 1e-9)
        line.add("wchar_settled", written)
        line.add("write_bytes_settled", now.writeBytes &- start.writeBytes)
        line.add("mapped_bytes_settled", mappedBytes)
        line.add("cpu_s_settled", now.ownSeconds - start.ownSeconds)
        line.add("disk_apparent", size.apparent)
        line.add("disk_blocks", size.blocks)
        line.add("write_amp", Double(written &+ mappedBytes) / Double(user))
        line.add("write_amp_dirtied", Double(now.writeBytes &- start.writeBytes) / Double(user))
        line.add("space_amp", Double(size.blocks) / Double(options.records * options.recordBytes))
        return line
    }

    private func readWhileWriting(_ store: Backend.Store) throws -> ResultLine {
        let result = try ReadWhileWriting(options: options).run(store)
        let name = options.rate > 0 ? "readwhilewriting" : "readwhilewriting_max"
        var line = line(
            name, store.version, result.measurement, result.reads, result.reads * options.recordBytes)
        line.add("rate", options.rate)
        line.add("writes", result.writes)
        line.add("writes_s", Double(result.writes) / result.measurement.seconds)
        line.add("w_p50_us", result.writeLatencies.quantile(0.5) / 1e3)
        line.add("w_p99_us", result.writeLatencies.quantile(0.99) / 1e3)
        line.add("w_p999_us", result.writeLatencies.quantile(0.999) / 1e3)
        return line
    }

    private func ycsb(_ mix: Workload.YCSBMix, _ store: Backend.Store) throws -> ResultLine {
        let work = YCSBWorkload(mix, options)
        let (measurement, totals) = try work.run(store)
        var line = line("ycsb_\(mix.rawValue)", store.version, measurement, work.operations, totals.bytes)
        line.add("missing", totals.missing)
        line.add("r_p50_us", totals.reads.quantile(0.5) / 1e3)
        line.add("r_p99_us", totals.reads.quantile(0.99) / 1e3)
        if totals.updates.count > 0 {
            line.add("u_p50_us", totals.updates.quantile(0.5) / 1e3)
            line.add("u_p99_us", totals.updates.quantile(0.99) / 1e3)
        }
        return line
    }
}

// MARK: - Opening

extension BenchRunner {
    private func open() throws -> ResultLine {
        let result = try OpenWorkload.run(backend, folder, options)
        var line = line("open", result.version, result.measurement, 1, options.recordBytes)
        line.add("open_ms", result.openMilliseconds)
        line.add("first_get_ms", result.firstGetMilliseconds)
        return line
    }

    private func recovery() throws -> ResultLine {
        let adapted = RecoveryWorkload.options(options)
        let result = try RecoveryWorkload.run(backend, folder, adapted, childArguments: childArguments)
        var line = line(
            "recovery", result.version, result.measurement, result.records, result.records * options.recordBytes,
            adapted)
        line.add("open_ms", result.openMilliseconds)
        line.add("first_get_ms", result.firstGetMilliseconds)
        line.add("files_before", result.blocksBefore)
        line.add("records", result.records)
        return line
    }

    /// Gives the workload the store that it needs: an empty one, or one that holds the records.
    private func prepare(for workload: Workload) throws {
        let wanted: BenchFolder.Content.Kind
        switch workload.needs {
        case .nothing: return try folder.removeStore()
        case .records: wanted = .records
        case .ycsbRecords: wanted = .ycsb
        }
        let needed = BenchFolder.Content(kind: wanted, records: options.records, valueLength: options.valueLength)
        guard folder.content != needed else { return }
        remark("\(workload): filling the store with \(options.records) records first")
        try folder.removeStore()
        let store = try backend.open(folder.storeDirectory, options)
        if wanted == .ycsb {
            _ = try YCSBWorkload.load(store, options)
        } else {
            var whole = options
            whole.operations = nil
            whole.threads = 1
            _ = try FillWorkload(.fillbatch, whole).run(store, whole)
        }
        try store.close()
        try folder.note(needed)
    }

    /// Remembers what a fill has put into the store.
    private func noteContent(after workload: Workload) throws {
        var content = BenchFolder.Content(records: options.records, valueLength: options.valueLength)
        switch workload {
        case .ycsbLoad: content.kind = .ycsb
        case .fill(let fill) where fill.isFresh:
            guard FillWorkload(fill, options).operations == options.records else { return }
            content.kind = .records
        default: return
        }
        try folder.note(content)
    }
}
