import Testing
import VarveIO
import VarveTestSupport

@testable import VarveCrashTest
@testable import VarveEngine

/// Damage that a checksum would catch, with the checksum made to fit: as if that one check were switched off. What stands
/// behind it must find the damage, or the comparison with the model must.
@Suite struct ForgedChecksumTests {
    private static let value = Array("the value that will be forged".utf8)

    /// A store of one write, killed or flushed and closed.
    private static func makeStore(flushes: Bool) throws -> (Workload, StoreHistory) {
        var options = WorkloadShape(seed: 1, steps: 0).options
        options.compressLog = false
        options.table.codec = .stored
        let workload = Workload(WorkloadShape(seed: 1, steps: 0))
        options.clock = workload.clock
        let engine = try Engine.open(at: Workload.directory, options, fileSystem: workload.files)
        var history = StoreHistory()
        history.issue([.put(WorkloadKeys.all[0], .init(value: value))])
        try engine.put(WorkloadKeys.all[0], value, durability: .synced)
        history.acknowledge(synced: true)
        if flushes { try engine.flush() }
        return (workload, history)
    }

    private static func path(_ ending: (String) -> Bool, in files: SimulatedFileSystem) throws -> String {
        let name = try #require(try files.list(Workload.directory).first(where: ending))
        return Workload.directory + "/" + name
    }

    private static func bytes(of path: String, in files: SimulatedFileSystem) throws -> [UInt8] {
        let file = try files.open(path, .read)
        defer { file.close() }
        return try file.readAll(atMost: 1 << 24)
    }

    private static func write(_ bytes: [UInt8], to path: String, in files: SimulatedFileSystem) throws {
        let file = try files.open(path, .readWrite)
        defer { file.close() }
        try file.write(bytes, at: 0)
    }

    /// What the crash test says of the files.
    private static func findings(_ workload: Workload, _ files: SimulatedFileSystem, _ history: StoreHistory) -> String?
    {
        do {
            let checker = StoreChecker(
                files: files, directory: Workload.directory, options: workload.shape.options(workload.clock))
            try checker.check(history, history.issued...history.issued, isThorough: false)
            return nil
        } catch {
            return "\(error)"
        }
    }

    private static func seal(_ bytes: inout [UInt8], _ range: Range<Int>, at offset: Int, seed: UInt64) {
        store(unsafe Array(bytes[range]).withBytes { unsafe XXH3.hash64($0, seed: seed) }, in: &bytes, at: offset)
    }

    private static func store(_ checksum: UInt64, in bytes: inout [UInt8], at offset: Int) {
        for index in 0..<8 { bytes[offset + index] = UInt8(truncatingIfNeeded: checksum >> UInt64(8 * index)) }
    }

    private static func number(_ bytes: [UInt8], at offset: Int, bytes count: Int) -> UInt64 {
        (0..<count).reduce(0) { $0 | UInt64(bytes[offset + $1]) << UInt64(8 * $1) }
    }

    @Test func anUntouchedStoreIsFine() throws {
        let (workload, history) = try Self.makeStore(flushes: true)
        #expect(Self.findings(workload, workload.files.killProcess(), history) == nil)
    }

    @Test func aForgedBlockIsFound() throws {
        let (workload, history) = try Self.makeStore(flushes: true)
        let files = workload.files.killProcess()
        let path = try Self.path({ $0.hasSuffix(".sst") }, in: files)
        var bytes = try Self.bytes(of: path, in: files)
        guard case .table(let fileID)? = FileName(String(path.split(separator: "/").last ?? "")) else {
            Issue.record("\(path) is no table")
            return
        }
        let seed = StoredBlock.seed(fileID: fileID, offset: 0)
        // The block's end is where its checksum fits.
        let end = try #require(
            (1..<(bytes.count - 9)).first { end in
                let checksum = unsafe Array(bytes[0...end]).withBytes { unsafe XXH3.hash64($0, seed: seed) }
                return checksum == Self.number(bytes, at: end + 1, bytes: 8)
            })
        let place = try #require(bytes.firstIndex(of: Self.value))
        bytes[place] ^= 1
        Self.seal(&bytes, 0..<(end + 1), at: end + 1, seed: seed)
        try Self.write(bytes, to: path, in: files)
        let finding = try #require(Self.findings(workload, files, history))
        #expect(finding.contains("expected"), "the comparison with the model finds it: \(finding)")
    }

    @Test(arguments: [".log", "MANIFEST"])
    func aForgedFrameIsFound(_ kind: String) throws {
        let (workload, history) = try Self.makeStore(flushes: kind == "MANIFEST")
        let files = workload.files.killProcess()
        let path = try Self.path({ $0.contains(kind) }, in: files)
        var bytes = try Self.bytes(of: path, in: files)
        let header = try unsafe Array(bytes[..<LogFormat.headerBytes]).withBytes { bytes throws(DecodeError) in
            unsafe try SegmentHeader(
                decoding: bytes, magic: kind == ".log" ? LogFormat.logMagic : LogFormat.manifestMagic)
        }
        // The frame that holds the write; of a manifest, the first.
        var start = LogFormat.headerBytes
        let place = kind == ".log" ? try #require(bytes.firstIndex(of: Self.value)) : start + 100
        while start + Int(Self.number(bytes, at: start + 8, bytes: 4)) <= place {
            start += Int(Self.number(bytes, at: start + 8, bytes: 4))
        }
        let length = Int(Self.number(bytes, at: start + 8, bytes: 4))
        bytes[place] ^= 1
        let checksum = unsafe Array(bytes[start..<(start + length)]).withBytes {
            unsafe FrameChecksum(salt: header.salt).whole($0)
        }
        Self.store(checksum, in: &bytes, at: start)
        try Self.write(bytes, to: path, in: files)
        #expect(Self.findings(workload, files, history) != nil)
    }
}

extension [UInt8] {
    /// Where `piece` begins.
    fileprivate func firstIndex(of piece: [UInt8]) -> Int? {
        guard count >= piece.count else { return nil }
        return (0...(count - piece.count)).first { self[$0..<($0 + piece.count)].elementsEqual(piece) }
    }
}
