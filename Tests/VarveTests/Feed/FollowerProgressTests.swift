import Synchronization
import Testing
import VarveTestSupport

@testable import Varve
@testable import VarveEngine

/// When a follower tries again, and what it says of histories that were left.
@Suite struct FollowerProgressTests {
    /// A feed that tells of places and then breaks off.
    private final class Source: ChangeSource {
        let namespaces = [Namespace.default]
        private let left: Mutex<[ChangeCursor]>

        init(_ places: [ChangeCursor]) { left = Mutex(places) }

        func next() async throws(VarveError) -> ChangeChunk? {
            let place = left.withLock { $0.isEmpty ? nil : $0.removeFirst() }
            guard let place else { throw VarveError(.closed, "the test ends it") }
            var chunk = ChangeChunkBuilder(place.timeline)
            chunk.begin(before: place.lsn, after: place.lsn, commitTime: 0)
            chunk.end(endsBatch: true)
            return chunk.finish()
        }
    }

    /// What each connection will tell.
    private final class Connections: Sendable {
        private let left: Mutex<[[ChangeCursor]]>
        init(_ places: [[ChangeCursor]]) { left = Mutex(places) }
        func next() -> [ChangeCursor]? { left.withLock { $0.isEmpty ? nil : $0.removeFirst() } }
    }

    private let first = TimelineID(ordinal: 1, unique: .random())
    private let second = TimelineID(ordinal: 2, unique: .random())

    private func place(_ timeline: TimelineID, _ lsn: UInt64) -> ChangeCursor {
        ChangeCursor(timeline: timeline, lsn: LSN(lsn))
    }

    /// Follows one connection after the other; says how long it paused after each, and when memory was shut.
    private func follow(
        _ connections: [[ChangeCursor]]
    ) async throws -> (pauses: [Duration], gate: [Bool]) {
        let pauses = Watched<[Duration]>([])
        let gate = Watched<[Bool]>([])
        let isSeen = Door()
        let mirror = Mirror(
            change: { _ in true }, shut: { gate.update { $0.append(false) } },
            reopen: { gate.update { $0.append(true) } })
        let progress = FollowerProgress(mirror) { pause in
            pauses.update { $0.append(pause) }
        }
        let left = Connections(connections)
        let task = Task {
            await progress.follow { () throws(VarveError) in
                let places = left.next()
                var scope = ChangeScope()
                scope.includesProgress = true
                guard let places else {
                    // It goes on for ever; the last connection stays.
                    return ChangeFeed(scope) { () async throws(VarveError) in
                        await isSeen.pass()
                        throw VarveError(.cancelled, "the test is over")
                    }
                }
                return ChangeFeed(scope) { () async throws(VarveError) in Source(places) }
            }
        }
        await isSeen.arrived(1)
        task.cancel()
        await isSeen.open()
        await task.value
        return (Array(pauses.current.prefix(connections.count)), gate.current)
    }

    @Test("It waits twice as long each time, and begins anew only after something was heard")
    func backOff() async throws {
        let fails = [place(first, 7)]
        let heard = [place(first, 7), place(first, 8)]
        let (pauses, _) = try await follow([fails, fails, [], fails, fails, fails, fails, heard, fails])
        #expect(pauses == [50, 100, 200, 400, 800, 1000, 1000, 50, 100].map { .milliseconds($0) })
    }

    @Test("What was reached of a history that was left is included; what lies beyond is not known, and that is said")
    func histories() throws {
        var reached = FollowerProgress.Reached(place(first, 5))
        reached.move(to: place(first, 10))
        func includes(_ timeline: TimelineID, _ lsn: UInt64) -> Result<Bool, VarveError> {
            Result { () throws(VarveError) in try reached.includes(lsn, of: place(timeline, lsn).history, "it") }
        }
        #expect(try includes(first, 10).get() && !includes(first, 11).get())
        #expect(throws: VarveError.self) { try includes(second, 3).get() }
        reached.move(to: place(second, 8))
        #expect(try includes(first, 10).get() && includes(second, 8).get() && !includes(second, 9).get())
        #expect { try includes(first, 11).get() } throws: { ($0 as? VarveError)?.code == .notContinuing }
        // It comes no nearer by going on.
        reached.move(to: place(second, 12))
        #expect(throws: VarveError.self) { try includes(first, 11).get() }
    }

    @Test("Each connection begins with an empty memory, and so does another history within one")
    func gate() async throws {
        let (_, gate) = try await follow([[place(first, 1), place(first, 2)], [place(first, 9), place(second, 10)]])
        #expect(gate == [false, true, false, true, false, true, false, true])
    }
}
