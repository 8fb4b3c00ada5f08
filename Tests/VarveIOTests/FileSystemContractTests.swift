import Glibc
import Testing
import VarveIO
import VarveTestSupport

/// What every `FileSystem` promises, asked of the kernel's and of the simulated one.
@Suite struct FileSystemContractTests {
    enum Kind: CaseIterable, Sendable { case kernel, memory, simulated }

    /// A file system with an empty folder to play in.
    private struct Ground {
        let system: any FileSystem
        let folder: String
        private let directory: TemporaryDirectory?

        init(_ kind: Kind) throws {
            switch kind {
            case .kernel, .memory:
                let directory = try TemporaryDirectory(under: kind == .memory ? "/dev/shm" : TemporaryDirectory.parent)
                (system, folder) = (PosixFileSystem(), directory.path)
                self.directory = directory
            case .simulated:
                (system, folder) = (SimulatedFileSystem(), "/store")
                try system.createDirectory("/store")
                directory = nil
            }
        }

        func path(_ name: String) -> String { "\(folder)/\(name)" }

        @discardableResult func make(_ name: String, _ bytes: [UInt8] = []) throws -> any File {
            let file = try system.open(path(name), .createNew)
            try file.write(bytes, at: 0)
            return file
        }
    }

    private func code(_ body: () throws -> Void) -> Int32? {
        do {
            try body()
            return nil
        } catch {
            return (error as? IOError)?.code
        }
    }

    @Test(arguments: Kind.allCases) func opensByMode(_ kind: Kind) throws {
        let ground = try Ground(kind)
        #expect(code { _ = try ground.system.open(ground.path("a"), .read) } == ENOENT)
        #expect(code { _ = try ground.system.open(ground.path("a"), .readWrite) } == ENOENT)
        #expect(code { _ = try ground.system.open(ground.path("no/a"), .createNew) } == ENOENT)
        try ground.make("a", [1, 2, 3])
        #expect(code { _ = try ground.system.open(ground.path("a"), .createNew) } == EEXIST)
        #expect(code { _ = try ground.system.open(ground.path("a/b"), .read) } == ENOTDIR)
        #expect(try ground.system.open(ground.path("a"), .read).read(count: 9, at: 0) == [1, 2, 3])
    }

    @Test(arguments: Kind.allCases) func readsWhatWasWrittenAndZerosBetween(_ kind: Kind) throws {
        let ground = try Ground(kind)
        let file = try ground.make("a", [1, 2, 3])
        try file.write([9], at: 10_000)
        #expect(try file.size() == 10_001)
        #expect(try file.read(count: 5, at: 1) == [2, 3, 0, 0, 0])
        #expect(try file.read(count: 50, at: 9_999) == [0, 9])
        #expect(try file.read(count: 50, at: 10_001) == [])
        #expect(try file.read(count: 50, at: 1 << 40) == [])
        try file.write([7, 7], at: 4095)
        #expect(try file.read(count: 4, at: 4094) == [0, 7, 7, 0])
    }

    @Test(arguments: Kind.allCases) func whatIsInMemoryIsReadWhole(_ kind: Kind) throws {
        let ground = try Ground(kind)
        let file = try ground.make("a", (0..<10_000).map { UInt8(truncatingIfNeeded: $0 / 7) })
        func cached(_ count: Int, at offset: UInt64) -> [UInt8]? {
            var bytes = [UInt8](repeating: 0, count: count)
            let isThere = unsafe bytes.withUnsafeMutableBytes { unsafe file.readIfInMemory(into: $0, at: offset) }
            return isThere ? bytes : nil
        }
        // What was just written the kernel has; where nobody can tell, nothing is claimed.
        let found = cached(5000, at: 3000)
        if let found { #expect(try found == file.read(count: 5000, at: 3000)) }
        #expect(found != nil || kind != .kernel)
        #expect(cached(5000, at: 8000) == nil)
        file.close()
        #expect(cached(10, at: 0) == nil)
    }

    @Test(arguments: Kind.allCases) func randomWritesMatchAnArray(_ kind: Kind) throws {
        let ground = try Ground(kind)
        let seed: UInt64 = 11
        var random = SplitMix(seed)
        let file = try ground.make("a")
        var model: [UInt8] = []
        for step in 0..<300 {
            let offset = Int(random.next() % 20_000)
            switch random.next() % 10 {
            case 0:
                try file.truncate(to: UInt64(offset))
                model = Array(model.prefix(offset)) + [UInt8](repeating: 0, count: max(0, offset - model.count))
            case 1:
                try file.allocate(UInt64(offset))
                model += [UInt8](repeating: 0, count: max(0, offset - model.count))
            default:
                let bytes = (0..<Int(random.next() % 6000)).map { _ in random.byte() }
                try file.write(bytes, at: UInt64(offset))
                if bytes.isEmpty { continue }
                model += [UInt8](repeating: 0, count: max(0, offset + bytes.count - model.count))
                model.replaceSubrange(offset..<(offset + bytes.count), with: bytes)
            }
            #expect(try file.size() == UInt64(model.count), "seed \(seed) step \(step)")
            #expect(try file.read(count: 40_000, at: 0) == model, "seed \(seed) step \(step)")
        }
    }

    @Test(arguments: Kind.allCases) func allocatingGrowsAndKeeps(_ kind: Kind) throws {
        let ground = try Ground(kind)
        let file = try ground.make("a", [1, 2, 3])
        try file.allocate(8192)
        #expect(try file.size() == 8192)
        #expect(try file.read(count: 4, at: 0) == [1, 2, 3, 0])
        try file.allocate(100)
        #expect(try file.size() == 8192)
        try file.sync()
    }

    @Test(arguments: Kind.allCases) func aClosedFileSaysSo(_ kind: Kind) throws {
        let ground = try Ground(kind)
        let file = try ground.make("a", [1])
        let map = try file.map(length: 1, advice: .random)
        file.close()
        file.close()
        #expect(code { _ = try file.size() } == EBADF)
        #expect(code { _ = try file.read(count: 1, at: 0) } == EBADF)
        #expect(code { try file.write([1], at: 0) } == EBADF)
        #expect(code { try file.sync() } == EBADF)
        #expect(unsafe map.base.load(as: UInt8.self) == 1)
    }

    @Test(arguments: Kind.allCases) func foldersListTheirNames(_ kind: Kind) throws {
        let ground = try Ground(kind)
        for name in ["b", "a", ".hidden"] { try ground.make(name) }
        try ground.system.createDirectory(ground.path("folder"))
        try ground.system.createDirectory(ground.path("folder"))
        #expect(try ground.system.list(ground.folder).sorted() == [".hidden", "a", "b", "folder"])
        #expect(code { _ = try ground.system.list(ground.path("none")) } == ENOENT)
        #expect(code { try ground.system.createDirectory(ground.path("a")) } == EEXIST)
        #expect(code { try ground.system.createDirectory(ground.path("x/y")) } == ENOENT)
        try ground.system.syncDirectory(ground.folder)
        #expect(code { try ground.system.syncDirectory(ground.path("none")) } == ENOENT)
        #expect(code { try ground.system.removeDirectory(ground.folder) } == ENOTEMPTY)
        try ground.system.removeDirectory(ground.path("folder"))
        #expect(try !ground.system.exists(ground.path("folder")))
        #expect(try !ground.system.exists(ground.path("a/b")))
        #expect(try ground.system.exists(ground.path("a")))
    }

    @Test(arguments: Kind.allCases) func renamingReplaces(_ kind: Kind) throws {
        let ground = try Ground(kind)
        try ground.make("old", [1])
        try ground.make("new", [2])
        try ground.system.rename(ground.path("new"), to: ground.path("old"))
        #expect(try ground.system.list(ground.folder) == ["old"])
        #expect(try ground.system.open(ground.path("old"), .read).read(count: 9, at: 0) == [2])
        #expect(code { try ground.system.rename(ground.path("new"), to: ground.path("old")) } == ENOENT)
        try ground.system.createDirectory(ground.path("folder"))
        try ground.system.rename(ground.path("old"), to: ground.path("folder/old"))
        try ground.system.rename(ground.path("folder"), to: ground.path("moved"))
        #expect(try ground.system.list(ground.path("moved")) == ["old"])
        #expect(code { try ground.system.rename(ground.path("moved"), to: ground.path("moved/in")) } == EINVAL)
    }

    @Test(arguments: Kind.allCases) func linksShareTheFile(_ kind: Kind) throws {
        let ground = try Ground(kind)
        let file = try ground.make("a", [1])
        try ground.system.link(ground.path("a"), to: ground.path("b"))
        #expect(try ground.system.linkCount(ground.path("b")) == 2)
        #expect(code { try ground.system.link(ground.path("a"), to: ground.path("b")) } == EEXIST)
        #expect(code { try ground.system.link(ground.path("none"), to: ground.path("c")) } == ENOENT)
        try file.write([5], at: 0)
        try ground.system.remove(ground.path("a"))
        #expect(try ground.system.linkCount(ground.path("b")) == 1)
        #expect(try ground.system.open(ground.path("b"), .read).read(count: 1, at: 0) == [5])
        // Renaming one name onto another of the same file does nothing.
        try ground.system.link(ground.path("b"), to: ground.path("c"))
        try ground.system.rename(ground.path("b"), to: ground.path("c"))
        #expect(try ground.system.linkCount(ground.path("c")) == 2)
    }

    @Test(arguments: Kind.allCases) func aRemovedFileLivesOnInItsHandles(_ kind: Kind) throws {
        let ground = try Ground(kind)
        let file = try ground.make("a", [1, 2])
        let map = try file.map(length: 2, advice: .normal)
        try ground.system.remove(ground.path("a"))
        #expect(code { try ground.system.remove(ground.path("a")) } == ENOENT)
        try file.write([3], at: 2)
        #expect(try file.read(count: 9, at: 0) == [1, 2, 3])
        #expect(unsafe map.base.load(fromByteOffset: 1, as: UInt8.self) == 2)
    }

    @Test(arguments: Kind.allCases) func oneHolderOfALock(_ kind: Kind) throws {
        let ground = try Ground(kind)
        let first = try #require(try ground.system.lock(ground.path("LOCK")))
        try first.file.write([42], at: 0)
        #expect(try ground.system.lock(ground.path("LOCK")) == nil)
        #expect(try ground.system.open(ground.path("LOCK"), .read).read(count: 9, at: 0) == [42])
        first.release()
        var second = try ground.system.lock(ground.path("LOCK"))
        #expect(second != nil)
        #expect(try ground.system.lock(ground.path("LOCK")) == nil)
        second = nil
        #expect(try ground.system.lock(ground.path("LOCK")) != nil)
    }

    @Test(arguments: Kind.allCases) func sharersOfALock(_ kind: Kind) throws {
        let ground = try Ground(kind)
        #expect(code { _ = try ground.system.lock(ground.path("LOCK"), .shared) } == ENOENT)
        _ = try ground.make("LOCK", [7])
        let first = try #require(try ground.system.lock(ground.path("LOCK"), .shared))
        let second = try #require(try ground.system.lock(ground.path("LOCK"), .shared))
        #expect(try first.file.read(count: 9, at: 0) == [7])
        #expect(try ground.system.lock(ground.path("LOCK")) == nil)
        first.release()
        #expect(try ground.system.lock(ground.path("LOCK")) == nil)
        second.release()
        let alone = try ground.system.lock(ground.path("LOCK"))
        #expect(alone != nil)
        #expect(try ground.system.lock(ground.path("LOCK"), .shared) == nil)
    }

    @Test(arguments: Kind.allCases) func storesShowInReadsAndWritesInMaps(_ kind: Kind) throws {
        let ground = try Ground(kind)
        let file = try ground.make("a")
        try file.allocate(8192)
        let stores = try #require(try file.mapForStores(length: 8192))
        let reads = try file.map(length: 8192, advice: .sequential)
        #expect(stores.store([1, 2, 3, 4], at: 4094))
        #expect(try file.read(count: 6, at: 4093) == [0, 1, 2, 3, 4, 0])
        try file.write([9], at: 4095)
        #expect(unsafe reads.base.load(fromByteOffset: 4095, as: UInt8.self) == 9)
        #expect(unsafe reads.base.load(fromByteOffset: 4096, as: UInt8.self) == 3)
        reads.willNeed(offset: 0, length: 8192)
        #expect(reads.isResident(offset: 4000, length: 200))
        #expect(!reads.isDamaged)
    }

    @Test(arguments: Kind.allCases) func mapsEndWithTheFile(_ kind: Kind) throws {
        let ground = try Ground(kind)
        let file = try ground.make("a", [1])
        #expect(code { _ = try file.map(length: 2, advice: .normal) } == EINVAL)
        #expect(code { _ = try file.mapForStores(length: 2) } == EINVAL)
        #expect(try ground.make("empty").map(length: 0, advice: .normal).count == 0)
    }

    @Test(arguments: Kind.allCases) func aTruncatedMapIsDamaged(_ kind: Kind) throws {
        let ground = try Ground(kind)
        let file = try ground.make("a", [UInt8](repeating: 7, count: 3 * 4096))
        try file.allocate(3 * 4096)
        let map = try file.map(length: 3 * 4096, advice: .random)
        let stores = try #require(try file.mapForStores(length: 3 * 4096))
        try file.truncate(to: 4096)
        #expect(unsafe map.base.load(fromByteOffset: 5000, as: UInt8.self) == 0)
        #expect(map.isDamaged)
        #expect(!stores.store([1], at: 5000))
        #expect(!stores.store([1], at: 0))
    }

    @Test(arguments: Kind.allCases) func freeSpaceIsTold(_ kind: Kind) throws {
        let ground = try Ground(kind)
        #expect(try ground.system.freeBytes(ground.folder) > 0)
        #expect(code { _ = try ground.system.freeBytes(ground.path("none")) } == ENOENT)
    }
}
