import Glibc
import Testing
import VarveIO
import VarveTestSupport

/// A mapped file that shrinks under its readers is an error and not the process's death.
@Suite struct TruncatedMapTests {
    private let directory: TemporaryDirectory
    private let system = PosixFileSystem()

    init() throws { directory = try TemporaryDirectory() }

    private func file(_ name: String, pages: Int) throws -> any File {
        let file = try system.open("\(directory.path)/\(name)", .createNew)
        try file.write([UInt8](repeating: 7, count: pages * 4096), at: 0)
        return file
    }

    @Test func readingPastTheNewEndGivesZerosAndMarksTheMap() throws {
        let file = try file("table", pages: 4)
        let map = try file.map(length: 4 * 4096, advice: .random)
        #expect(unsafe map.base.load(fromByteOffset: 3 * 4096, as: UInt8.self) == 7)
        #expect(!map.isDamaged)
        try file.truncate(to: 4096)
        #expect(unsafe map.base.load(fromByteOffset: 100, as: UInt8.self) == 7)
        #expect(!map.isDamaged)
        #expect(unsafe map.base.load(fromByteOffset: 2 * 4096 + 5, as: UInt8.self) == 0)
        #expect(map.isDamaged)
        // The other pages of the map still fault and are still caught.
        #expect(unsafe map.base.load(fromByteOffset: 3 * 4096 + 5, as: UInt8.self) == 0)
    }

    @Test func damageOfOneMapDoesNotMarkAnother() throws {
        let (first, second) = (try file("first", pages: 2), try file("second", pages: 2))
        let maps = (
            try first.map(length: 2 * 4096, advice: .normal), try second.map(length: 2 * 4096, advice: .normal)
        )
        try first.truncate(to: 0)
        #expect(unsafe maps.0.base.load(as: UInt8.self) == 0)
        #expect(maps.0.isDamaged && !maps.1.isDamaged)
        #expect(unsafe maps.1.base.load(as: UInt8.self) == 7)
    }

    @Test func storingPastTheNewEndSaysSo() throws {
        let file = try file("log", pages: 4)
        let map = try #require(try file.mapForStores(length: 4 * 4096))
        let bytes: [UInt8] = [1, 2, 3]
        #expect(map.store(bytes, at: 3 * 4096))
        try file.truncate(to: 4096)
        #expect(!map.store(bytes, at: 3 * 4096))
        // The map is not to be trusted any more, wherever one stores.
        #expect(!map.store(bytes, at: 0))
    }

    @Test func aSlotIsCleanWhenItIsUsedAgain() throws {
        for round in 0..<300 {
            let file = try file("table-\(round)", pages: 1)
            let map = try file.map(length: 4096, advice: .normal)
            #expect(!map.isDamaged, "round \(round)")
            if round % 3 == 0 {
                try file.truncate(to: 0)
                #expect(unsafe map.base.load(as: UInt8.self) == 0)
                #expect(map.isDamaged, "round \(round)")
            }
        }
    }

    @Test func faultsOnManyThreadsAreAllCaught() throws {
        let pages = 64
        let file = try file("table", pages: pages)
        let map = try file.map(length: UInt64(pages * 4096), advice: .random)
        try file.truncate(to: 0)
        let threads = try (0..<4).map { index in
            try IOThread(name: "fault-\(index)") {
                for page in 0..<pages {
                    #expect(unsafe map.base.load(fromByteOffset: page * 4096 + index, as: UInt8.self) == 0)
                    #expect(map.isDamaged)
                }
            }
        }
        for thread in threads { thread.join() }
    }

    @Test func writingFromATruncatedMapIsAnError() throws {
        let source = try file("source", pages: 2)
        let map = try source.map(length: 2 * 4096, advice: .normal)
        try source.truncate(to: 0)
        let copy = try system.open("\(directory.path)/copy", .createNew)
        #expect(throws: IOError(code: EIO, operation: "write", path: copy.path)) {
            try unsafe copy.write(UnsafeRawBufferPointer(start: map.base, count: 4096), at: 0)
        }
    }

    @Test func aForeignFaultStillKillsTheProcess() async {
        // By SIGBUS; sanitizers catch that and exit.
        await #expect(processExitsWith: .failure) {
            let directory = try TemporaryDirectory()
            let file = try PosixFileSystem().open("\(directory.path)/file", .createNew)
            try file.write([1], at: 0)
            _ = try file.map(length: 1, advice: .normal)  // installs the guard
            try touchForeignMap(of: file, in: directory)
        }
    }
}

/// Faults in a map that the guard does not know.
private func touchForeignMap(of file: any File, in directory: TemporaryDirectory) throws {
    let descriptor = unsafe open(file.path, O_RDONLY)
    let foreign = unsafe mmap(nil, 4096, PROT_READ, MAP_SHARED, descriptor, 0)
    try file.truncate(to: 0)
    // Nothing of this process runs after the fault.
    directory.remove()
    _ = unsafe foreign?.load(as: UInt8.self)
}
