import Glibc
import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// A store that is opened with its degraded mark set has forgotten what it held, for good and everywhere.
struct DegradedMarkTests {
    private func options(keepsMark: Bool = true) -> EngineOptions {
        var options = Fixture.options()
        options.keepsDegradedMark = keepsMark
        return options
    }

    private func mark(_ engine: Engine) throws -> DegradedMark { try #require(engine.mark) }

    @Test("what the mark covers is gone after the process died, in every namespace, and on followers")
    func dropped() throws {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files, options())
        let other = try engine.namespace(named: "other")
        try Fixture.fill(engine, 0..<50)
        try engine.flush()
        try Fixture.fill(engine, 50..<60)
        try engine.put([1], [2], in: other)
        try engine.put([1], [2], in: .loadProgress)
        try engine.put([1], [2], in: .marks)
        try engine.checkpoint(to: "/copy")
        let before = engine.position.timeline
        try mark(engine).set(cause: "the disk is full", at: 7)
        // Without the option: whoever opens the store.
        let next = try Fixture.store(files.killProcess(), options(keepsMark: false))
        #expect(try Fixture.contents(next).isEmpty)
        #expect(try next.get([1], in: other) == nil && next.get([1], in: .loadProgress) == nil)
        #expect(try next.get([1], in: .marks) != nil)
        #expect(next.droppedAtOpening == "the disk is full" && next.statistics.degradedMark == nil)
        let origin = next.versions.state.timelines.currentOrigin
        #expect(next.position.timeline != before && origin.reason == .degraded)
        try next.put([9], [9])
        try next.close()
    }

    @Test("a follower takes the deletes of what was dropped")
    func followed() throws {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files, options())
        try Fixture.fill(engine, 0..<20)
        try engine.checkpoint(to: "/copy", slot: "copy")
        try mark(engine).set(cause: "test", at: 7)
        let image = files.killProcess()
        let next = try Fixture.store(image, options())
        let copy = try Engine.openFollower(at: "/copy", Fixture.options(), fileSystem: image)
        #expect(try Fixture.contents(copy).count == 20)
        try copy.apply(from: next)
        #expect(try Fixture.contents(copy).isEmpty)
    }

    @Test("a reader shows nothing of a marked store, and changes nothing; a follower and a repair refuse it")
    func readers() throws {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files, options())
        try Fixture.fill(engine, 0..<20)
        try mark(engine).set(cause: "test", at: 7)
        #expect(code { try engine.checkpoint(to: "/copy") } == .degraded)
        let image = files.killProcess()
        let before = try Fixture.folder("/store", image)
        let reader = try Engine.openReadOnly(at: "/store", Fixture.options(), fileSystem: image)
        #expect(try Fixture.contents(reader).isEmpty)
        #expect(try reader.get(Fixture.key(3)) == nil)
        #expect(try reader.verify().damage.isEmpty && reader.verify().degradedMark == "test")
        #expect(reader.statistics.degradedMark == "test")
        try reader.close()
        #expect(try Fixture.folder("/store", image) == before)
        #expect(code { _ = try Engine.openFollower(at: "/store", Fixture.options(), fileSystem: image) } == .degraded)
        #expect(code { _ = try Engine.repair(storeAt: "/store", into: "/new", fileSystem: image) } == .degraded)
    }

    @Test(
        "a store that was closed with the mark set drops, one whose mark was cleared keeps", arguments: [false, true])
    func closed(isCleared: Bool) throws {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files, options())
        try Fixture.fill(engine, 0..<20)
        try mark(engine).set(cause: "test", at: 7)
        if isCleared { try mark(engine).clear() }
        try engine.close()
        let next = try Fixture.store(files, options())
        #expect(try Fixture.contents(next).count == (isCleared ? 20 : 0))
        #expect(try !mark(next).isSet)
    }

    @Test("power cut at any call while the mark is made, set and cleared", arguments: 1...3 as ClosedRange<UInt64>)
    func powerCut(seed: UInt64) throws {
        var change = 0
        var isDone = false
        while !isDone {
            change += 1
            let files = SimulatedFileSystem()
            let engine = try Fixture.store(files, options(keepsMark: false))
            try Fixture.fill(engine, 0..<3)
            try engine.close()
            files.cutPower(atChange: change + files.changeCount)
            var (set, clears, cleared) = (false, false, false)
            do {
                let engine = try Fixture.store(files, options())
                try mark(engine).set(cause: "test", at: 7)
                set = true
                try engine.put([1], [1], durability: .synced)
                clears = true
                try mark(engine).clear()
                cleared = true
            } catch {}
            isDone = !files.isPowerCut
            let next = try Fixture.store(files.crash(seed: seed &* 1000 &+ UInt64(change)), options(keepsMark: false))
            let found = try Fixture.contents(next).count
            if set && !clears { #expect(found == 0, "seed \(seed), change \(change)") }
            if !set { #expect(found == 0 || found == 3, "seed \(seed), change \(change)") }
            if clears { #expect(found == 0 || found == 4, "seed \(seed), change \(change)") }
            if cleared { #expect(found == 4, "seed \(seed), change \(change)") }
            try next.close()
        }
        #expect(change > 8)
    }

    @Test("power cut at any call while a marked store is opened: the next opening drops it all the same")
    func powerCutWhileDropping() throws {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files, options())
        try Fixture.fill(engine, 0..<3)
        try engine.flush()
        try mark(engine).set(cause: "test", at: 7)
        var change = 0
        var isOpen = false
        while !isOpen {
            change += 1
            let image = files.crash(seed: UInt64(change))
            image.cutPower(atChange: change)
            isOpen = (try? Fixture.store(image, options())) != nil
            let next = try Fixture.store(image.crash(seed: UInt64(change)), options())
            #expect(try Fixture.contents(next).isEmpty, "change \(change)")
            try next.close()
        }
        #expect(change > 10)
    }

    @Test("one copy of a sector may rot: nothing is lost", arguments: [false, true], [0, 1])
    func oneCopy(isSet: Bool, copy: Int) throws {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files, options())
        try Fixture.fill(engine, 0..<3)
        let key: [UInt8] = [1]
        try mark(engine).set(cause: "test", at: 7)
        try mark(engine).raise([DegradedMark.Raise(7, ofKeyHash: Engine.keyHash(key))])
        if !isSet { try mark(engine).clear() }
        let image = files.killProcess()
        let sector = DegradedMarkFile.sector(ofSlot: FloorTable.slot(ofKeyHash: Engine.keyHash(key)))
        try image.corrupt("/store/DEGRADED", at: DegradedMarkFile.offset(ofSector: 0, copy: copy) + 300)
        try image.corrupt("/store/DEGRADED", at: DegradedMarkFile.offset(ofSector: sector, copy: copy) + 13)
        let next = try Fixture.store(image, options())
        #expect(try Fixture.contents(next).count == (isSet ? 0 : 3))
        if isSet {
            #expect(code { try next.putIfNotOlder(key, [2], EntryFields(sourceVersion: 6)) } == .conditionFailed)
        }
        #expect(try mark(next).floor(ofKeyHash: Engine.keyHash(key)) == 7)
        #expect(try next.verify().damage.isEmpty)
        try next.close()
    }

    @Test("a mark of which no copy can be read counts as set, and its floors stand", arguments: [0, 13, 300, 511])
    func damaged(offset: Int) throws {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files, options())
        try Fixture.fill(engine, 0..<3)
        let key: [UInt8] = [1]
        try mark(engine).set(cause: "test", at: 7)
        try mark(engine).raise([DegradedMark.Raise(7, ofKeyHash: Engine.keyHash(key))])
        try mark(engine).clear()
        try engine.close()
        for copy in 0...1 {
            try files.corrupt("/store/DEGRADED", at: DegradedMarkFile.offset(ofSector: 0, copy: copy) + offset)
        }
        let reader = try Engine.openReadOnly(at: "/store", Fixture.options(), fileSystem: files)
        #expect(try reader.verify().damage.map(\.path) == ["/store/DEGRADED"])
        try reader.close()
        let next = try Fixture.store(files, options())
        #expect(try Fixture.contents(next).isEmpty)
        #expect(try next.verify().damage.isEmpty)
        #expect(code { try next.putIfNotOlder(key, [2], EntryFields(sourceVersion: 6)) } == .conditionFailed)
        try next.putIfNotOlder(key, [2], EntryFields(sourceVersion: 7))
        try next.close()
        #expect(try Fixture.contents(try Fixture.store(files, options())).count == 1)
    }

    @Test("another store's mark counts as set, is replaced, and counts for nothing against what is acknowledged then")
    func ofAnotherStore() throws {
        let (files, elsewhere) = (SimulatedFileSystem(), SimulatedFileSystem())
        let other = try Fixture.store(elsewhere, options())
        let (key, hash) = ([1] as [UInt8], Engine.keyHash([1]))
        try mark(other).set(cause: "test", at: 7)
        for version in 1...5 as ClosedRange<UInt64> {
            try mark(other).raise([DegradedMark.Raise(version, ofKeyHash: hash)])
        }
        let engine = try Fixture.store(files, options())
        let storeID = engine.versions.state.identity.storeID
        try engine.put(key, [1])
        try engine.close()
        let file = try files.open("/store/DEGRADED", .readWrite)
        try file.write(content(elsewhere), at: 0)
        try file.sync()
        file.close()
        #expect(try DegradedMark.openInPlace(in: "/store", of: storeID, files) == nil)
        let next = try Fixture.store(files, options())
        #expect(try Fixture.contents(next).isEmpty)
        try mark(next).set(cause: "test", at: 7)
        try mark(next).raise([DegradedMark.Raise(7, ofKeyHash: hash)])
        for seed in 1...10 as ClosedRange<UInt64> {
            let last = try Fixture.store(files.crash(seed: seed), options())
            #expect(code { try last.putIfNotOlder(key, [2], EntryFields(sourceVersion: 6)) } == .conditionFailed)
            try last.close()
        }
    }

    @Test(
        "Whatever generation a file has, what is acknowledged afterwards counts for more",
        arguments: [0, 1, UInt64(Int64.max) - 1, UInt64(Int64.max), 1 << 63, .max - 1, .max] as [UInt64])
    func generations(highest: UInt64) throws {
        let (key, hash) = ([1] as [UInt8], Engine.keyHash([1]))
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files, options())
        try engine.put(key, [1])
        let content = DegradedMarkFile(storeID: engine.versions.state.identity.storeID)
        try engine.close()
        let file = try files.open("/store/DEGRADED", .readWrite)
        for sector in 0..<DegradedMarkFile.sectorCount {
            for copy in 0...1 {
                try file.write(
                    content.encoded(sector: sector, copy: copy, generation: highest &- UInt64(1 - copy)),
                    at: UInt64(DegradedMarkFile.offset(ofSector: sector, copy: copy)))
            }
        }
        try file.sync()
        file.close()
        for changes in 1...4 {
            let image = files.crash(seed: 1)
            let next = try Fixture.store(image, options())
            #expect(try Fixture.contents(next).count == 1, "it was not set")
            for change in 1...changes {
                if change % 2 == 0 { try mark(next).clear() } else { try mark(next).set(cause: "test", at: 7) }
                try mark(next).raise([DegradedMark.Raise(UInt64(change) + 6, ofKeyHash: hash)])
            }
            for seed in 1...5 as ClosedRange<UInt64> {
                let last = try Fixture.store(image.crash(seed: seed), options())
                #expect(try Fixture.contents(last).isEmpty == (changes % 2 == 1), "after \(changes) changes")
                if changes % 2 == 1 {
                    let refusal = code { try last.putIfNotOlder(key, [2], EntryFields(sourceVersion: 6)) }
                    #expect(refusal == .conditionFailed)
                    try last.putIfNotOlder(key, [2], EntryFields(sourceVersion: UInt64(changes) + 6))
                }
                try last.close()
            }
            try next.close()
        }
    }

    @Test("floors of which no copy can be read refuse every source version, where the mark may be set")
    func lostFloors() throws {
        for isSet in [true, false] {
            let files = SimulatedFileSystem()
            let engine = try Fixture.store(files, options())
            let (key, other): ([UInt8], [UInt8]) = ([1], [2])
            let hash = Engine.keyHash(key)
            try mark(engine).set(cause: "test", at: 7)
            try mark(engine).raise([DegradedMark.Raise(7, ofKeyHash: hash)])
            if !isSet { try mark(engine).clear() }
            let image = files.killProcess()
            let sector = DegradedMarkFile.sector(ofSlot: FloorTable.slot(ofKeyHash: hash))
            #expect(DegradedMarkFile.sector(ofSlot: FloorTable.slot(ofKeyHash: Engine.keyHash(other))) != sector)
            for copy in 0...1 {
                try image.corrupt("/store/DEGRADED", at: DegradedMarkFile.offset(ofSector: sector, copy: copy) + 9)
            }
            let reader = try Engine.openReadOnly(at: "/store", Fixture.options(), fileSystem: image)
            #expect(try reader.verify().damage.map(\.path) == ["/store/DEGRADED"])
            try reader.close()
            let next = try Fixture.store(image, options())
            let refusal = code { try next.putIfNotOlder(key, [2], EntryFields(sourceVersion: 1 << 62)) }
            #expect(refusal == (isSet ? .conditionFailed : nil))
            // Without a source version it is as any key, and so are keys of other floors.
            try next.put(key, [2])
            try next.putIfNotOlder(other, [2], EntryFields(sourceVersion: 1))
            try next.close()
        }
    }

    @Test("an overwrite that stops at any byte leaves the mark and its floors as before or as after")
    func torn() throws {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files, options())
        let hash = Engine.keyHash([1])
        var steps: [() throws -> Void] = []
        for round in 0..<3 as Range<UInt64> {
            steps.append { try mark(engine).set(cause: "test", at: 7) }
            steps.append { try mark(engine).raise([DegradedMark.Raise(round * 10 + 3, ofKeyHash: hash)]) }
            steps.append { try mark(engine).clear() }
        }
        for (number, step) in steps.enumerated() {
            let before = try content(files)
            try step()
            let after = try content(files)
            let changed = before.indices.filter { before[$0] != after[$0] }
            // The two copies are written one after the other.
            let places = Set(changed.map { $0 / DegradedMarkFile.sectorBytes }).sorted {
                isFirst($0, before) && !isFirst($1, before)
            }
            #expect(places.count == 2, "step \(number)")
            var bytes = before
            let (old, new) = (try reading(before), try reading(after))
            for place in places {
                let start = place * DegradedMarkFile.sectorBytes
                for offset in start..<(start + DegradedMarkFile.sectorBytes) {
                    bytes[offset] = after[offset]
                    let read = try reading(bytes)
                    let isOld = read.mark == old.mark && read.floors == old.floors
                    let isNew = read.mark == new.mark && read.floors == new.floors
                    #expect(place == places[0] ? isOld || isNew : isNew, "step \(number), \(offset)")
                }
            }
        }
        try engine.close()
    }

    private func content(_ files: SimulatedFileSystem) throws -> [UInt8] {
        try files.open("/store/DEGRADED", .read).read(count: DegradedMarkFile.bytes, at: 0)
    }

    private func reading(_ bytes: [UInt8]) throws -> DegradedMarkFile {
        try DegradedMarkFile(reading: bytes, path: "DEGRADED")
    }

    /// Whether a change goes to this place first: to the copy that is not the newest.
    private func isFirst(_ place: Int, _ before: [UInt8]) -> Bool {
        let sectors = DegradedMarkFile.copyBytes / DegradedMarkFile.sectorBytes
        guard let file = try? reading(before) else { return false }
        return file.copies[place % sectors].newest != place / sectors
    }

    @Test("power cut at any call while floors are raised: what was acknowledged stands")
    func powerCutWhileRaising() throws {
        let (a, b): ([UInt8], [UInt8]) = ([1], [2])
        var change = 0
        var isDone = false
        while !isDone {
            change += 1
            let files = SimulatedFileSystem()
            let engine = try Fixture.store(files, options())
            files.cutPower(atChange: change + files.changeCount)
            var acknowledged: [[UInt8]: UInt64] = [a: 0, b: 0]
            do {
                try mark(engine).set(cause: "test", at: 7)
                for version in 1...4 as ClosedRange<UInt64> {
                    try mark(engine).raise([DegradedMark.Raise(version, ofKeyHash: Engine.keyHash(a))])
                    acknowledged[a] = version
                    try mark(engine).raise([
                        DegradedMark.Raise(version, ofKeyHash: Engine.keyHash(a)),
                        DegradedMark.Raise(version, ofKeyHash: Engine.keyHash(b)),
                    ])
                    acknowledged[b] = version
                }
            } catch {}
            isDone = !files.isPowerCut
            for seed in 0..<4 as Range<UInt64> {
                let next = try Fixture.store(files.crash(seed: seed &* 1000 &+ UInt64(change)), options())
                for (key, version) in acknowledged where version > 1 {
                    let late = code { try next.putIfNotOlder(key, [2], EntryFields(sourceVersion: version - 1)) }
                    #expect(late == .conditionFailed, "\(key), change \(change), seed \(seed)")
                }
                try next.close()
            }
        }
        #expect(change > 20)
    }

    @Test("a sync that failed proves nothing: the next attempt writes again")
    func syncFails() throws {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files, options())
        try Fixture.fill(engine, 0..<3)
        try engine.sync()
        files.fail(EIO) { $0.operation == .sync && $0.path.hasSuffix("DEGRADED") }
        #expect(code { try mark(engine).set(cause: "test", at: 7) } == .io)
        #expect(try !mark(engine).isSet)
        try mark(engine).set(cause: "test", at: 7)
        #expect(try mark(engine).isSet)
        for seed in 1...10 as ClosedRange<UInt64> {
            let next = try Fixture.store(files.crash(seed: seed), options())
            #expect(try Fixture.contents(next).isEmpty, "seed \(seed)")
            try next.close()
        }
    }

    @Test("source versions that were acknowledged under the mark stay floors")
    func floors() throws {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files, options())
        try engine.putIfNotOlder([1], [1], EntryFields(sourceVersion: 3))
        try mark(engine).set(cause: "test", at: 7)
        let key: [UInt8] = [1]
        try mark(engine).raise([DegradedMark.Raise(7, ofKeyHash: Engine.keyHash(key))])
        try mark(engine).raise([DegradedMark.Raise(5, ofKeyHash: Engine.keyHash(key))])
        #expect(try mark(engine).floor(ofKeyHash: Engine.keyHash(key)) == 7)
        let next = try Fixture.store(files.crash(seed: 1), options(keepsMark: false))
        #expect(code { try next.putIfNotOlder(key, [2], EntryFields(sourceVersion: 6)) } == .conditionFailed)
        try next.putIfNotOlder(key, [2], EntryFields(sourceVersion: 7))
        try next.putIfNotOlder([2], [2], EntryFields(sourceVersion: 1))
    }

    @Test("LSNs that were given out elsewhere are passed over, and found passed over again")
    func skipping() throws {
        let files = SimulatedFileSystem()
        let engine = try Fixture.store(files, options())
        try engine.put([1], [1])
        let end = LSN(engine.appended.rawValue + 3_000_000)
        try engine.skipLSNs(upTo: end)
        #expect(engine.appended == end && engine.visible == end)
        try engine.skipLSNs(upTo: .zero)
        #expect(engine.appended == end.next)
        let version = try engine.put([2], [2], durability: .synced)
        #expect(version > end)
        let next = try Fixture.store(files.crash(seed: 1), options())
        #expect(try next.get([2])?.version == version)
        #expect(try Fixture.contents(next).count == 2)
    }

    @Test("no bytes make the decoder trap, and what it takes is what was written")
    func decoding() throws {
        var random = SplitMix(11)
        var file = DegradedMarkFile(storeID: UniqueID(high: 1, low: 2))
        file.mark = DegradedMarkFile.Mark(time: 5, cause: String(repeating: "ä", count: 200))
        file.floors.raise(FloorTable.Floor(slot: 4095, version: 9))
        let whole = file.encoded()
        #expect(whole.count == DegradedMarkFile.bytes)
        let read = try DegradedMarkFile(reading: whole, path: "DEGRADED")
        #expect(read.mark?.cause == String(repeating: "ä", count: 128) && read.floors == file.floors)
        for _ in 0..<2000 {
            var bytes = whole
            for _ in 0...3 { bytes[Int.random(in: 0..<bytes.count, using: &random)] ^= random.byte() }
            if Bool.random(using: &random) { bytes.removeLast(Int.random(in: 0...bytes.count, using: &random)) }
            guard let read = try? DegradedMarkFile(reading: bytes, path: "DEGRADED") else { continue }
            #expect(read.mark == DegradedMarkFile.Mark(time: 5, cause: String(repeating: "ä", count: 128)))
        }
    }
}
