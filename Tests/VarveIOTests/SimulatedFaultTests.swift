import Glibc
import Testing
import VarveIO
import VarveTestSupport

/// Errors, full disks and rot in the simulated file system.
@Suite struct SimulatedFaultTests {
    private func full(_ path: String, _ operation: String) -> IOError {
        IOError(code: ENOSPC, operation: operation, path: path)
    }

    @Test func aFullDiskRefusesAndRecovers() throws {
        let system = SimulatedFileSystem(capacity: 10 * 4096)
        let file = try system.open("/a", .createNew)
        try file.allocate(8 * 4096)
        #expect(throws: full("/a", "allocate")) { try file.allocate(11 * 4096) }
        #expect(try file.size() == 8 * 4096)
        #expect(try system.freeBytes("/") == 2 * 4096)
        let other = try system.open("/b", .createNew)
        #expect(throws: full("/b", "write")) { try other.write([UInt8](repeating: 1, count: 3 * 4096), at: 0) }
        #expect(try other.size() == 2 * 4096)
        #expect(try system.freeBytes("/") == 0)
        // What is allocated can be written, whatever the disk says.
        try file.write([UInt8](repeating: 2, count: 8 * 4096), at: 0)
        try system.remove("/b")
        #expect(try system.freeBytes("/") == 0)
        other.close()
        #expect(try system.freeBytes("/") == 2 * 4096)
        try file.truncate(to: 1)
        #expect(system.usedBytes == 4096)
        #expect(system.crash(seed: 1, options: CrashOptions(data: .everything, names: .everything)).usedBytes == 4096)
        system.capacity = nil
        try file.write([UInt8](repeating: 1, count: 100 * 4096), at: 0)
    }

    @Test func mapsAndLinksHoldTheirSpace() throws {
        let system = SimulatedFileSystem()
        let file = try system.open("/a", .createNew)
        try file.allocate(4096)
        var map: (any FileMap)? = try file.map(length: 4096, advice: .normal)
        try system.link("/a", to: "/b")
        file.close()
        try system.remove("/a")
        try system.remove("/b")
        #expect(system.usedBytes == 4096)
        #expect(map?.count == 4096)
        map = nil
        #expect(system.usedBytes == 0)
    }

    @Test func anErrorComesAtItsCallOnceOrForGood() throws {
        let system = SimulatedFileSystem()
        let file = try system.open("/a", .createNew)
        system.fail(EIO, atCall: system.callCount + 2)
        try file.write([1], at: 0)
        #expect(throws: IOError(code: EIO, operation: "write", path: "/a")) { try file.write([2], at: 0) }
        #expect(try file.read(count: 1, at: 0) == [1])
        system.fail(ENOSPC, sticky: true) { $0.operation == .write && $0.path.hasSuffix("a") }
        for _ in 0..<3 { #expect(throws: full("/a", "write")) { try file.write([2], at: 0) } }
        system.clearFaults()
        try file.write([2], at: 0)
        system.fail(EIO, partial: true) { $0.operation == .write }
        #expect(throws: IOError.self) { try file.write([7, 7, 7, 7], at: 0) }
        #expect(try file.read(count: 9, at: 0) == [7, 7])
    }

    @Test func everyCallCanFail() throws {
        func work(_ system: SimulatedFileSystem) throws {
            try system.createDirectory("/d")
            let file = try system.open("/d/a", .createNew)
            try file.allocate(4096)
            try file.write([1], at: 0)
            if let map = try file.mapForStores(length: 4096), !map.store([1], at: 3) {
                throw IOError(code: EIO, operation: "store", path: file.path)
            }
            try file.sync()
            _ = try file.map(length: 10, advice: .normal)
            try file.truncate(to: 10)
            _ = try file.size()
            _ = try file.read(count: 10, at: 0)
            _ = try system.open("/d/a", .read)
            try system.link("/d/a", to: "/d/b")
            _ = try system.linkCount("/d/a")
            try system.rename("/d/b", to: "/d/c")
            try system.syncDirectory("/d")
            _ = try system.list("/d")
            _ = try system.exists("/d/c")
            _ = try system.freeBytes("/d")
            _ = try system.lock("/d/LOCK")
            for name in try system.list("/d") { try system.remove("/d/\(name)") }
            try system.removeDirectory("/d")
        }
        let whole = SimulatedFileSystem()
        whole.recordCalls()
        try work(whole)
        #expect(Set(whole.recordedCalls.map(\.operation)) == Set(SimulatedOperation.allCases))
        for call in 1...whole.callCount {
            let system = SimulatedFileSystem()
            system.fail(EIO, atCall: call)
            #expect(throws: IOError.self, "call \(call)") { try work(system) }
            #expect(system.callCount == call)
        }
    }

    @Test func rotShowsInReadsMapsAndAfterACrash() throws {
        let system = SimulatedFileSystem()
        let file = try system.open("/a", .createNew)
        try file.write([1, 2, 3], at: 0)
        let map = try file.map(length: 3, advice: .normal)
        try system.corrupt("/a", at: 1, xor: 0x80)
        #expect(try file.read(count: 3, at: 0) == [1, 0x82, 3])
        #expect(unsafe map.base.load(fromByteOffset: 1, as: UInt8.self) == 0x82)
        try file.sync()
        try system.syncDirectory("/")
        #expect(try system.crash(seed: 1).open("/a", .read).read(count: 3, at: 0) == [1, 0x82, 3])
    }

    @Test func droppedCachesComeBackByReading() throws {
        let system = SimulatedFileSystem()
        let file = try system.open("/a", .createNew)
        try file.write([UInt8](repeating: 1, count: 3 * 4096), at: 0)
        let map = try file.map(length: 3 * 4096, advice: .random)
        #expect(map.isResident(offset: 0, length: 3 * 4096))
        system.dropCaches()
        #expect(!map.isResident(offset: 4096, length: 1))
        _ = try file.read(count: 10, at: 4096)
        #expect(map.isResident(offset: 4096, length: 4096))
        #expect(!map.isResident(offset: 4096, length: 4097))
        map.willNeed(offset: 8192, length: 4096)
        #expect(map.isResident(offset: 4096, length: 8192))
    }

    @Test func storeMapsCanBeRefused() throws {
        let system = SimulatedFileSystem()
        system.offerStoreMaps(false)
        let file = try system.open("/a", .createNew)
        try file.allocate(4096)
        #expect(try file.mapForStores(length: 4096) == nil)
    }
}
