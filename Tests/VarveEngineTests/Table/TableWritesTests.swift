import Synchronization
import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

@Suite("The writes that a table's file is made of")
struct TableWritesTests {
    @Test(
        "begin at multiples of the buffer, so that a kernel may give each a large page",
        arguments: [1, 2, 3] as [UInt64])
    func wholeBuffers(_ seed: UInt64) throws {
        var random = SplitMix(seed)
        let fixture = try TableFixture(isSimulated: true)
        let simulated = try #require(fixture.fileSystem as? SimulatedFileSystem)
        var options = TableOptions()
        options.blockBytes = 1024
        options.writeBufferBytes = 4096
        options.codec = .stored
        let records = (0..<400).map { index -> Record in
            // Some larger than the buffer.
            let length = random.next() % 20 == 0 ? 9000 : Int(random.next() % 700)
            return Record(
                key: [0, 0, 0, 1, UInt8(index / 256), UInt8(index % 256)], lsn: UInt64(index + 1),
                entry: TableData.entry(random.next(), bytes: length))
        }
        let begun = Mutex<[UInt64]>([])
        simulated.observe { call in
            guard call.operation == .write, let file = try? simulated.open(call.path, .read) else { return }
            defer { file.close() }
            if let size = try? file.size() { begun.withLock { $0.append(size) } }
        }
        let properties = try fixture.write(records, options: options)
        simulated.observe(nil)
        let starts = begun.withLock { $0 }
        #expect(starts.count > 20, "seed \(seed)")
        #expect(starts.allSatisfy { $0 % 4096 == 0 }, "seed \(seed): \(starts)")
        #expect(starts == starts.sorted() && Set(starts).count == starts.count, "seed \(seed): \(starts)")
        let table = try fixture.open(expected: properties)
        for record in records { #expect(try table.get(record.key) == record, "seed \(seed), \(record)") }
    }
}
