internal import VarveIO

/// The table files that a job writes, by number; removes them again if the job fails. One thread at a time.
final class TableOutputs {
    private let fileSystem: any FileSystem
    private let directory: String
    private let options: TableOptions
    private let takeNumber: () -> FileNumber
    /// Of the changes within, for the properties of every table.
    private let commitTimes: ClosedRange<Timestamp>?
    private var created: [(path: String, file: any File)] = []

    /// `takeNumber`: gives a file number that nobody had.
    init(
        fileSystem: any FileSystem, directory: String, options: TableOptions, commitTimes: ClosedRange<Timestamp>?,
        takeNumber: @escaping () -> FileNumber
    ) {
        self.fileSystem = fileSystem
        self.directory = directory
        self.options = options
        self.commitTimes = commitTimes
        self.takeNumber = takeNumber
    }

    func open() throws(VarveError) -> TableOutput {
        let number = takeNumber()
        let path = directory + "/" + FileName.table(number).text
        let file = try lifted { () throws(IOError) in try fileSystem.open(path, .createNew) }
        created.append((path, file))
        let writer = TableWriter(file: file, fileNumber: number, options: options)
        if let commitTimes { writer.setCommitTimes(smallest: commitTimes.lowerBound, largest: commitTimes.upperBound) }
        return TableOutput(number: number, writer)
    }

    /// Makes the names durable, so that an edit may name them, and closes the files.
    func commit() throws(VarveError) {
        guard !created.isEmpty else { return }
        try lifted { () throws(IOError) in try fileSystem.syncDirectory(directory) }
        for output in created { output.file.close() }
        created = []
    }

    /// Removes what was written. A file that cannot be removed now is named by no edit; the next open removes it.
    func discard() {
        for output in created {
            output.file.close()
            try? fileSystem.remove(output.path)
        }
        created = []
    }

    /// Runs a writer over these outputs: committed when it succeeds, removed when it does not.
    func fill(_ run: () throws(VarveError) -> RunResult) throws(VarveError) -> RunResult {
        do throws(VarveError) {
            let result = try run()
            try commit()
            return result
        } catch {
            discard()
            throw error
        }
    }
}

/// One table file being written.
final class TableOutput: RunOutput {
    let number: FileNumber
    private let writer: TableWriter

    init(number: FileNumber, _ writer: TableWriter) {
        self.number = number
        self.writer = writer
    }

    @inline(__always)
    var estimatedBytes: UInt64 { writer.isEmpty ? 0 : writer.estimatedBytes }

    @inline(__always)
    func add(_ key: UnsafeRawBufferPointer, _ trailer: Trailer, _ entry: UnsafeRawBufferPointer) throws(VarveError) {
        unsafe try writer.add(key, trailer, entry)
    }

    func finish(_ tombstones: RangeTombstones) throws(VarveError) -> TableProperties {
        writer.addRangeTombstones(tombstones)
        return try writer.finish()
    }
}
