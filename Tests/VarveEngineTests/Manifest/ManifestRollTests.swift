import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// A new manifest and the switch of CURRENT to it: whatever call the power goes at, or fails, the store says what was
/// acknowledged, or that and the one edit that was on its way.
@Suite("The manifest's roll-over") struct ManifestRollTests {
    private static let directory = "/store"
    private static let edits: UInt64 = 16
    /// So that a manifest holds about three of the edits.
    private static let rollBytes: UInt64 = 2_500

    private static func create(_ files: any FileSystem) throws -> VersionSet {
        try VersionSet.create(
            identity: GoldenManifest.identity,
            first: TimelineOrigin(timeline: LogFixture.timeline, parent: nil, forkLSN: .zero, reason: .created),
            in: directory, files, rollBytes: rollBytes)
    }

    private static func open(_ files: any FileSystem, forWriting: Bool) throws -> VersionSet? {
        try VersionSet.open(
            in: directory, files, closed: nil, forWriting: forWriting, minimumFileNumber: 1, rollBytes: rollBytes)
    }

    /// Edit n: table n takes the place of table n - 1, the slot moves to n, and the log is in tables up to n.
    private static func apply(_ number: UInt64, to set: VersionSet) throws {
        var edit = VersionEdit()
        if let last = set.version.levels[6].tables.first { edit.remove(last.number, level: 6) }
        var properties = GoldenManifest.edits[0].added[0].properties
        properties.highestSourceVersion = number
        edit.add(set.takeFileNumber(), properties, level: 6)
        edit.slots = [RetentionSlot(name: "reader", lsn: LSN(number), capBytes: 1)]
        edit.flushed = LogPosition(timeline: LogFixture.timeline, lsn: LSN(number), runningHash: number)
        try set.logAndApply(edit)
    }

    /// Up to which edit the set has come; all that an edit says is there or nothing of it.
    private static func reached(_ set: VersionSet, _ place: Comment) -> UInt64 {
        let number = set.state.flushed.lsn.rawValue
        let tables = set.version.allTables
        #expect(tables.map(\.properties.highestSourceVersion) == (number == 0 ? [] : [number]), place)
        #expect(set.state.slots["reader"]?.lsn.rawValue ?? 0 == number, place)
        #expect(set.version.flushed == set.state.flushed, place)
        for table in tables { #expect(table.number < set.takeFileNumber(), place) }
        return number
    }

    /// Creates a store and applies the edits until something fails. Returns how many were acknowledged; nil: not even the
    /// creation.
    private static func run(_ files: SimulatedFileSystem) -> UInt64? {
        guard let set = try? create(files) else { return nil }
        for number in 1...edits {
            do { try apply(number, to: set) } catch { return number - 1 }
            // As the engine does, between other work.
            if number % 4 == 0 { _ = try? set.obsolete.deleteAll(in: directory, of: files) }
        }
        return edits
    }

    private static func fresh() throws -> SimulatedFileSystem {
        let files = SimulatedFileSystem()
        try files.createDirectory(directory)
        try files.syncDirectory("/")
        return files
    }

    /// Without faults: how many calls there are, and how many manifests came and went.
    @Test("It rolls, and old manifests go") func rolls() throws {
        let files = try Self.fresh()
        files.recordCalls()
        #expect(Self.run(files) == Self.edits)
        let made = Set(files.recordedCalls.filter { $0.path.contains("MANIFEST") }.map(\.path))
        #expect(made.count >= 4, "\(made)")
        let set = try #require(try Self.open(files, forWriting: true))
        #expect(Self.reached(set, "") == Self.edits)
        try set.obsolete.deleteAll(in: Self.directory, of: files)
        let current = try #require(try CurrentFile.read(in: Self.directory, files))
        #expect(current == set.manifestEnd?.number)
        #expect(try files.list(Self.directory).contains(FileName.manifest(current).text))
    }

    @Test("The power goes at any call", arguments: 0..<8 as Range<UInt64>) func powerCut(seed: UInt64) throws {
        let probe = try Self.fresh()
        let before = probe.callCount
        _ = Self.run(probe)
        let names: [CrashOptions] = [
            CrashOptions(), CrashOptions(names: .nothing), CrashOptions(names: .everything),
        ]
        for call in (before + 1)...probe.callCount {
            let place: Comment = "seed \(seed), call \(call)"
            let files = try Self.fresh()
            files.cutPower(atCall: call)
            let acknowledged = Self.run(files)
            let image = files.crash(seed: seed, options: names[Int(seed) % names.count])
            try Self.check(image, acknowledged, place)
        }
    }

    /// What is there after a crash: once to read, once to write, and then again.
    private static func check(_ files: SimulatedFileSystem, _ acknowledged: UInt64?, _ place: Comment) throws {
        guard let reader = try open(files, forWriting: false) else {
            #expect(acknowledged == nil, place)
            return
        }
        let found = reached(reader, place)
        #expect((acknowledged ?? 0)...((acknowledged ?? 0) + 1) ~= found, place)
        let writer = try #require(try open(files, forWriting: true), place)
        #expect(reached(writer, place) == found, place)
        try apply(found + 1, to: writer)
        let again = try #require(try open(files, forWriting: false), place)
        #expect(reached(again, place) == found + 1, place)
    }

    @Test("Any call fails with EIO") func inputOutputErrors() throws {
        let probe = try Self.fresh()
        let before = probe.callCount
        _ = Self.run(probe)
        for call in (before + 1)...probe.callCount {
            let place: Comment = "call \(call)"
            let files = try Self.fresh()
            files.fail(5, atCall: call)
            let acknowledged = Self.run(files)
            files.clearFaults()
            // Another process, and another boot.
            try Self.check(files.killProcess(), acknowledged, place)
            try Self.check(files.crash(seed: UInt64(call)), acknowledged, place)
        }
    }

    /// After an error of which nobody knows what it left, no edit is taken: not even one that could be written.
    @Test("After a failed sync no edit is taken") func failedSync() throws {
        let files = try Self.fresh()
        let set = try Self.create(files)
        try Self.apply(1, to: set)
        files.fail(5) { $0.operation == .sync && $0.path.contains("MANIFEST") }
        let first = #expect(throws: VarveError.self) { try Self.apply(2, to: set) }
        #expect(first?.code == .io)
        let second = #expect(throws: VarveError.self) { try Self.apply(2, to: set) }
        #expect(second?.code == .io)
        #expect(Self.reached(set, "") == 1)
    }

    /// A full disk at any call: the edit is not there, nothing is half there, and with room again it is taken.
    @Test("The disk is full at any call") func fullDisk() throws {
        let probe = try Self.fresh()
        let set = try Self.create(probe)
        let before = probe.callCount
        for number in 1...Self.edits { try Self.apply(number, to: set) }
        var met = 0
        for call in (before + 1)...probe.callCount {
            let place: Comment = "call \(call)"
            let files = try Self.fresh()
            let set = try Self.create(files)
            files.fail(28, atCall: call, partial: true)
            var reached: UInt64 = 0
            while reached < Self.edits {
                do {
                    try Self.apply(reached + 1, to: set)
                    reached += 1
                } catch let error as VarveError where error.code == .diskFull {
                    met += 1
                    #expect(Self.reached(set, place) == reached, place)
                    let other = try #require(try Self.open(files.killProcess(), forWriting: false), place)
                    #expect(Self.reached(other, place) == reached, place)
                } catch {
                    // A sync that fails for want of room leaves what nobody knows.
                    #expect((error as? VarveError)?.code == .io, place)
                    break
                }
            }
            try Self.check(files.killProcess(), reached, place)
        }
        #expect(met > Int(Self.edits))
    }

    /// A store of so many tables that one edit which says everything is larger than the roll-over size.
    @Test("A large snapshot is not written anew with each edit") func largeSnapshot() throws {
        let files = try Self.fresh()
        let set = try Self.create(files)
        for number in 1...20 as ClosedRange<UInt64> {
            var edit = VersionEdit()
            var properties = GoldenManifest.edits[0].added[0].properties
            properties.smallestKey = FullKey.make(.default, [UInt8(number)])
            properties.largestKey = FullKey.make(.default, [UInt8(number), 1])
            edit.add(set.takeFileNumber(), properties, level: 6)
            try set.logAndApply(edit)
        }
        try #require(try Self.snapshotBytes(set) > Self.rollBytes)
        let first = try #require(set.manifestEnd?.number)
        var manifests: Set<FileNumber> = [first]
        for number in 1...20 as ClosedRange<UInt64> {
            var edit = VersionEdit()
            edit.slots = [RetentionSlot(name: "reader", lsn: LSN(number), capBytes: 1)]
            try set.logAndApply(edit)
            manifests.insert(try #require(set.manifestEnd?.number))
        }
        #expect(manifests.count <= 2, "20 edits of a few bytes made \(manifests.count) manifests")
    }

    private static func snapshotBytes(_ set: VersionSet) throws -> UInt64 {
        UInt64(set.state.snapshot(of: set.version).encoded.count)
    }
}
