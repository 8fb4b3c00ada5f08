import Foundation
import Synchronization

/// Loads an input into a store: in its order, in batches, each with the progress of the load.
struct Loader {
    /// A batch is committed when it is this large, this old, or when the input has nothing more for the moment.
    static let batchRecords = 1000
    static let batchBytes = 1 << 20
    static let batchNanoseconds: UInt64 = 30_000_000

    let store: any StoreCommands
    let format: RecordFormat
    let options: WriteOptions
    let counters: LoadCounters

    struct Summary: Equatable, Sendable {
        /// Records of the input that are in the store, and how many of them an earlier run had put there.
        var records: UInt64 = 0
        var resumedAt: UInt64 = 0
        var bytes: UInt64 = 0
    }

    /// Returns once the whole input is in the store.
    func load(_ source: any InputSource) throws -> Summary {
        var reader = RecordReader(source, isQuoted: format == .csv)
        var firstLine: ArraySlice<UInt8>?
        while firstLine == nil { firstLine = try reader.peekFirstLine(limit: LoadProgress.firstLineLimit) }
        let key = LoadProgress.key(
            format: format, firstLine: firstLine ?? [], namespace: options.namespace)
        var progress = LoadProgress(decoding: try store.loadProgress(key) ?? [])

        var run = Run()
        if let index = try reader.resume(at: progress.marks.map(\.place)) {
            run.mark = progress.marks.remove(at: index)
        }
        run.others = progress.marks.suffix(LoadProgress.marksLimit - 1)
        run.parsed = run.mark.records
        let resumedAt = run.mark.records
        counters.set(run.mark)
        try readAll(&reader, &run, key, source.name)
        return Summary(records: run.mark.records, resumedAt: resumedAt, bytes: run.mark.place.bytes)
    }

    /// A load under way.
    private struct Run {
        var batch: [Record] = []
        var batchBytes = 0
        var batchBegan: UInt64 = 0
        /// How far the store has come, and how many records were read.
        var mark = LoadProgress.Mark()
        var parsed: UInt64 = 0
        /// Other inputs that begin with the same line.
        var others: ArraySlice<LoadProgress.Mark> = []
    }

    private func readAll(_ reader: inout RecordReader, _ run: inout Run, _ key: [UInt8], _ name: String) throws {
        while true {
            switch try reader.next() {
            case .record(let bytes, let line):
                do {
                    if let record = try format.parse(bytes) { add(record, to: &run) }
                } catch {
                    // What came before is whole, so it is kept.
                    try commit(&run, reader.place, key, isComplete: false)
                    throw InputFailure(
                        "\(name), line \(line): \(error.reason). The \(run.mark.records) records before it are in the"
                            + " store; mend the line and run the same command to go on there")
                }
                reader.accept()
                if isDue(run) { try commit(&run, reader.place, key, isComplete: false) }
            case .idle:
                if !run.batch.isEmpty { try commit(&run, reader.place, key, isComplete: false) }
            case .end:
                return try commit(&run, reader.place, key, isComplete: true)
            }
        }
    }

    private func add(_ record: Record, to run: inout Run) {
        if run.batch.isEmpty { run.batchBegan = BenchClock.now() }
        run.batch.append(record)
        run.batchBytes += record.key.count + record.value.count
        run.parsed += 1
    }

    private func isDue(_ run: Run) -> Bool {
        if run.batch.count >= Loader.batchRecords || run.batchBytes >= Loader.batchBytes { return true }
        // The clock is asked rarely: it costs as much as parsing a short record.
        return run.batch.count % 32 == 0 && !run.batch.isEmpty
            && BenchClock.now() &- run.batchBegan >= Loader.batchNanoseconds
    }

    private func commit(
        _ run: inout Run, _ place: RecordReader.Place, _ key: [UInt8], isComplete: Bool
    ) throws {
        let mark = LoadProgress.Mark(place: place, records: run.parsed)
        let marks = Array(run.others) + (isComplete ? [] : [mark])
        let update = LoadProgressUpdate(key: key, value: LoadProgress(marks: marks).encoded)
        try store.commit(run.batch, progress: update, options)
        run.batch.removeAll(keepingCapacity: true)
        run.batchBytes = 0
        run.mark = mark
        counters.set(mark)
    }
}

/// What a load has put into the store so far, for those who watch it from another thread.
final class LoadCounters: Sendable {
    private let records = Atomic<UInt64>(0)
    private let bytes = Atomic<UInt64>(0)

    var acknowledged: UInt64 { records.load(ordering: .acquiring) }
    var bytesTaken: UInt64 { bytes.load(ordering: .relaxed) }

    fileprivate func set(_ mark: LoadProgress.Mark) {
        bytes.store(mark.place.bytes, ordering: .relaxed)
        records.store(mark.records, ordering: .releasing)
    }
}
