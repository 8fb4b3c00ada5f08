import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// Feeds end while a store's log does not hold all that changes.
@Suite struct FeedGateTests {
    private let cause = VarveError(.diskFull, "no room")

    private func isDegraded(_ error: any Error) -> Bool { (error as? VarveError)?.code == .degraded }

    @Test(
        "Feeds that wait, and feeds that look again only later, end; none begins until the gate is open",
        arguments: [false, true])
    func ends(isRemote: Bool) async throws {
        let folder = try TemporaryDirectory()
        let path = folder.path + "/s"
        var options = Fixture.options(threads: true)
        options.offersSocket = true
        let engine = try await Engine.open(at: path, options)
        @Sendable func feed(after start: ChangeCursor) throws -> ChangeFeed {
            if !isRemote { return try engine.changes(since: start) }
            return .ofOwner(
                at: path, OwnerChangesRequest(namespaces: ["default"], start: .after(start), follows: true))
        }
        let start = engine.changeCursor
        var idle = try feed(after: start).makeAsyncIterator()
        try await engine.put([1], [1])
        let told = try #require(try await idle.next())
        let waiting = Task {
            var count = 0
            do {
                for try await _ in try feed(after: start) { count += 1 }
            } catch {
                #expect(isDegraded(error))
            }
            return count
        }
        try await engine.put([2], [2])
        // It waits by now, or will.
        while engine.statistics.syncedLSN < engine.changeCursor.lsn { await Task.yield() }
        for _ in 0..<100 { await Task.yield() }
        engine.shutFeeds(cause)
        #expect(await waiting.value <= 2)
        await #expect(performing: { for try await _ in try feed(after: start) {} }, throws: isDegraded)
        engine.openFeeds()
        await #expect(performing: { while try await idle.next() != nil {} }, throws: isDegraded)
        var again = try feed(after: told.cursor).makeAsyncIterator()
        #expect(try await again.next()?.key == [2])
        try await engine.put([3], [3])
        #expect(try await again.next()?.key == [3])
        try await engine.close()
    }

    @Test("A reader of a store whose mark is set tells nothing, and says so")
    func marked() throws {
        let files = SimulatedFileSystem()
        var options = Fixture.options()
        options.keepsDegradedMark = true
        let engine = try Fixture.store(files, options)
        try Fixture.fill(engine, 0..<20)
        let start = engine.oldestChangeCursor
        let mark = try #require(engine.mark)
        try mark.set(cause: "test", at: 7)
        let image = files.killProcess()
        let reader = try Engine.openReadOnly(at: "/store", Fixture.options(), fileSystem: image)
        for beginning in [ChangeStart.oldest, .now, .after(start)] {
            let error = thrown { () throws(VarveError) in
                try reader.forEachChange(ChangeScope(), from: beginning) { _ in
                    Issue.record("it tells of what is to be dropped")
                    return true
                }
            }
            #expect(error?.code == .degraded)
        }
        try reader.close()
        // Who opens it to write tells that all of it went.
        let next = try Fixture.store(image, options)
        var last: Change.Kind?
        try next.forEachChange(ChangeScope(), from: .after(start)) { (change) throws(VarveError) in
            last = change.kind
            return true
        }
        #expect(last == .deleteRange(to: nil))
        try next.close()
    }
}
