import Glibc
import Testing
import VarveTestSupport

@testable import VarveIO

/// Allocation by writing zeros, for file systems that have no fallocate.
@Suite struct AllocateFallbackTests {
    @Test func holesAreFilledAndBytesKept() throws {
        let directory = try TemporaryDirectory()
        let opened = try PosixFileSystem().open("\(directory.path)/a", .createNew)
        let file = try #require(opened as? PosixFile)
        try file.write([1, 2, 3], at: 100_000)
        try file.write([4], at: 300_000)
        try file.truncate(to: 400_000)
        let before = try file.read(count: 500_000, at: 0)
        #expect(try allocated(file) < 100_000)
        try file.withDescriptor("allocate") { descriptor throws(IOError) in
            try file.fillHoles(descriptor, size: 400_000, upTo: 600_000)
        }
        #expect(try file.size() == 600_000)
        #expect(try allocated(file) >= 600_000)
        #expect(try file.read(count: 400_000, at: 0) == before)
        #expect(try file.read(count: 200_000, at: 400_000).allSatisfy { $0 == 0 })
    }

    private func allocated(_ file: PosixFile) throws -> Int {
        try file.withDescriptor("measure") { descriptor in
            // Blocks are given out late: only after a sync are they counted.
            fsync(descriptor)
            var info = stat()
            unsafe fstat(descriptor, &info)
            return Int(info.st_blocks) * 512
        }
    }
}
