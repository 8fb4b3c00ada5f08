import Glibc
import Testing
import VarveEngine
import VarveIO
import VarveTestSupport

@testable import Varve

/// A removal of what is older than a source version that is the first to meet a full disk.
struct FullDiskRemovalTests {
    private let rig = DegradedRig()

    enum Form: CaseIterable, Sendable {
        case cache, prefix
    }

    /// Where the disk says that it is full.
    enum Moment: CaseIterable, Sendable {
        /// As the record is written: nothing of it is there.
        case write
        /// As it is synced: nobody knows whether it is there.
        case sync
    }

    private func remove(_ form: Form, _ cache: Cache<String, String>) async throws {
        switch form {
        case .cache: try await cache.removeAll(olderThan: 5)
        case .prefix: try await cache.removeAll(withPrefix: "p/", olderThan: 5)
        }
    }

    /// Twelve entries, of which memory holds eight, on a file system where each record needs room of its own.
    private func filled(_ rig: DegradedRig, _ degradation: Degradation) async throws -> Cache<String, String> {
        rig.files.offerStoreMaps(false)
        let cache = try await rig.cache(degradation)
        for number in 1...12 {
            try await cache.set("\(number)", for: "p/\(number)", EntryOptions(sourceVersion: UInt64(number)))
        }
        return cache
    }

    private func fill(_ rig: DegradedRig, _ moment: Moment) {
        rig.files.fail(ENOSPC, sticky: true) {
            $0.operation == (moment == .write ? .write : .sync) && $0.path.contains(".log")
        }
    }

    private func shown(_ cache: Cache<String, String>) async throws -> [Int] {
        var shown: [Int] = []
        for number in 1...12 {
            guard let value = try await cache.value(for: "p/\(number)") else { continue }
            #expect(value == "\(number)")
            shown.append(number)
        }
        return shown
    }

    private func late(_ cache: Cache<String, String>) async -> VarveError.Code? {
        await code { try await cache.set("late", for: "p/late", EntryOptions(sourceVersion: 4)) }
    }

    @Test(
        "It throws and hides nothing, and the store goes on in memory where it may; it can be made anew on disk",
        arguments: Form.allCases, [Degradation.memoryOnly, .throwing])
    func refused(_ form: Form, _ degradation: Degradation) async throws {
        let cache = try await filled(rig, degradation)
        let goesOn = degradation == .memoryOnly
        #expect(try await cache.value(for: "p/1") == "1")
        fill(rig, .write)
        #expect(await code { try await remove(form, cache) } == (goesOn ? .degraded : .diskFull))
        #expect(cache.isDegraded == goesOn)
        #expect(cache.valueInMemory(for: "p/1") == "1")
        #expect(try await shown(cache) == Array(1...12))
        for seed in 1...3 as ClosedRange<UInt64> {
            let crashed = try await rig.crashed(seed).cache(.throwing)
            // With the mark all of it is dropped: what is removed by now, in memory alone, must not come back.
            #expect(try await shown(crashed) == (goesOn ? [] : Array(1...12)))
            try await crashed.store.close()
        }
        // Nothing is remembered of it.
        #expect(await late(cache) == (goesOn ? nil : .diskFull))
        rig.files.clearFaults()
        if goesOn { #expect(await cache.tryReturn()) }
        #expect(try await shown(cache) == Array(1...12))
        try await remove(form, cache)
        #expect(try await shown(cache) == Array(5...12))
        #expect(try await cache.value(for: "p/late") == nil)
        let crashed = try await rig.crashed(1).cache(.throwing)
        for cache in [cache, crashed] {
            #expect(try await shown(cache) == Array(5...12))
            #expect(await late(cache) == .conditionFailed)
            try await cache.store.close()
        }
    }

    @Test("So it does where the mark cannot be made durable either", arguments: Form.allCases)
    func noMark(_ form: Form) async throws {
        let cache = try await filled(rig, .memoryOnly)
        fill(rig, .write)
        rig.files.fail(EIO, sticky: true) { $0.operation.isChange && $0.path.hasSuffix("DEGRADED") }
        #expect(await code { try await remove(form, cache) } == .degraded)
        #expect(cache.isDegraded && cache.store.degraded?.mark.isSet == false)
        #expect(try await shown(cache) == Array(1...12))
        let crashed = try await rig.crashed(1).cache(.throwing)
        #expect(try await shown(crashed) == Array(1...12))
        try await crashed.store.close()
        rig.files.clearFaults()
        try await cache.store.close()
    }

    @Test(
        "One that may stand throws, and hides here what it may hide for the next one", arguments: Form.allCases,
        [Degradation.memoryOnly, .throwing])
    func doubtful(_ form: Form, _ degradation: Degradation) async throws {
        let cache = try await filled(rig, degradation)
        let door = await cache.store.unattended()
        defer { door.update { $0.isOpen = true } }
        fill(rig, .sync)
        #expect(![nil, .degraded, .diskFull].contains(await code { try await remove(form, cache) }))
        #expect(cache.isDegraded == (degradation == .memoryOnly))
        #expect(try await shown(cache) == Array(5...12))
        rig.files.clearFaults()
        if degradation == .memoryOnly {
            #expect(await cache.tryReturn())
            #expect(try await shown(cache) == Array(5...12))
            #expect(await late(cache) == .conditionFailed)
        }
        door.update { $0.isOpen = true }
        try? await cache.store.close()
    }

    @Test(
        "Wherever the power goes then, the next one shows all, nothing, or what is not older",
        arguments: Moment.allCases)
    func powerCuts(_ moment: Moment) async throws {
        for (form, degradation) in [(Form.prefix, Degradation.memoryOnly), (.cache, .memoryOnly), (.cache, .throwing)] {
            var (change, isDone) = (0, false)
            while !isDone {
                change += 1
                let rig = DegradedRig()
                let cache = try await filled(rig, degradation)
                let door = await cache.store.unattended()
                defer { door.update { $0.isOpen = true } }
                fill(rig, moment)
                rig.files.cutPower(atChange: rig.files.changeCount + change)
                #expect(await code { try await remove(form, cache) } != nil)
                isDone = !rig.files.isPowerCut
                let again = try await rig.crashed(UInt64(change)).cache(.throwing)
                let found = try await shown(again)
                // The write that the power cuts short may be there: it is not refused then.
                #expect([Array(1...12), Array(5...12), []].contains(found), "change \(change)")
                // What shows nothing of before shows it to nobody later either.
                if found == Array(5...12) { #expect(await late(again) == .conditionFailed) }
                try await again.store.close()
            }
            #expect(change > 1)
        }
    }
}
