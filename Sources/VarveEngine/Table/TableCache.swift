internal import Synchronization
internal import VarveIO

/// The open tables of a store, bounded in number. What is used least recently is closed first; a reader that someone still
/// holds stays usable until it is let go.
///
/// Safe on any thread; files are opened outside the lock.
final class TableCache: Sendable {
    private struct OpenTable {
        let reader: TableReader
        var lastUse: UInt64
    }

    private struct State {
        var open: [UInt64: OpenTable] = [:]
        var clock: UInt64 = 0
        var pinned = 0
    }

    let fileSystem: any FileSystem
    let directory: String
    let blocks: BlockCache
    /// How many tables may be open, pinned ones included.
    let capacity: Int
    private let state = Mutex(State())

    init(fileSystem: any FileSystem, directory: String, blocks: BlockCache, capacity: Int = 4096) {
        precondition(capacity >= 1, "a table cache holds at least one table")
        self.fileSystem = fileSystem
        self.directory = directory
        self.blocks = blocks
        self.capacity = capacity
    }

    /// The reader of a table, opened if need be. `properties` are the manifest's.
    func reader(_ fileNumber: FileNumber, _ properties: TableProperties?) throws(VarveError) -> TableReader {
        if let present = find(fileNumber) { return present }
        let path = directory + "/" + FileName.table(fileNumber).text
        let opened = try TableReader.open(
            fileSystem, path: path, fileNumber: fileNumber, expected: properties, cache: blocks)
        return state.withLock { state in
            if let winner = state.open[fileNumber] { return winner.reader }
            state.clock += 1
            state.open[fileNumber] = OpenTable(reader: opened, lastUse: state.clock)
            Self.closeLeastRecent(&state, capacity)
            return opened
        }
    }

    private func find(_ fileNumber: FileNumber) -> TableReader? {
        state.withLock { state in
            guard let present = state.open[fileNumber]?.reader else { return nil }
            state.clock += 1
            state.open[fileNumber]?.lastUse = state.clock
            return present
        }
    }

    /// A scan over the open tables; opening a file costs far more.
    private static func closeLeastRecent(_ state: inout State, _ capacity: Int) {
        while state.open.count > 1, state.open.count + state.pinned > capacity {
            guard let oldest = state.open.min(by: { $0.value.lastUse < $1.value.lastUse }) else { return }
            state.open[oldest.key] = nil
        }
    }

    /// Closes a table that is gone and forgets its blocks.
    func forget(_ fileNumber: FileNumber) {
        _ = state.withLock { $0.open.removeValue(forKey: fileNumber) }
        blocks.removeBlocks(ofFile: fileNumber)
    }

    /// Forgets what the kernel was found to have in memory, in all open tables.
    func forgetResidency() {
        let readers = state.withLock { $0.open.values.map(\.reader) }
        for reader in readers { reader.forgetResidency() }
    }

    var openCount: Int { state.withLock { $0.open.count + $0.pinned } }

    /// Takes a table out of the least-recently-used order for a handle that keeps it; false where half the capacity is
    /// taken so already.
    fileprivate func pin(_ fileNumber: FileNumber) -> Bool {
        state.withLock { state in
            guard state.pinned < capacity / 2 else { return false }
            state.pinned += 1
            state.open[fileNumber] = nil
            return true
        }
    }

    fileprivate func unpin() { state.withLock { $0.pinned -= 1 } }
}

/// A table of a version, with its reader once it was needed: what lookups go through. Finding the reader costs one load,
/// and no lock nor reference count, as long as the cache has room to keep it open for the handle's life.
///
/// Safe on any thread.
@safe
final class TableHandle: @unchecked Sendable {
    // Unchecked: `kept` goes from 0 to a retained reader once, and back in deinit.
    let fileNumber: FileNumber
    let properties: TableProperties
    private let cache: TableCache
    private let kept = Atomic<UInt>(0)

    init(_ fileNumber: FileNumber, _ properties: TableProperties, cache: TableCache) {
        self.fileNumber = fileNumber
        self.properties = properties
        self.cache = cache
    }

    deinit {
        guard let reader = unsafe Self.reference(kept.load(ordering: .acquiring)) else { return }
        unsafe reader.release()
        cache.unpin()
    }

    private static func reference(_ bits: UInt) -> Unmanaged<TableReader>? {
        unsafe UnsafeRawPointer(bitPattern: bits).map { unsafe Unmanaged<TableReader>.fromOpaque($0) }
    }

    /// The reader; valid as long as it is held, whatever becomes of the handle.
    @inline(__always)
    func reader() throws(VarveError) -> TableReader {
        if let reader = unsafe Self.reference(kept.load(ordering: .acquiring)) {
            return unsafe reader.takeUnretainedValue()
        }
        return try open()
    }

    @inline(never)
    private func open() throws(VarveError) -> TableReader {
        let reader = try cache.reader(fileNumber, properties)
        guard cache.pin(fileNumber) else { return reader }
        let retained = unsafe Unmanaged.passRetained(reader)
        let bits = unsafe UInt(bitPattern: retained.toOpaque())
        // Releasing, so that who loads the reference sees the reader whole.
        let (isFirst, _) = kept.compareExchange(expected: 0, desired: bits, ordering: .acquiringAndReleasing)
        if !isFirst {
            unsafe retained.release()
            cache.unpin()
        }
        return reader
    }
}
