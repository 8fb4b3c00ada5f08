/// A version that a repair read, copied out.
struct SalvagedEntry {
    var key: [UInt8]
    var trailer: Trailer
    var entry: [UInt8]

    /// As tables sort: by key, newest version first.
    static func isBefore(_ a: SalvagedEntry, _ b: SalvagedEntry) -> Bool {
        unsafe a.key.withBytes { first in
            unsafe b.key.withBytes { second in unsafe FullKey.compare(first, a.trailer, second, b.trailer) < 0 }
        }
    }
}

/// Walks a table block by block and passes over those that cannot be read.
final class SalvagedTable {
    private let table: TableReader
    private var block = 0
    private var entries: [SalvagedEntry] = []
    private var place = 0
    private(set) var blocksRead: UInt64 = 0
    private(set) var losses: [RepairReport.Loss] = []

    init(_ table: TableReader) { self.table = table }

    var number: FileNumber { table.fileNumber }
    var rangeTombstones: RangeTombstones { table.rangeTombstones }
    var blockCount: Int { table.index.count }

    /// Whether it is the file that the manifest names and all of it can be read. Reads it once over and moves nothing.
    func isWhole(_ hash: ContentHash?) -> Bool { (try? table.verify(contentHash: hash)) != nil }

    func next() -> SalvagedEntry? {
        while place == entries.count {
            guard block < table.index.count else { return nil }
            entries = []
            place = 0
            do throws(VarveError) {
                entries = try read(block)
                blocksRead += 1
            } catch {
                let extent = table.index.extent(of: block)
                losses.append(
                    RepairReport.Loss(
                        path: table.path, offset: error.offset ?? extent.map { UInt64($0.lowerBound) },
                        bytes: extent.map { UInt64($0.count) }, reason: error.message))
            }
            block += 1
        }
        defer { place += 1 }
        return entries[place]
    }

    /// The whole block or nothing of it: its checksum covers all.
    private func read(_ number: Int) throws(VarveError) -> [SalvagedEntry] {
        let pinned = try table.pin(number, .mayBlock)
        let view = try table.view(pinned, number)
        var found: [SalvagedEntry] = []
        found.reserveCapacity(view.count)
        for index in 0..<view.count {
            guard let entry = view.entry(index), entry.trailer.kind != nil else { throw table.contradiction(number) }
            let key = unsafe Array(view.prefix) + Array(entry.suffix)
            guard key.count >= FullKey.namespaceBytes else { throw table.contradiction(number) }
            found.append(SalvagedEntry(key: key, trailer: entry.trailer, entry: unsafe Array(entry.bytes)))
        }
        try table.confirmMap()
        return found
    }
}

/// The newest version of each key over many tables, in key order.
///
/// A heap of their next entries: tables are not taken for disjoint, since nothing vouches for their levels here.
struct SalvageMerge {
    private var heap: [(entry: SalvagedEntry, table: SalvagedTable)] = []

    init(_ tables: [SalvagedTable]) {
        for table in tables {
            guard let entry = table.next() else { continue }
            heap.append((entry, table))
            rise(heap.count - 1)
        }
    }

    /// The next key's newest version.
    mutating func next() -> SalvagedEntry? {
        guard let newest = pop() else { return nil }
        while let older = heap.first, older.entry.key == newest.key { _ = pop() }
        return newest
    }

    private mutating func pop() -> SalvagedEntry? {
        guard let top = heap.first else { return nil }
        if let following = top.table.next() {
            heap[0].entry = following
        } else {
            let last = heap.removeLast()
            if heap.isEmpty { return top.entry }
            heap[0] = last
        }
        sink()
        return top.entry
    }

    private mutating func rise(_ start: Int) {
        var child = start
        while child > 0, SalvagedEntry.isBefore(heap[child].entry, heap[(child - 1) / 2].entry) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    private mutating func sink() {
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count {
                if SalvagedEntry.isBefore(heap[child].entry, heap[least].entry) { least = child }
            }
            if least == parent { return }
            heap.swapAt(least, parent)
            parent = least
        }
    }
}
