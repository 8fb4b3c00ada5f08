internal import Synchronization

/// A table as versions know it: its number and what it says of itself. Levels do not show here, since a trivial move
/// changes the level of the same file.
///
/// References are the pins: a version holds its tables, a reader holds its version. Once an edit that removes the table
/// is durable it is marked obsolete, and when the last reference goes the file is handed over to be deleted. So nobody
/// counts by hand, and a file can neither go early nor be forgotten.
final class TableFile: Sendable {
    let number: FileNumber
    let properties: TableProperties
    private let isObsolete = Atomic<Bool>(false)
    private let opened = LazyReference<TableReader>()
    private let collector: ObsoleteFiles?

    /// Without a collector (tests, read-only stores) nothing is ever deleted.
    init(number: FileNumber, properties: TableProperties, collector: ObsoleteFiles? = nil) {
        self.number = number
        self.properties = properties
        self.collector = collector
    }

    var bytes: UInt64 { properties.fileBytes }

    /// The open table; nil before its first use.
    @inline(__always)
    var reader: TableReader? { opened.load() }
    /// Keeps the open table as long as this. Of two that come at once the first is kept; returns the one that is.
    func setReader(_ reader: TableReader) -> TableReader { opened.storeIfNil(reader) }

    /// To be called once the edit that removed the table is durable and the version without it is installed.
    func markObsolete() { isObsolete.store(true, ordering: .releasing) }

    deinit {
        // The last release orders this load after every use of the table.
        if isObsolete.load(ordering: .acquiring) { collector?.add(.table(number), bytes: properties.fileBytes) }
    }
}

extension TableFile: Hashable {
    static func == (a: TableFile, b: TableFile) -> Bool { a === b }
    func hash(into hasher: inout Hasher) { hasher.combine(number) }
}
