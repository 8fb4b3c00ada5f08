import Testing
@testable import VarveEngine
import VarveIO
import VarveTestSupport

@Suite("The owner streams its log")
struct OwnerLogStreamTests {
    private let harness: OwnerHarness
    private var service: FakeOwnerService { harness.service }

    init() throws { harness = try OwnerHarness() }

    /// What a follower got, piece by piece.
    private enum Piece: Equatable {
        case segment([UInt8])
        case frames([UInt8], LSN)
        case heartbeat(LSN)

        init(_ chunk: LogChunk) {
            switch chunk {
            case .segment(let header): self = unsafe .segment(Array(header))
            case .frames(let bytes, let end): self = unsafe .frames(Array(bytes), end)
            case .heartbeat(let lsn): self = .heartbeat(lsn)
            }
        }
    }

    @Test("segments and frames come byte for byte and in order, pushed as they are synced")
    func follows() throws {
        let header = [UInt8](repeating: 3, count: 512)
        let large = (0..<(5 << 20)).map { UInt8(truncatingIfNeeded: $0 >> 8 ^ $0) }
        service.state.update { $0.log = [.segment(header), .frames([1, 2, 3], LSN(80))] }
        let client = try harness.client()
        let seen = Watched<[Piece]>([])
        let thread = try IOThread(name: "follower") {
            let error = thrown { () throws(VarveError) in
                try client.streamLog(from: FakeOwnerService.position) { chunk throws(VarveError) in
                    seen.update { $0.append(Piece(chunk)) }
                    return true
                }
            }
            #expect(error?.code == .closed)
        }
        #expect(seen.wait { $0.last == .heartbeat(LSN(80)) })
        #expect(seen.current == [.segment(header), .frames([1, 2, 3], LSN(80)), .heartbeat(LSN(80))])
        service.state.update { $0.log += [.frames(large, LSN(81)), .segment(header), .frames([], LSN(82))] }
        #expect(seen.wait { $0.last == .heartbeat(LSN(82)) })
        #expect(seen.current.contains(.frames(large, LSN(81))))
        client.close()
        thread.join()
        #expect(service.state.wait { $0.cancelled == 1 && $0.running == 0 })
    }

    @Test("a follower may stop by itself; the stream is then cancelled although nothing is written")
    func stops() throws {
        service.state.update { $0.log = [.frames([1], LSN(80))] }
        let client = try harness.client()
        try client.streamLog(from: FakeOwnerService.position) { chunk throws(VarveError) in
            if case .heartbeat = chunk { return false }
            return true
        }
        #expect(service.state.wait { $0.cancelled == 1 && $0.running == 0 })
    }

    @Test("a position of another history is refused before anything is sent")
    func otherHistory() throws {
        let client = try harness.client()
        let other = LogPosition(
            timeline: TimelineID(ordinal: 9, unique: UniqueID(high: 0, low: 0)), lsn: LSN(1), runningHash: 0)
        let error = thrown { () throws(VarveError) in
            try client.streamLog(from: other) { _ in
                Issue.record("a chunk came")
                return true
            }
        }
        #expect(error?.code == .notContinuing)
    }

    @Test("a slow follower holds up its own stream and nobody else")
    func backPressure() throws {
        let client = try harness.client()
        let frames = [UInt8](repeating: 1, count: 1 << 20)
        let gate = Watched(false)
        let taken = Watched(0)
        let thread = try IOThread(name: "slow") {
            _ = thrown { () throws(VarveError) in
                try client.streamLog(from: FakeOwnerService.position) { chunk throws(VarveError) in
                    gate.wait { $0 }
                    if case .frames(let bytes, _) = chunk { taken.update { $0 += bytes.count } }
                    return taken.current < 40 << 20
                }
            }
        }
        service.state.update { state in
            for index in 0..<40 { state.log.append(.frames(frames, LSN(80 + UInt64(index)))) }
        }
        #expect(service.state.wait { $0.running == 1 })
        // The follower takes nothing; others are answered, and the stream waits with what the socket holds.
        let other = try harness.client()
        for _ in 0..<200 { #expect(try other.statistics() == #"{"entries": 0}"#) }
        #expect(service.state.current.chunksTaken < 4)
        gate.update { $0 = true }
        thread.join()
        #expect(taken.current == 40 << 20)
    }

    @Test("a follower that takes nothing for too long is given up")
    func givenUp() throws {
        let strict = try OwnerHarness(.init(stall: .milliseconds(20)))
        strict.service.state.update { $0.log = [.frames([UInt8](repeating: 1, count: 8 << 20), LSN(80))] }
        var channel = OwnerChannel(try strict.connection())
        #expect(try channel.receive(limit: 1 << 20, idle: nil, stall: nil)?.kind == .hello)
        try channel.send(.log, request: 1, limit: nil) { $0.append(FakeOwnerService.position) }
        #expect(strict.service.state.wait { $0.running == 1 })
        #expect(strict.service.state.wait { $0.running == 0 })
        #expect(strict.service.state.current.chunksTaken == 0)
    }
}
