internal import Glibc
internal import Synchronization
internal import VarveIO

/// A handle on a simulated file.
final class SimulatedFile: File {
    let path: String
    private let system: SimulatedFileSystem
    private let inode: SimulatedInode
    private let isWritable: Bool
    private let holdsLock: Bool
    private let isClosed = Atomic<Bool>(false)

    /// Takes over one user of the inode.
    init(
        _ system: SimulatedFileSystem, _ inode: SimulatedInode, path: String, isWritable: Bool, holdsLock: Bool = false
    ) {
        self.system = system
        self.inode = inode
        self.path = path
        self.isWritable = isWritable
        self.holdsLock = holdsLock
    }

    deinit { close() }

    func close() {
        if isClosed.exchange(true, ordering: .acquiringAndReleasing) { return }
        system.state.withLock {
            if holdsLock { $0.unlock(inode) }
            $0.dropUser(of: inode)
        }
    }

    func size() throws(IOError) -> UInt64 {
        try check(.size)
        return try system.perform(.size, path) { _ throws(IOError) in UInt64(inode.content.length) }
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(IOError) -> Int {
        try check(.read)
        let start = try position(offset, .read)
        return try system.perform(.read, path) { _ throws(IOError) in
            let done = unsafe inode.content.read(into: buffer, at: start)
            inode.noteResident(start..<(start + done))
            return done
        }
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(IOError) {
        try check(.write, writes: true)
        let start = try position(offset, .write, length: bytes.count)
        try system.perform(
            .write, path,
            failed: { state, isPartial in
                guard isPartial else { return }
                let half = unsafe UnsafeRawBufferPointer(rebasing: bytes[..<(bytes.count / 2)])
                _ = unsafe put(half, at: start, &state)
            },
            { state throws(IOError) in
                let done = unsafe put(bytes, at: start, &state)
                if done < bytes.count { throw SimulatedState.error(ENOSPC, .write, path) }
            })
    }

    private func put(_ bytes: UnsafeRawBufferPointer, at start: Int, _ state: inout SimulatedState) -> Int {
        let oldLength = inode.content.length
        let done = state.change(inode) { content, budget in unsafe content.write(bytes, at: start, budget: budget) }
        inode.noteResident(start..<(start + done))
        inode.refreshMaps(min(oldLength, start)..<(start + done))
        return done
    }

    func allocate(_ length: UInt64) throws(IOError) {
        try check(.allocate, writes: true)
        let end = try position(length, .allocate)
        try system.perform(.allocate, path) { state throws(IOError) in
            if !state.change(inode, { content, budget in content.allocate(end, budget: budget) }) {
                throw SimulatedState.error(ENOSPC, .allocate, path)
            }
        }
    }

    func truncate(to length: UInt64) throws(IOError) {
        try check(.truncate, writes: true)
        let end = try position(length, .truncate)
        try system.perform(.truncate, path) { state throws(IOError) in
            let oldLength = inode.content.length
            state.change(inode) { content, _ in content.truncate(to: end) }
            if end < oldLength { inode.refreshMaps(end..<oldLength) }
        }
    }

    func sync() throws(IOError) {
        try check(.sync)
        try system.perform(
            .sync, path, promises: true, failed: { _, _ in inode.content.failSync() },
            { state throws(IOError) in
                if state.dropsFileSync?(path) != true { inode.content.sync() }
            })
    }

    func map(length: UInt64, advice: MapAdvice) throws(IOError) -> any FileMap {
        try check(.map)
        let count = try position(length, .map)
        let memory = try system.perform(.map, path) { _ throws(IOError) in
            if count > inode.content.length { throw SimulatedState.error(EINVAL, .map, path) }
            let memory = SimulatedMapMemory(inode.content, count: count)
            inode.maps.append(memory)
            inode.users += 1
            return memory
        }
        return SimulatedFileMap(system, inode, memory, count: count)
    }

    func mapForStores(length: UInt64) throws(IOError) -> (any StoreMap)? {
        try check(.mapForStores)
        let count = try position(length, .mapForStores)
        let isOffered = try system.perform(.mapForStores, path) { state throws(IOError) in
            if count > inode.content.length { throw SimulatedState.error(EINVAL, .mapForStores, path) }
            if !state.offersStoreMaps { return false }
            if !isWritable { throw SimulatedState.error(EACCES, .mapForStores, path) }
            let pages = inode.content.pages.prefix(SimulatedContent.pageCount(count))
            precondition(!pages.contains { $0 == nil }, "mapped for stores where no space is allocated: \(path)")
            inode.users += 1
            return true
        }
        return isOffered ? SimulatedStoreMap(system, inode, path: path, count: count) : nil
    }

    private func check(_ operation: SimulatedOperation, writes: Bool = false) throws(IOError) {
        if isClosed.load(ordering: .acquiring) { throw SimulatedState.error(EBADF, operation, path) }
        precondition(isWritable || !writes, "\(path) is open to read only")
    }

    /// Offsets as the kernel limits them, and lengths as memory does.
    private func position(
        _ offset: UInt64, _ operation: SimulatedOperation, length: Int = 0
    ) throws(IOError) -> Int {
        guard offset < 1 << 44 else { throw SimulatedState.error(EFBIG, operation, path) }
        return Int(offset)
    }
}

/// A simulated file, mapped to read.
@safe
final class SimulatedFileMap: FileMap {
    private let system: SimulatedFileSystem
    private let inode: SimulatedInode
    private let memory: SimulatedMapMemory
    let count: Int

    /// Takes over one user of the inode.
    init(_ system: SimulatedFileSystem, _ inode: SimulatedInode, _ memory: SimulatedMapMemory, count: Int) {
        self.system = system
        self.inode = inode
        self.memory = memory
        self.count = count
    }

    deinit {
        system.state.withLock { state in
            inode.maps.removeAll { $0 === memory }
            state.dropUser(of: inode)
        }
    }

    var base: UnsafeRawPointer {
        guard let base = unsafe memory.bytes.baseAddress else { preconditionFailure("allocated memory has an address") }
        return UnsafeRawPointer(base)
    }

    /// True as soon as the file was cut below the map, before anybody reads there.
    var isDamaged: Bool { memory.isDamaged.load(ordering: .sequentiallyConsistent) }

    func isResident(offset: Int, length: Int) -> Bool {
        checkRange(offset, length)
        return system.state.withLock { _ in inode.isResident(offset..<(offset + length)) }
    }

    func willNeed(offset: Int, length: Int) {
        checkRange(offset, length)
        system.state.withLock { _ in inode.noteResident(offset..<(offset + length)) }
    }

    private func checkRange(_ offset: Int, _ length: Int) {
        precondition(offset >= 0 && length >= 0 && length <= count - offset, "outside the map")
    }
}

/// A simulated file, mapped for stores: each store is a numbered call and reaches the disk page by page, in any order,
/// like a write that was not synced.
final class SimulatedStoreMap: StoreMap {
    private let system: SimulatedFileSystem
    private let inode: SimulatedInode
    private let path: String
    let count: Int
    private let isDamaged = Atomic<Bool>(false)

    /// Takes over one user of the inode.
    init(_ system: SimulatedFileSystem, _ inode: SimulatedInode, path: String, count: Int) {
        self.system = system
        self.inode = inode
        self.path = path
        self.count = count
    }

    deinit { system.state.withLock { $0.dropUser(of: inode) } }

    func store(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> Bool {
        precondition(offset >= 0 && offset <= count && bytes.count <= count - offset, "store outside the map")
        if isDamaged.load(ordering: .acquiring) { return false }
        do {
            try system.perform(.store, path) { state throws(IOError) in
                let end = offset + bytes.count
                let reachable = SimulatedContent.pageCount(inode.content.length) * SimulatedPage.size
                if end > reachable { throw SimulatedState.error(EIO, .store, path) }
                // A store beyond the end, on the last page, is lost without a fault, as in the kernel.
                let inside = unsafe UnsafeRawBufferPointer(
                    rebasing: bytes[..<max(0, min(bytes.count, inode.content.length - offset))])
                let done = state.change(inode) { content, _ in
                    unsafe content.write(inside, at: offset, budget: .max / 2)
                }
                inode.refreshMaps(offset..<(offset + done))
            }
            return true
        } catch {
            isDamaged.store(true, ordering: .releasing)
            return false
        }
    }
}

/// The advisory lock of a simulated file; a crash or a kill of the process drops it.
final class SimulatedLock: FileLock {
    let file: any File
    init(_ file: SimulatedFile) { self.file = file }
    func release() { file.close() }
}
