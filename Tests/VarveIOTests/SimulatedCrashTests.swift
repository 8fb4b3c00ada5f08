import Glibc
import Testing
import VarveIO
import VarveTestSupport

/// What a power cut leaves, in the simulated file system.
@Suite struct SimulatedCrashTests {
    private func bytes(_ system: SimulatedFileSystem, _ path: String = "/a") throws -> [UInt8]? {
        guard try system.exists(path) else { return nil }
        return try system.open(path, .read).read(count: 1 << 20, at: 0)
    }

    /// A file whose name and first content are durable.
    private func durable(_ content: [UInt8]) throws -> (SimulatedFileSystem, any File) {
        let system = SimulatedFileSystem()
        let file = try system.open("/a", .createNew)
        try file.write(content, at: 0)
        try file.sync()
        try system.syncDirectory("/")
        return (system, file)
    }

    @Test func whatIsSyncedStaysWhateverTheSeed() throws {
        let content = (0..<9000).map { UInt8(truncatingIfNeeded: $0) }
        let (system, _) = try durable(content)
        for seed in 0..<50 as Range<UInt64> {
            #expect(try bytes(system.crash(seed: seed)) == content, "seed \(seed)")
        }
    }

    @Test func aNameWithoutItsFoldersSyncMayBeLost() throws {
        let system = SimulatedFileSystem()
        let file = try system.open("/a", .createNew)
        try file.write([1], at: 0)
        try file.sync()
        let kept = try (0..<40).count { try bytes(system.crash(seed: UInt64($0))) != nil }
        #expect(kept > 0 && kept < 40)
        #expect(try bytes(system.crash(seed: 0, options: CrashOptions(names: .nothing))) == nil)
        #expect(try bytes(system.crash(seed: 0, options: CrashOptions(names: .everything))) == [1])
    }

    @Test func everySectorIsOfOneMoment() throws {
        let (system, file) = try durable([UInt8](repeating: 0, count: 16384))
        for version in 1...5 as ClosedRange<UInt8> {
            try file.write([UInt8](repeating: version, count: 16384), at: 0)
        }
        var seen: Set<UInt8> = []
        var torn = 0
        for seed in 0..<300 as Range<UInt64> {
            let image = try #require(try bytes(system.crash(seed: seed)))
            #expect(image.count == 16384)
            for sector in stride(from: 0, to: 16384, by: 512) {
                seen.insert(image[sector])
                #expect(Set(image[sector..<(sector + 512)]).count == 1, "seed \(seed)")
            }
            if Set(image[0..<4096]).count > 1 { torn += 1 }
        }
        #expect(seen == [0, 1, 2, 3, 4, 5])
        #expect(torn > 20)
    }

    @Test func aLaterPageMaySurviveAnEarlierOne() throws {
        let (system, file) = try durable([UInt8](repeating: 0, count: 8192))
        try file.write([1], at: 0)
        try file.write([2], at: 4096)
        var outcomes: Set<[UInt8]> = []
        for seed in 0..<200 as Range<UInt64> {
            let image = try #require(try bytes(system.crash(seed: seed)))
            outcomes.insert([image[0], image[4096]])
        }
        #expect(outcomes == [[0, 0], [1, 0], [0, 2], [1, 2]])
    }

    @Test func storesThroughMapsAreLostLikeWrites() throws {
        let system = SimulatedFileSystem()
        let file = try system.open("/a", .createNew)
        try file.allocate(8192)
        try file.sync()
        try system.syncDirectory("/")
        let map = try #require(try file.mapForStores(length: 8192))
        #expect(map.store([1], at: 0))
        #expect(map.store([2], at: 4096))
        var outcomes: Set<[UInt8]> = []
        for seed in 0..<200 as Range<UInt64> {
            let image = try #require(try bytes(system.crash(seed: seed)))
            outcomes.insert([image[0], image[4096]])
        }
        #expect(outcomes.count == 4)
        try file.sync()
        #expect(try bytes(system.crash(seed: 1))?[4096] == 2)
    }

    @Test func growthMayComeWithoutItsBytes() throws {
        let (system, file) = try durable([7])
        try file.write([UInt8](repeating: 9, count: 8191), at: 1)
        var lengths: Set<Int> = []
        var hasZeros = false
        for seed in 0..<200 as Range<UInt64> {
            let image = try #require(try bytes(system.crash(seed: seed)))
            lengths.insert(image.count)
            #expect(image[0] == 7)
            #expect(image.dropFirst().allSatisfy { $0 == 0 || $0 == 9 })
            if image.count > 1 && image.contains(0) { hasZeros = true }
        }
        #expect(lengths == [1, 8192])
        #expect(hasZeros)
    }

    @Test func aShrinkNeverUndoesHalf() throws {
        let (system, file) = try durable([UInt8](repeating: 5, count: 12288))
        try file.truncate(to: 100)
        try file.truncate(to: 8192)
        for seed in 0..<100 as Range<UInt64> {
            let image = try #require(try bytes(system.crash(seed: seed)))
            switch image.count {
            case 12288, 100: #expect(image.allSatisfy { $0 == 5 }, "seed \(seed)")
            case 8192:
                #expect(image[..<100].allSatisfy { $0 == 5 } && image[100...].allSatisfy { $0 == 0 }, "seed \(seed)")
            default: Issue.record("length \(image.count) was never there, seed \(seed)")
            }
        }
        #expect(Set(try (0..<100).map { try bytes(system.crash(seed: $0))?.count }) == [12288, 100, 8192])
    }

    @Test func folderChangesComeAsAPrefix() throws {
        let system = SimulatedFileSystem()
        for name in ["/1", "/2", "/3"] { try system.open(name, .createNew).close() }
        try system.rename("/1", to: "/4")
        let prefixes: Set<[String]> = [[], ["1"], ["1", "2"], ["1", "2", "3"], ["2", "3", "4"]]
        #expect(Set(try (0..<200).map { try system.crash(seed: $0).list("/") }) == prefixes)
    }

    @Test func aMoveBetweenFoldersNeverLosesTheFile() throws {
        let system = SimulatedFileSystem()
        for folder in ["/x", "/y"] { try system.createDirectory(folder) }
        try system.open("/x/a", .createNew).close()
        for folder in ["/", "/x", "/y"] { try system.syncDirectory(folder) }
        try system.rename("/x/a", to: "/y/b")
        var outcomes: Set<[String]> = []
        for seed in 0..<100 as Range<UInt64> {
            let image = system.crash(seed: seed)
            outcomes.insert(try image.list("/x") + image.list("/y"))
        }
        #expect(outcomes == [["a"], ["a", "b"], ["b"]])
    }

    @Test func aSeedRepeatsItsImage() throws {
        func run() throws -> [[UInt8]?] {
            let (system, file) = try durable([UInt8](repeating: 0, count: 20000))
            var random = SplitMix(3)
            for _ in 0..<50 {
                let bytes = [UInt8](repeating: random.byte(), count: 1500)
                try file.write(bytes, at: random.next() % 30000)
            }
            return try (0..<20).map { try bytes(system.crash(seed: $0)) }
        }
        #expect(try run() == run())
    }

    @Test func theImageIsDurableAndApart() throws {
        let (system, file) = try durable([1])
        try file.write([2], at: 0)
        let image = system.crash(seed: 5, options: CrashOptions(data: .everything))
        try image.open("/a", .readWrite).write([3], at: 0)
        #expect(try bytes(system) == [2])
        try file.write([4], at: 0)
        #expect(try bytes(image) == [3])
        #expect(try bytes(image.crash(seed: 0, options: CrashOptions(data: .nothing))) == [2])
    }

    @Test func aKillLosesNothingButPromisesNothing() throws {
        let (system, file) = try durable([1])
        try file.write([2], at: 0)
        try system.open("/b", .createNew).close()
        #expect(try system.lock("/LOCK") != nil)
        let after = system.killProcess()
        #expect(try bytes(after) == [2])
        #expect(try after.list("/") == ["LOCK", "a", "b"])
        let lost = after.crash(seed: 0, options: CrashOptions(data: .nothing, names: .nothing))
        #expect(try bytes(lost) == [1])
        #expect(try lost.list("/") == ["a"])
    }

    @Test func everyCallAfterThePowerCutFails() throws {
        let (system, file) = try durable([1])
        system.cutPower(atCall: system.callCount + 2)
        try file.write([2], at: 0)
        #expect(throws: IOError.self) { try file.write([3], at: 0) }
        #expect(system.isPowerCut)
        #expect(throws: IOError.self) { try file.sync() }
        #expect(throws: IOError.self) { _ = try system.list("/") }
        let outcomes = Set(try (0..<50).map { try bytes(system.crash(seed: $0)) })
        #expect(outcomes == [[1], [2], [3]])
    }

    @Test func aSyncThatThePowerCutsPromisesNothing() throws {
        let (system, file) = try durable([1])
        try file.write([2], at: 0)
        system.cutPower(atChange: system.changeCount + 1)
        #expect(throws: IOError.self) { try file.sync() }
        #expect(try bytes(system.crash(seed: 0, options: CrashOptions(data: .nothing))) == [1])
    }

    @Test func afterAFailedSyncNoLaterSyncHelps() throws {
        let (system, file) = try durable([UInt8](repeating: 1, count: 8192))
        try file.write([2], at: 0)
        system.fail(EIO) { $0.operation == .sync }
        #expect(throws: IOError(code: EIO, operation: "sync", path: "/a")) { try file.sync() }
        try file.write([3], at: 4096)
        try file.sync()
        let lost = try #require(try bytes(system.crash(seed: 0, options: CrashOptions(data: .nothing))))
        #expect(lost[0] == 1 && lost[4096] == 3)
        // Writing the page again makes it dirty again.
        try file.write([4], at: 1)
        try file.sync()
        let kept = try #require(try bytes(system.crash(seed: 0, options: CrashOptions(data: .nothing))))
        #expect(kept[0] == 2 && kept[1] == 4)
    }

    @Test func droppedSyncsAreFound() throws {
        let (system, file) = try durable([1])
        system.dropFileSyncs { $0 == "/a" }
        system.dropDirectorySyncs { $0 == "/" }
        try file.write([2], at: 0)
        try file.sync()
        try system.open("/b", .createNew).close()
        try system.syncDirectory("/")
        let lost = system.crash(seed: 0, options: CrashOptions(data: .nothing, names: .nothing))
        #expect(try bytes(lost) == [1])
        #expect(try lost.list("/") == ["a"])
    }

    @Test func theObserverMayTakeImagesAtEveryChange() throws {
        let system = SimulatedFileSystem()
        let images = Monitor<[SimulatedFileSystem]>([])
        system.observe { [weak system] call in
            guard let system, call.operation.isChange else { return }
            let image = system.crash(seed: UInt64(call.number))
            images.withLock { $0.append(image) }
        }
        let file = try system.open("/a", .createNew)
        for _ in 0..<5 { try file.write([1], at: 0) }
        try file.sync()
        #expect(images.withLock { $0.count } == system.changeCount)
        #expect(system.changeCount == 7)
    }
}
