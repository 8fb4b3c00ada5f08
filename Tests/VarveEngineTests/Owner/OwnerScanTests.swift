import Testing
@testable import VarveEngine
import VarveIO
import VarveTestSupport

@Suite("The owner serves scans page by page")
struct OwnerScanTests {
    private let harness: OwnerHarness
    private let client: OwnerClient
    private var service: FakeOwnerService { harness.service }

    init() throws {
        harness = try OwnerHarness()
        client = try harness.client()
        // 600 entries of 10 KiB: six pages.
        harness.service.state.update { state in
            for index in 0..<600 {
                let key: [UInt8] = [0, 0, 0, 16, UInt8(index >> 8), UInt8(index & 255)]
                let bytes = [UInt8](repeating: UInt8(index & 255), count: 10 << 10)
                state.entries.append((key: key, lsn: LSN(UInt64(index) * 3), bytes: bytes))
            }
        }
    }

    private func scan(_ request: OwnerScanRequest, stopAfter: Int = .max) throws -> [(key: [UInt8], lsn: LSN)] {
        var found: [(key: [UInt8], lsn: LSN)] = []
        try client.scan(request) { entry throws(VarveError) in
            unsafe found.append((key: Array(entry.key), lsn: entry.lsn))
            let isRight = unsafe entry.bytes.count == 10 << 10 && entry.bytes.allSatisfy { unsafe $0 == entry.key[5] }
            #expect(isRight)
            return found.count < stopAfter
        }
        return found
    }

    @Test("the whole range comes in order, forward and reverse")
    func everything() throws {
        let all = service.state.current.entries
        let forward = try scan(OwnerScanRequest())
        #expect(forward.map(\.key) == all.map(\.key) && forward.map(\.lsn) == all.map(\.lsn))
        let reverse = try scan(OwnerScanRequest(isReverse: true))
        #expect(reverse.map(\.key) == all.reversed().map(\.key))
        #expect(service.state.wait { $0.openScans == 0 })
    }

    @Test("bounds and limit hold; an empty range has no entry")
    func bounds() throws {
        let all = service.state.current.entries
        let middle = try scan(OwnerScanRequest(begin: all[10].key, end: all[300].key))
        #expect(middle.map(\.key) == all[10..<300].map(\.key))
        let limited = try scan(OwnerScanRequest(end: all[300].key, isReverse: true, limit: 7))
        #expect(limited.map(\.key) == all[293..<300].reversed().map(\.key))
        #expect(try scan(OwnerScanRequest(begin: [0, 0, 0, 17])).isEmpty)
    }

    @Test("a scan that stops early releases its snapshot, and the connection goes on")
    func stopsEarly() throws {
        #expect(try scan(OwnerScanRequest(), stopAfter: 3).count == 3)
        #expect(service.state.wait { $0.openScans == 0 })
        #expect(try client.statistics() == #"{"entries": 600}"#)
        // In the last page there is nothing left to release.
        #expect(try scan(OwnerScanRequest(), stopAfter: 599).count == 599)
        #expect(try client.statistics() == #"{"entries": 600}"#)
    }

    @Test("an open scan goes with its connection")
    func connectionCloses() throws {
        let client = client
        let error = thrown { () throws(VarveError) in
            try client.scan(OwnerScanRequest()) { _ in
                client.close()
                return true
            }
        }
        #expect(error?.code == .closed)
        #expect(service.state.wait { $0.openScans == 0 })
    }

    @Test("an entry far larger than a page is a page by itself")
    func largeEntry() throws {
        service.state.update { $0.entries = [([1], LSN(1), []), ([2], LSN(2), [UInt8](repeating: 5, count: 5 << 20))] }
        var sizes: [Int] = []
        try client.scan(OwnerScanRequest()) { entry throws(VarveError) in
            unsafe sizes.append(entry.bytes.count)
            return true
        }
        #expect(sizes == [0, 5 << 20])
    }

    @Test("only so many scans may be open on one connection, and only its own are known to it")
    func manyScans() throws {
        var channel = OwnerChannel(try harness.connection())
        #expect(try channel.receive(limit: 1 << 20, idle: nil, stall: nil)?.kind == .hello)
        for number in 1...UInt32(Limits.ownerScansPerConnection + 1) {
            try channel.send(.openScan, request: number, limit: nil) { OwnerScanRequest().append(to: &$0) }
            let kind = try channel.receive(limit: 8 << 20, idle: nil, stall: nil)?.kind
            #expect(kind == (number > UInt32(Limits.ownerScansPerConnection) ? .error : .page))
        }
        try channel.send(.nextPage, request: 9, limit: nil) { $0.appendFixed(UInt32(77)) }
        #expect(try channel.receive(limit: 8 << 20, idle: nil, stall: nil)?.kind == .error)
        try channel.send(.closeScan, request: 10, limit: nil) { $0.appendFixed(UInt32(1)) }
        #expect(try channel.receive(limit: 8 << 20, idle: nil, stall: nil)?.kind == .done)
        try channel.send(.nextPage, request: 11, limit: nil) { $0.appendFixed(UInt32(1)) }
        #expect(try channel.receive(limit: 8 << 20, idle: nil, stall: nil)?.kind == .error)
        channel.connection.close()
        #expect(service.state.wait { $0.openScans == 0 })
    }
}
