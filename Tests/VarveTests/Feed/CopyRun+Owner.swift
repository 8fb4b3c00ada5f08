import Glibc
import Synchronization
import Testing
import VarveIO
import VarveTestSupport

@testable import Varve
@testable import VarveEngine

/// What becomes of the owner meanwhile.
extension CopyRun {
    // MARK: It ends and begins

    mutating func restart() async throws {
        let history = owner.store.history
        // Some of what it wrote last nobody has heard of.
        log.update { $0 = true }
        for _ in 0..<draw(4) { _ = try await set(draw(CopyRun.keys), isSynced: false) }
        let losesPower: Bool
        switch draw(3) {
        case 0:
            losesPower = false
            log.update { $0 = false }
            try await owner.store.close()
        case 1:
            losesPower = false
            let files = rig.files.killProcess()
            log.update { $0 = false }
            try await owner.store.close()
            rig.files = files
        default:
            losesPower = true
            rig.files.cutPower()
            let files = rig.files.crash(seed: random.next())
            log.update { $0 = false }
            try? await owner.store.close()
            rig.files = files
            rig.clock.reboot()
        }
        try await expectNothingHeld()
        #expect(await code { _ = try await mine.value(for: "a0", loading: remote.loaded(for:)) } != nil, "\(name)")
        let end = try #require(follower.cursor)
        disk.replace(by: rig.files)
        owner = try await CopyRun.open(rig, log)
        if owner.store.history != history { left[history] = end.lsn.rawValue }
        if losesPower { for number in 0..<CopyRun.keys { model.findAgain(number, try await found(number)) } }
        try await follower.waitUntilFollowing()
        for version in versions.suffix(4) { try await wait(for: version) }
        try await settle()
    }

    private func found(_ number: Int) async throws -> CopyModel.Kept? {
        let disk = try #require(owner.disk)
        guard let stored = try await disk.entry(Array(key(number).utf8)),
            self.key(number).withKeyBytes({ disk.keeps(stored, of: $0) })
        else { return nil }
        let isAbsent = stored.fields.valueType == DiskTier.Kind.absent.rawValue
        return CopyModel.Kept(
            value: isAbsent ? nil : try owner.coding.decode(stored.bytes), until: stored.fields.usableUntil ?? .max)
    }

    /// Who does not hear of the owner holds nothing, and keeps nothing that a load brings.
    private func expectNothingHeld() async throws {
        func holds(_ number: Int) async throws -> Bool {
            #expect(try await mine.value(for: key(number)) { _ in -1 } == -1 || follower.state == .following, "\(name)")
            return mine.valueInMemory(for: key(number)) != nil
        }
        while follower.state == .following, !Task.isCancelled { await Task.yield() }
        for number in 0..<CopyRun.keys { #expect(try await !holds(number), "\(name), key \(key(number))") }
    }

    // MARK: It goes on in memory

    mutating func goWithoutDisk() async throws {
        try await settle()
        let waiting = Task { [owner] in for try await _ in try owner.changes() {} }
        let degraded = try #require(owner.store.degraded)
        let full = IOError(code: ENOSPC, operation: "allocate", path: rig.path)
        await degraded.enter(VarveError(full), of: degraded.engine)
        try await expectNoFeeds(waiting)
        try await expectNothingHeld()
        for _ in 0..<draw(8) { try await change(isIdleAllowed: false) }
        let version = try await set(draw(CopyRun.keys), isIdleAllowed: false)
        let isThere = Watched(false)
        let follows = Task { [follower] in
            try await follower.waitUntilFollowed(version)
            isThere.update { $0 = true }
        }
        for number in 0..<CopyRun.keys where model.kept[number]?.isIdle != true {
            let found = try await mine.value(for: key(number)) { [owner] in Loaded(try await owner.value(for: $0)) }
            #expect(found == model.alive(number, at: now)?.value, "\(name), key \(key(number)) without the disk")
        }
        try await expectNothingHeld()
        rig.files.fail(EIO, sticky: true) { $0.path.hasSuffix("DEGRADED") }
        for _ in 0..<draw(3) { #expect(await !owner.tryReturn(), "\(name)") }
        #expect(!isThere.current, "\(name): what memory alone has counts as followed")
        rig.files.clearFaults()
        #expect(await owner.tryReturn(), "\(name)")
        try await follows.value
        let owner = owner
        // What a drop of a tag has hidden since is not saved.
        while owner.unsavedKeys().contains(where: { isAlive($0.key) }), !Task.isCancelled {
            await IOThread.run(name: "test-save") { owner.saveAll() }
        }
        try await settle()
        for number in 0..<CopyRun.keys {
            let found = try await mine.value(for: key(number), loading: remote.loaded(for:))
            #expect(found == model.alive(number, at: now)?.value, "\(name), key \(key(number)) after the return")
        }
    }

    private func isAlive(_ name: String) -> Bool {
        (0..<CopyRun.keys).contains { key($0) == name && model.alive($0, at: now) != nil }
    }

    /// Those that there are have ended, and none begins, here or over the socket.
    private func expectNoFeeds(_ waiting: Task<Void, any Error>) async throws {
        let codes = [
            await code { try await waiting.value }, await code { _ = try owner.changes(since: feedCursor) },
            await code { for try await _ in remote.changes(since: feedCursor) {} },
            await code { _ = try await remote.value(for: key(0)) },
        ]
        #expect(codes == Array(repeating: .degraded, count: 4), "\(name)")
    }
}

/// The disk as another process sees it, over the owner's lives.
final class ReaderDisk: FileSystem {
    private let present: Mutex<any FileSystem>

    init(_ files: any FileSystem) { present = Mutex(files) }

    func replace(by files: any FileSystem) { present.withLock { $0 = files } }
    private var files: any FileSystem { present.withLock { $0 } }

    func open(_ path: String, _ mode: OpenMode) throws(IOError) -> any File { try files.open(path, mode) }
    func exists(_ path: String) throws(IOError) -> Bool { try files.exists(path) }
    func list(_ directory: String) throws(IOError) -> [String] { try files.list(directory) }
    func createDirectory(_ path: String) throws(IOError) { try files.createDirectory(path) }
    func remove(_ path: String) throws(IOError) { try files.remove(path) }
    func removeDirectory(_ path: String) throws(IOError) { try files.removeDirectory(path) }
    func rename(_ source: String, to destination: String) throws(IOError) {
        try files.rename(source, to: destination)
    }
    func link(_ source: String, to destination: String) throws(IOError) { try files.link(source, to: destination) }
    func linkCount(_ path: String) throws(IOError) -> Int { try files.linkCount(path) }
    func syncDirectory(_ path: String) throws(IOError) { try files.syncDirectory(path) }
    func lock(_ path: String, _ mode: LockMode) throws(IOError) -> (any FileLock)? { try files.lock(path, mode) }
    func freeBytes(_ path: String) throws(IOError) -> UInt64 { try files.freeBytes(path) }
}
