import Glibc
import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// A store whose disk is full when it is opened.
struct FullAtOpeningTests {
    private let names = ["set", "removed", "kept", "prefix/1"]

    /// A store that was closed, or whose process died, on a disk with so many pages left.
    private func full(_ pages: Int, isClosed: Bool) async throws -> DegradedRig {
        var rig = DegradedRig()
        let cache = try await rig.cache()
        for name in names { try await cache.set("old", for: name) }
        try await cache.set("old", for: "tagged", EntryOptions(tags: ["t"]))
        if isClosed {
            try await cache.store.close()
        } else {
            rig.rig.files = rig.files.killProcess()
            _ = await code { try await cache.store.close() }
        }
        rig.files.capacity = rig.files.usedBytes + UInt64(pages * 4096)
        return rig
    }

    static let rooms = Array(0..<12) + [20, 40, 64, 66, 68, 70, 72, 80, 130, 136]

    @Test("With degradation it opens whatever room is left, goes on in memory, and returns", arguments: [true, false])
    func opens(isClosed: Bool) async throws {
        var wasDegraded = 0
        for pages in FullAtOpeningTests.rooms {
            let rig = try await full(pages, isClosed: isClosed)
            let cache = try await rig.cache()
            if cache.isDegraded { wasDegraded += 1 }
            let message = "\(pages) pages"
            for name in names { #expect(try await cache.value(for: name) == "old", "\(name), \(message)") }
            try await cache.set("new", for: "set")
            try await cache.remove("removed")
            try await cache.removeAll(withPrefix: "prefix/")
            try await cache.remove(taggedWith: "t")
            try await rig.evictAll(cache)
            #expect(try await cache.value(for: "set") != "old", "\(message)")
            for name in ["removed", "prefix/1", "tagged"] {
                #expect(try await cache.value(for: name) == nil, "\(name), \(message)")
            }
            #expect(try await cache.value(for: "kept") == "old", "\(message)")
            // Whoever opens it after a crash.
            let next = rig.crashed(UInt64(pages))
            next.files.capacity = nil
            let other = try await next.cache(.throwing)
            let found = try await other.value(for: "set")
            #expect(found == nil || found == "new", "\(message)")
            #expect(try await other.value(for: "removed") == nil, "\(message)")
            try await other.store.close()
            rig.files.capacity = nil
            #expect(await cache.tryReturn(), "\(message)")
            try await cache.set("newer", for: "set")
            let again = try await rig.crashed(UInt64(pages)).cache()
            #expect(try await again.value(for: "set") == "newer", "\(message)")
            #expect(try await again.value(for: "kept") == "old", "\(message)")
            #expect(try await again.value(for: "removed") == nil, "\(message)")
            try await again.store.close()
            try await cache.store.close()
        }
        #expect(wasDegraded > (isClosed ? 3 : 0))
    }

    @Test("Without it the opening says that the disk is full, and loses nothing", arguments: [true, false])
    func throwing(isClosed: Bool) async throws {
        var refusals = 0
        for pages in FullAtOpeningTests.rooms {
            let rig = try await full(pages, isClosed: isClosed)
            do {
                let cache = try await rig.cache(.throwing)
                for name in names { #expect(try await cache.value(for: name) == "old", "\(pages) pages") }
                rig.files.capacity = nil
                try await cache.store.close()
            } catch {
                #expect((error as? VarveError)?.code == .diskFull, "\(error), \(pages) pages")
                refusals += 1
            }
            rig.files.capacity = nil
            let cache = try await rig.crashed(UInt64(pages)).cache(.throwing)
            for name in names + ["tagged"] {
                #expect(try await cache.value(for: name) == "old", "\(name), \(pages) pages")
            }
            try await cache.store.close()
        }
        #expect(refusals > (isClosed ? 3 : 0))
    }

    @Test("A disk that takes no write from some call of the opening on: it opens or says so, and comes back")
    func failing() async throws {
        var call = 0
        var (wasDegraded, isDone) = (0, false)
        while !isDone {
            call += 1
            let rig = try await full(1000, isClosed: call % 2 == 0)
            rig.files.capacity = nil
            let calls = Watched(0)
            let first = call
            rig.files.fail(EIO, sticky: true) { call in
                guard call.operation.isChange, call.operation != .lock else { return false }
                return calls.update {
                    $0 += 1
                    return $0 >= first
                }
            }
            let message = "call \(call)"
            var cache = try? await rig.cache()
            isDone = calls.current < first
            if let found = cache, found.store.outage != nil {
                // Not even to be read: it does without, and loses nothing.
                #expect(try await found.value(for: "kept") == nil, "\(message)")
                #expect(try await found.value(for: "kept", load: { _ in "loaded" }) == "loaded", "\(message)")
                try await found.store.close()
                cache = nil
            }
            if let cache, cache.isDegraded {
                wasDegraded += 1
                #expect(try await cache.value(for: "kept") == "old", "\(message)")
                #expect(await code { _ = try await cache.set("new", for: "set") } != nil, "\(message)")
                rig.files.clearFaults()
                try await cache.remove("removed")
                #expect(await cache.tryReturn(), "\(message)")
            }
            rig.files.clearFaults()
            if cache == nil { cache = try await rig.cache() }
            let opened = try #require(cache)
            try await opened.remove("removed")
            #expect(try await opened.value(for: "kept") == "old", "\(message)")
            // Where the log's own sync met the failing disk meanwhile, the mark covers everything.
            let isMarked = opened.isDegraded
            let again = try await rig.crashed(UInt64(call)).cache()
            let kept = try await again.value(for: "kept")
            #expect(kept == "old" || (isMarked && kept == nil), "\(message)")
            #expect(try await again.value(for: "removed") == nil, "\(message)")
            try await again.store.close()
            try await opened.store.close()
        }
        #expect(wasDegraded > 5)
    }

    @Test("The mark stands before another engine is there, whose socket shows the disk to other processes")
    func marksFirst() async throws {
        let rig = try await full(1000, isClosed: false)
        rig.files.capacity = nil
        rig.files.fail(EIO, sticky: true) { $0.operation.isChange && $0.operation != .lock }
        let cache = try await rig.cache()
        let mark = try #require(cache.store.degraded?.mark)
        #expect(cache.isDegraded && !mark.isSet)
        rig.files.clearFaults()
        rig.files.fail(EIO, sticky: true) { $0.path.hasSuffix("DEGRADED") }
        #expect(await !cache.tryReturn())
        #expect(!mark.isSet)
        rig.files.clearFaults()
        rig.files.fail(EIO, sticky: true) { call in
            call.operation.isChange && !["DEGRADED", "CLOSED.tmp"].contains { call.path.hasSuffix($0) }
        }
        #expect(await !cache.tryReturn())
        #expect(mark.isSet)
        rig.files.clearFaults()
        #expect(await cache.tryReturn())
        #expect(!mark.isSet)
        #expect(try await cache.value(for: "kept") == "old")
        try await cache.store.close()
    }

    @Test("A mark that is set already: nothing of before is shown on the full disk, nor after the return")
    func marked() async throws {
        let rig = DegradedRig()
        let cache = try await rig.cache()
        for name in names { try await cache.set("old", for: name) }
        try await rig.fillDisk(cache)
        try await cache.remove("removed")
        let version = try #require(try await cache.entry(for: "filler")?.version)
        let next = rig.crashed(7)
        next.files.capacity = next.files.usedBytes
        let marked = try await next.cache()
        #expect(marked.isDegraded)
        for name in names { #expect(try await marked.value(for: name) == nil, "\(name)") }
        #expect(try await marked.add("new", for: "set") != nil)
        // A number that the process before gave stands for nothing here.
        #expect(try await marked.set("x", for: "set", ifVersion: version) == nil)
        next.files.capacity = nil
        #expect(await marked.tryReturn())
        #expect(try await marked.value(for: "set") == "new")
        for name in names.dropFirst() { #expect(try await marked.value(for: name) == nil, "\(name)") }
        let again = try await next.crashed(8).cache()
        for name in names.dropFirst() { #expect(try await again.value(for: name) == nil, "\(name)") }
        try await again.store.close()
        try await marked.store.close()
        _ = await code { try await cache.store.close() }
    }
}
