internal import Synchronization

/// What a test does to a simulated file system, and what it learns from it.
extension SimulatedFileSystem {
    // MARK: Counting and watching

    /// Calls so far, of every kind.
    public var callCount: Int { state.withLock { $0.callCount } }
    /// Calls so far that changed what the disk holds or promises.
    public var changeCount: Int { state.withLock { $0.changeCount } }

    /// Calls `observer` before each call takes effect, on the caller's thread and without a lock: it may take crash
    /// images, open them and cut the power. Nil takes it away.
    public func observe(_ observer: (@Sendable (SimulatedCall) -> Void)?) {
        state.withLock { $0.observer = observer }
    }

    /// Keeps a list of all calls from now on.
    public func recordCalls() { state.withLock { $0.recordedCalls = [] } }
    public var recordedCalls: [SimulatedCall] { state.withLock { $0.recordedCalls ?? [] } }

    // MARK: Power

    /// The power goes during call number `number`: it may have its effect (a sync has none), it fails with EIO, and so
    /// does every later call.
    public func cutPower(atCall number: Int) { state.withLock { $0.powerCut = .atCall(number) } }
    /// The same, counting only calls that change something.
    public func cutPower(atChange number: Int) { state.withLock { $0.powerCut = .atChange(number) } }
    /// The power goes now.
    public func cutPower() { state.withLock { $0.isPowerCut = true } }
    public var isPowerCut: Bool { state.withLock { $0.isPowerCut } }

    // MARK: Errors

    /// Call number `number` fails with `code`; with `sticky`, so does every later call.
    public func fail(_ code: Int32, atCall number: Int, sticky: Bool = false, partial: Bool = false) {
        fail(code, sticky: sticky, partial: partial) { sticky ? $0.number >= number : $0.number == number }
    }

    /// The first call (with `sticky`: every call) for which `matches` holds fails with `code`, without effect; a write
    /// that is `partial` has written its first half. A sync that fails leaves the dirty pages' fate open for good: no
    /// later sync writes them, as Linux has it.
    public func fail(
        _ code: Int32, sticky: Bool = false, partial: Bool = false,
        when matches: @escaping @Sendable (SimulatedCall) -> Bool
    ) {
        state.withLock {
            $0.faults.append(SimulatedFault(code: code, isSticky: sticky, isPartial: partial, matches: matches))
        }
    }

    /// Takes away the faults set by `fail`.
    public func clearFaults() { state.withLock { $0.faults.removeAll() } }

    // MARK: Faults that prove a harness

    /// Syncs of files whose path matches report success and do nothing. Nil: no more.
    public func dropFileSyncs(where matches: (@Sendable (String) -> Bool)?) {
        state.withLock { $0.dropsFileSync = matches }
    }

    /// Syncs of folders whose path matches report success and do nothing. Nil: no more.
    public func dropDirectorySyncs(where matches: (@Sendable (String) -> Bool)?) {
        state.withLock { $0.dropsDirectorySync = matches }
    }

    /// Flips the bits of `mask` in the byte at `offset`, on the disk and in memory, maps included.
    public func corrupt(_ path: String, at offset: Int, xor mask: UInt8 = 0xFF) throws {
        try state.withLock { state in
            let inode = try state.findFile(path, .write)
            state.change(inode) { content, _ in content.corrupt(at: offset, xor: mask) }
            inode.refreshMaps(offset..<(offset + 1))
        }
    }

    // MARK: Space and memory

    /// Bytes of the disk; nil for no bound. May change at any time, also below what is used.
    public var capacity: UInt64? {
        get { state.withLock { $0.capacity } }
        set { state.withLock { $0.capacity = newValue } }
    }

    /// Bytes that files occupy, unnamed ones that are still open included.
    public var usedBytes: UInt64 { state.withLock { UInt64($0.usedPages * SimulatedPage.size) } }

    /// Whether files offer maps for stores, as on ext4, or refuse them, as on btrfs.
    public func offerStoreMaps(_ isOffered: Bool) { state.withLock { $0.offersStoreMaps = isOffered } }

    /// Drops the page cache: maps say that nothing is resident until it is read again (by `read` or `willNeed`; reads
    /// through a map pass unseen).
    public func dropCaches() {
        state.withLock { state in
            state.root.forEachInode { $0.residentPages = [] }
        }
    }
}

extension SimulatedDirectory {
    /// Visits every file that has a name; one with several names several times.
    func forEachInode(_ body: (SimulatedInode) -> Void) {
        for node in names.values {
            switch node {
            case .file(let inode): body(inode)
            case .directory(let directory): directory.forEachInode(body)
            }
        }
    }
}
