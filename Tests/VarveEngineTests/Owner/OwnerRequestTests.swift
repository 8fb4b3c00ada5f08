import Testing
@testable import VarveEngine
import VarveIO
import VarveTestSupport

@Suite("The owner answers requests")
struct OwnerRequestTests {
    private let harness: OwnerHarness
    private let client: OwnerClient
    private var service: FakeOwnerService { harness.service }

    init() throws {
        harness = try OwnerHarness()
        client = try harness.client()
    }

    @Test("the greeting names the process")
    func greeting() {
        #expect(client.processID == ProcessIdentity.id)
        #expect(client.program == ProcessIdentity.program && !client.program.isEmpty)
    }

    @Test("statistics, flush, compact and checkpoint reach the store and come back")
    func simpleRequests() throws {
        #expect(try client.statistics() == #"{"entries": 0}"#)
        try client.flush()
        try client.compact(from: [1, 2], to: nil) { _ in true }
        try client.compact(from: nil, to: [255]) { _ in true }
        #expect(try client.checkpoint(to: "/a b/c", slot: "späher") { _ in true } == FakeOwnerService.position)
        #expect(try client.checkpoint(to: "/d", slot: nil) { _ in true } == FakeOwnerService.position)
        let state = service.state.current
        #expect(state.flushes == 1)
        #expect(state.compactions == ["[1, 2] []", "[] [255]"])
        #expect(state.checkpoints == ["/a b/c späher", "/d -"])
    }

    @Test("slots are moved and forgotten, and who asks is told whether there was one")
    func slots() throws {
        #expect(try !client.removeSlot("none"))
        let (before, after) = (
            ChangeCursor(FakeOwnerService.position), ChangeCursor("7-0123456789abcdef0123456789abcdef:42")
        )
        #expect(try !client.moveSlot("none", to: before))
        service.state.update { $0.slots = ["späher": before] }
        #expect(try client.moveSlot("späher", to: try #require(after)))
        #expect(service.state.current.slots == ["späher": after])
        #expect(try client.removeSlot("späher"))
        #expect(service.state.current.slots.isEmpty)
    }

    @Test("verify shows progress before its report")
    func verify() throws {
        var seen: [OwnerProgress] = []
        let report = try client.verify { progress in
            seen.append(progress)
            return true
        }
        #expect(report == #"{"ok": true}"#)
        #expect(seen.first == OwnerProgress(stage: "tables", done: 1, total: 10))
    }

    @Test("get finds entries of any size, empty ones and none")
    func get() throws {
        let sizes = [0, 1, 5000, 16 << 10, (16 << 10) + 1, 3 << 20, 9 << 20]
        service.state.update { state in
            for (index, size) in sizes.enumerated() {
                let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ index) }
                state.entries.append((key: [0, 0, 0, 16, UInt8(index)], lsn: LSN(UInt64(index) + 1), bytes: bytes))
            }
        }
        for entry in service.state.current.entries {
            let found = try client.get(fullKey: entry.key)
            #expect(found == OwnerEntry(lsn: entry.lsn, bytes: entry.bytes))
        }
        #expect(try client.get(fullKey: [9]) == nil)
        #expect(try client.get(fullKey: []) == nil)
        let longest = [UInt8](repeating: 1, count: Limits.fullKeyBytes)
        #expect(try client.get(fullKey: longest) == nil)
    }

    @Test("what the store throws arrives with code, message, path and offset, and the connection goes on")
    func errors() throws {
        let failures = [
            VarveError.corruption("block", path: "/x/000001.sst", offset: 4096, expected: 1, found: 2),
            VarveError(.diskFull, "no room"), VarveError(.logGap, "gone", path: "/x"), VarveError(.closed, ""),
        ]
        for failure in failures {
            service.state.update { $0.failure = failure }
            let errors = [
                thrown { () throws(VarveError) in _ = try client.statistics() },
                thrown { () throws(VarveError) in _ = try client.get(fullKey: [1]) },
                thrown { () throws(VarveError) in try client.flush() },
                thrown { () throws(VarveError) in _ = try client.verify { _ in true } },
                thrown { () throws(VarveError) in try client.scan(OwnerScanRequest()) { _ in true } },
            ]
            for error in errors {
                #expect(error?.code == failure.code)
                #expect(error?.message == failure.message)
                #expect(error?.path == failure.path)
                #expect(error?.offset == failure.offset)
            }
        }
        service.state.update { $0.failure = nil }
        #expect(try client.statistics() == #"{"entries": 0}"#)
    }

    @Test("a key beyond the limit is refused, and the message says why")
    func limits() throws {
        let key = [UInt8](repeating: 1, count: Limits.fullKeyBytes + 1)
        #expect(thrown { () throws(VarveError) in _ = try client.get(fullKey: key) }?.code == .invalidArgument)
        let huge = [UInt8](repeating: 1, count: Limits.ownerRequestBytes + 1)
        let other = try harness.client()
        #expect(thrown { () throws(VarveError) in _ = try other.get(fullKey: huge) }?.code == .limitExceeded)
        // Refused before a byte was sent.
        #expect(try other.statistics() == #"{"entries": 0}"#)
    }

    @Test("verify called off by its client is cancelled in the store")
    func calledOff() throws {
        service.state.update { $0.isOpen = false }
        let error = thrown { () throws(VarveError) in _ = try client.verify { _ in false } }
        #expect(error?.code == .cancelled)
        #expect(service.state.wait { $0.cancelled == 1 && $0.running == 0 })
        #expect(thrown { () throws(VarveError) in _ = try client.statistics() }?.code == .closed)
    }

    @Test("a client that closes in the middle of a long request ends it on both sides")
    func closedInTheMiddle() throws {
        service.state.update { $0.isOpen = false }
        let client = client
        let code = Watched<VarveError.Code?>(nil)
        let thread = try IOThread(name: "flush") {
            let error = thrown { () throws(VarveError) in try client.flush() }
            code.update { $0 = error?.code }
        }
        #expect(service.state.wait { $0.running == 1 })
        client.close()
        thread.join()
        #expect(code.current == .closed)
        #expect(service.state.wait { $0.cancelled == 1 && $0.running == 0 })
        #expect(service.state.current.flushes == 0)
    }

    @Test("requests from several threads over one client take turns")
    func turns() throws {
        let client = client
        service.state.update { $0.entries = [([1], LSN(1), [2])] }
        let right = Watched(0)
        let threads = try (0..<4).map { _ in
            try IOThread(name: "asker") {
                for _ in 0..<50 {
                    let found = try? client.get(fullKey: [1])
                    let text = try? client.statistics()
                    if found?.bytes == [2], text == #"{"entries": 1}"# { right.update { $0 += 1 } }
                }
            }
        }
        for thread in threads { thread.join() }
        #expect(right.current == 200)
    }

    @Test("a store that offers no socket, and a socket that nobody answers, are named")
    func unreachable() {
        var record = harness.record
        record.socketPath = nil
        let silent = thrown { () throws(VarveError) in _ = try OwnerClient(record) }
        #expect(silent?.code == .storeInUse && silent?.message.contains("test (process 1)") == true)
        record.socketPath = "/nowhere/s"
        let gone = thrown { () throws(VarveError) in _ = try OwnerClient(record) }
        #expect(gone?.code == .storeInUse && gone?.path == "/nowhere/s")
    }
}
