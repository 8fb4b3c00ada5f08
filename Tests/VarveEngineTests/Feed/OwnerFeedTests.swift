import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// The feed over the owner's socket.
@Suite struct OwnerFeedTests {
    private let folder: TemporaryDirectory
    private var path: String { folder.path + "/s" }

    init() throws { folder = try TemporaryDirectory() }

    private func store() throws -> Engine {
        var options = Fixture.options(threads: true)
        options.offersSocket = true
        // On a loaded machine a test's task may not be run for long: the limit of time is not what is tested here.
        options.ownerBounds.stall = .seconds(3600)
        return try Engine.open(at: path, options)
    }

    private func request(
        _ start: ChangeStart, follows: Bool = true, prefix: String = "", _ namespaces: [String] = ["default"]
    ) -> OwnerChangesRequest {
        OwnerChangesRequest(namespaces: namespaces, prefix: bytes(prefix), start: start, follows: follows)
    }

    private func client() throws -> OwnerClient {
        try OwnerClient.connect(toStoreAt: path, PosixFileSystem())
    }

    @Test("Several clients get every change, each its own, while writers write", arguments: [1, 2])
    func severalClients(seed: UInt64) async throws {
        let engine = try store()
        _ = try await engine.changeSlot(named: "all")
        let writer = FeedWriter(engine)
        let began = Watched(0)
        let readings = (0..<4).map { number in
            Task { [request = request(.now, prefix: number == 3 ? "key00001" : "")] in
                var told: [Told] = []
                for try await change in ChangeFeed.ofOwner(at: path, request, includesProgress: true) {
                    if told.isEmpty, case .progress = change.kind { began.update { $0 += 1 } }
                    if change.key == bytes("key00001end") { break }
                    if case .progress = change.kind { continue }
                    told.append(Told(change))
                }
                return told
            }
        }
        await began.reached { $0 >= 4 }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<2 {
                group.addTask {
                    try await IOThread.run(name: "writer") {
                        var random = SplitMix(seed << 8 | UInt64(number))
                        for _ in 0..<300 { try writer.write(&random) }
                    }
                }
            }
            try await group.waitForAll()
        }
        try await engine.put(bytes("key00001end"), [])
        for reading in readings.dropLast() { #expect(try await reading.value == writer.all, "seed \(seed)") }
        let some = try await readings[3].value
        #expect(some.allSatisfy { $0.key.starts(with: bytes("key00001")) })
        let points = { (told: Told) in if case .range = told.kind { false } else { true } }
        #expect(
            some.filter(points) == writer.all.filter(points).filter { $0.key.starts(with: bytes("key00001")) },
            "seed \(seed)")
        try await engine.close()
    }

    @Test("What cannot be told is refused as it would be here")
    func refusals() async throws {
        let engine = try store()
        try await engine.put([1], [1])
        let old = engine.changeCursor
        for round in 0..<6 {
            try Fixture.fill(engine, 0..<600, round: round)
            try await engine.flush()
        }
        while engine.oldestChangeCursor.lsn <= old.lsn { await Task.yield() }
        func code(_ request: OwnerChangesRequest) async -> VarveError.Code? {
            do throws(VarveError) {
                for try await _ in ChangeFeed.ofOwner(at: path, request) {}
                return nil
            } catch {
                return error.code
            }
        }
        #expect(await code(request(.after(old))) == .logGap)
        #expect(await code(request(.now, ["nowhere"])) == .invalidArgument)
        let foreign = ChangeCursor(timeline: TimelineID(ordinal: 1, unique: .random()), lsn: LSN(1))
        #expect(await code(request(.after(foreign))) == .notContinuing)
        #expect(await code(request(.oldest, follows: false)) == nil)
        try await engine.close()
        #expect(await code(request(.now)) != nil)
    }

    @Test("Cancelling hangs up, and the owner's thread is free again; the owner's close ends a feed")
    func ends() async throws {
        let engine = try store()
        let server = Watched(0)
        let reading = { (request: OwnerChangesRequest) in
            Task {
                for try await _ in ChangeFeed.ofOwner(at: path, request, includesProgress: true) {
                    server.update { $0 += 1 }
                }
            }
        }
        let cancelled = reading(request(.now))
        await server.reached { $0 == 1 }
        cancelled.cancel()
        await #expect { try await cancelled.value } throws: { ($0 as? VarveError)?.code == .cancelled }
        // As many as the server takes, one after the other: each gives its place back.
        for round in 2...40 {
            let next = reading(request(.now))
            await server.reached { $0 == round }
            next.cancel()
            _ = try? await next.value
        }
        let closed = reading(request(.now))
        await server.reached { $0 == 41 }
        try await engine.close()
        await #expect { try await closed.value } throws: { ($0 as? VarveError)?.code == .closed }
    }

    @Test("A client that takes nothing holds back neither writers nor log, and misses what went")
    func slowClient() async throws {
        let engine = try store()
        let client = try client()
        let number = try client.beginChanges(request(.now))
        _ = try client.nextChanges(number)
        // More than the socket holds.
        for round in 0..<30 {
            try Fixture.fill(engine, 0..<600, round: round)
            try await engine.flush()
        }
        while engine.statistics.logBytes > 1 << 20 { await Task.yield() }
        let error = await IOThread.run(name: "slow") {
            thrown { () throws(VarveError) in
                while try client.nextChanges(number) != nil {}
            }
        }
        #expect(error?.code == .logGap)
        try await engine.close()
    }

    @Test("Chunks that were tampered with are refused, whatever the bytes")
    func hostileOwner() throws {
        let harness = try OwnerHarness()
        var good = ChangeChunkBuilder(FakeOwnerService.position.timeline)
        good.begin(before: LSN(1), after: LSN(2), commitTime: 3)
        unsafe bytes("key").withBytes { key in
            unsafe good.append(
                .delete, namespace: 0, lsn: LSN(2), key: key, entry: UnsafeRawBufferPointer(start: nil, count: 0))
        }
        good.end(endsBatch: true)
        let chunk = good.finish()
        let whole = withExtendedLifetime(chunk) { unsafe Array(chunk.bytes) }
        var random = SplitMix(5)
        for round in 0..<300 {
            var bytes = whole
            if round > 0 {
                for _ in 0...(random.next() % 3) { bytes[Int(random.next() % UInt64(bytes.count))] ^= random.byte() }
                if random.next() % 4 == 0 { bytes.removeLast(Int(random.next() % UInt64(bytes.count))) }
            }
            let chunk = unsafe bytes.withBytes { unsafe ChangeChunk(copying: $0) }
            harness.service.state.update { $0.changes = [chunk] }
            let client = try harness.client()
            let request = OwnerChangesRequest(namespaces: ["default"], start: .now, follows: false)
            var told: [Change] = []
            let error = thrown { () throws(VarveError) in
                try client.forEachChange(request, includesProgress: true) { change in
                    told.append(change)
                    return false
                }
            }
            if round == 0 { #expect(error == nil, "\(error?.description ?? "")") }
            if round == 0 { #expect(told.map(Told.init) == [Told(2, Array("key".utf8), .delete)]) }
        }
    }
}
