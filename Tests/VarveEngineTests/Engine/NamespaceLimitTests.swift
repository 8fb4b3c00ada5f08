import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// Namespaces with limits of their own on disk, inside the store's.
@Suite struct NamespaceLimitTests {
    private func settle(_ engine: Engine) throws {
        try engine.flush()
        try engine.writing?.compaction.runHere()
    }

    private func fill(
        _ engine: Engine, _ namespace: Namespace, _ numbers: Range<Int>, _ fields: EntryFields = .none
    ) throws {
        for number in numbers {
            try engine.put(Fixture.key(number), Fixture.value(number, 0), fields, in: namespace)
        }
    }

    private func present(_ engine: Engine, _ namespace: Namespace, _ numbers: Range<Int>) throws -> [Int] {
        let moment = engine.makeSnapshot()
        var found: [Int] = []
        let iterator = try engine.makeIterator(in: namespace, at: moment)
        try iterator.seekToFirst()
        var keys: Set<[UInt8]> = []
        while iterator.isValid {
            keys.insert(iterator.key)
            try iterator.next()
        }
        for number in numbers where keys.contains(Fixture.key(number)) { found.append(number) }
        return found
    }

    /// How a store is laid out, and what counts in it.
    enum Kind: CaseIterable, Sendable {
        case levelsByBytes, levelsByEntries, runsByEntries

        var options: EngineOptions {
            var options = Fixture.options(clock: ManualClock())
            options.eviction = S3FIFOEviction(expectedEntries: 20_000)
            if self == .runsByEntries {
                options.compaction.runs = 20
                options.memtableEntries = 500
                options.diskBudgetEntries = 10_000
            }
            return options
        }

        /// For about so many entries.
        func limit(_ entries: Int) -> NamespaceLimit {
            let entries = UInt64(entries)
            guard self == .levelsByBytes else { return NamespaceLimit(entries: entries) }
            return NamespaceLimit(bytes: max(64 << 10, entries * 120))
        }
    }

    @Test(
        "A namespace keeps to its limit: what was read stays, the rest goes, and nobody else loses anything",
        arguments: Kind.allCases)
    func holds(kind: Kind) throws {
        let engine = try Fixture.store(SimulatedFileSystem(), kind.options)
        let small = try engine.namespace(named: "small")
        let other = try engine.namespace(named: "other")
        let limit = kind.limit(1000)
        try engine.setLimit(limit, of: small)
        try fill(engine, other, 0..<1500)
        for round in 0..<20 {
            try fill(engine, small, round * 200..<round * 200 + 200)
            try fill(engine, other, 1500 + round * 20..<1520 + round * 20)
            // The first fifty are read all the time.
            for number in 0..<50 { _ = try engine.get(Fixture.key(number), in: small) }
            try settle(engine)
            let use = engine.statistics(of: small)
            #expect((use.use ?? 0) <= 1, "round \(round): \(use)")
        }
        let kept = try present(engine, small, 0..<4000)
        #expect(kept.count > 500 && kept.count <= 1010, "\(kept.count)")
        #expect(kept.count { $0 < 50 } >= 45, "what was read: \(kept.count { $0 < 50 })")
        #expect(kept.count { $0 > 3599 } >= 300, "what came last: \(kept.count { $0 > 3599 })")
        #expect(try present(engine, other, 0..<1900).count == 1900)
        #expect(engine.statistics(of: small).entriesEvicted == UInt64(4000 - kept.count))
        #expect(engine.statistics(of: other).entriesEvicted == 0)
        #expect(engine.isFull(small) && !engine.isFull(other))
        try engine.close()
    }

    @Test("What is read often is kept by a namespace that is renewed many times", arguments: Kind.allCases)
    func keepsHot(kind: Kind) throws {
        let engine = try Fixture.store(SimulatedFileSystem(), kind.options)
        let small = try engine.namespace(named: "small")
        try engine.setLimit(kind.limit(1000), of: small)
        var hits = 0
        for round in 0..<36 {
            // A tenth of what the namespace holds, and every third round the hot ones are read.
            try fill(engine, small, 1000 + round * 100..<1100 + round * 100)
            for number in 0..<100 where round % 3 == 0 {
                if try engine.get(Fixture.key(number), in: small) != nil {
                    hits += 1
                } else {
                    try engine.put(Fixture.key(number), Fixture.value(number, 0), in: small)
                }
            }
            try settle(engine)
        }
        #expect(hits > 900, "of 1200: \(hits)")
        try engine.close()
    }

    @Test("Pinned entries stay, and a namespace of nothing else is left alone", arguments: Kind.allCases)
    func pinned(kind: Kind) throws {
        let engine = try Fixture.store(SimulatedFileSystem(), kind.options)
        let small = try engine.namespace(named: "small")
        var fields = EntryFields()
        fields.isPinned = true
        try fill(engine, small, 0..<600, fields)
        try fill(engine, small, 600..<1200)
        try engine.setLimit(kind.limit(300), of: small)
        try settle(engine)
        /// A rewrite for less than a twentieth of a table is not worth it.
        func check() throws {
            let left = try present(engine, small, 0..<1500)
            #expect(left.count { $0 < 600 } == 600)
            #expect(left.count <= 640, "\(left.count)")
        }
        try check()
        let written = engine.statistics.compactedBytesWritten
        for _ in 0..<10 { try engine.writing?.compaction.runHere() }
        #expect(engine.statistics.compactedBytesWritten == written, "it does not go round and round")
        #expect(engine.isSettled)
        // What comes on top goes again.
        try fill(engine, small, 1200..<1500)
        try settle(engine)
        try check()
        try engine.close()
    }

    @Test("All that is read is forgotten only when nothing else is left", arguments: Kind.allCases)
    func allHot(kind: Kind) throws {
        let engine = try Fixture.store(SimulatedFileSystem(), kind.options)
        let small = try engine.namespace(named: "small")
        try engine.setLimit(kind.limit(1000), of: small)
        for round in 0..<10 {
            try fill(engine, small, round * 200..<round * 200 + 200)
            for number in 0..<round * 200 + 200 { _ = try engine.get(Fixture.key(number), in: small) }
            try settle(engine)
        }
        #expect((engine.statistics(of: small).use ?? 0) <= 1)
        #expect(try present(engine, small, 0..<2000).count > 500)
        try engine.close()
    }

    @Test(
        "While a snapshot keeps older versions, the newest make room, and no table is written anew for nothing",
        arguments: Kind.allCases)
    func snapshot(kind: Kind) throws {
        let engine = try Fixture.store(SimulatedFileSystem(), kind.options)
        let small = try engine.namespace(named: "small")
        try engine.setLimit(kind.limit(1000), of: small)
        try fill(engine, small, 0..<700)
        let moment = engine.makeSnapshot()
        try fill(engine, small, 0..<500)
        try settle(engine)
        #expect((engine.statistics(of: small).use ?? 0) <= 1)
        let older = try engine.makeIterator(in: small, at: moment)
        try older.seekToFirst()
        var seen = 0
        while older.isValid {
            seen += 1
            try older.next()
        }
        // A pass over one run does not see what is newer in others.
        #expect(kind == .runsByEntries || seen >= 500, "an older version stays for as long as it is seen: \(seen)")
        let written = engine.statistics.compactedBytesWritten
        for _ in 0..<10 { try engine.writing?.compaction.runHere() }
        #expect(engine.statistics.compactedBytesWritten == written)
        withExtendedLifetime(moment) {}
        try engine.close()
    }

    @Test("A limit that is changed holds at once, and one that is given up is forgotten; none outlives the process")
    func changed() throws {
        let files = SimulatedFileSystem()
        var engine = try Fixture.store(files, Kind.levelsByBytes.options)
        var small = try engine.namespace(named: "small")
        try fill(engine, small, 0..<2000)
        try settle(engine)
        #expect(try present(engine, small, 0..<2000).count == 2000)
        try engine.setLimit(NamespaceLimit(entries: 1000), of: small)
        try settle(engine)
        #expect(try present(engine, small, 0..<2000).count <= 1000)
        try engine.setLimit(nil, of: small)
        try fill(engine, small, 2000..<4000)
        try settle(engine)
        #expect(try present(engine, small, 0..<4000).count > 2500)
        try engine.setLimit(NamespaceLimit(entries: 500), of: small)
        try engine.close()
        engine = try Fixture.store(files, Kind.levelsByBytes.options)
        small = try engine.namespace(named: "small")
        try settle(engine)
        #expect(try present(engine, small, 0..<4000).count > 2500)
        #expect(engine.statistics(of: small).limit == nil)
        try engine.setLimit(NamespaceLimit(bytes: 100_000), of: small)
        try settle(engine)
        #expect(engine.statistics(of: small).bytes <= 100_000)
        #expect(code { try engine.setLimit(NamespaceLimit(bytes: 1000), of: small) } == .invalidArgument)
        #expect(code { try engine.setLimit(NamespaceLimit(entries: 3), of: small) } == .invalidArgument)
        #expect(code { try engine.setLimit(NamespaceLimit(entries: 99), of: .marks) } == .invalidArgument)
        try engine.close()
    }

    @Test("What is evicted leaves its version as a floor, and no older one comes back", arguments: Kind.allCases)
    func neverLies(kind: Kind) throws {
        let engine = try Fixture.store(SimulatedFileSystem(), kind.options)
        let small = try engine.namespace(named: "small")
        try engine.setLimit(kind.limit(500), of: small)
        for round in 0..<6 {
            for number in 0..<600 {
                try engine.put(
                    Fixture.key(number), Fixture.value(number, round),
                    EntryFields(sourceVersion: UInt64(round * 1000 + number + 1)), in: small)
            }
            if round == 3 { for number in 0..<100 { try engine.delete(Fixture.key(number), in: small) } }
            try settle(engine)
            for number in 0..<600 {
                let found = try engine.get(Fixture.key(number), in: small)
                if round == 3, number < 100 {
                    #expect(found == nil)
                } else if let found {
                    #expect(found.bytes == Fixture.value(number, round), "round \(round), key \(number)")
                } else {
                    let older = EntryFields(sourceVersion: UInt64(round * 1000 + number))
                    let refused = code { try engine.putIfNotOlder(Fixture.key(number), [1], older, in: small) }
                    #expect(refused == .conditionFailed)
                }
            }
        }
        try engine.close()
    }

    @Test("Entries, bytes and writes of each namespace add up to the store's", arguments: 0..<5 as Range<UInt64>)
    func addsUp(_ seed: UInt64) throws {
        var random = SplitMix(seed)
        let files = SimulatedFileSystem()
        var engine = try Fixture.store(files)
        let spaces = try (0..<12).map { try engine.namespace(named: "space \($0)") }
        var written = [Int](repeating: 0, count: spaces.count)
        var live = [Set<Int>](repeating: [], count: spaces.count)
        for _ in 0..<3000 {
            let index = Int.random(in: 0..<spaces.count, using: &random)
            let number = Int.random(in: 0..<300, using: &random)
            try engine.put(
                Fixture.key(number), Fixture.value(number, 0, .random(in: 1...300, using: &random)), in: spaces[index])
            written[index] += 1
            live[index].insert(number)
        }
        try settle(engine)
        let before = try engine.statisticsByNamespace()
        #expect(spaces.enumerated().allSatisfy { engine.statistics(of: $1).recordsLogged == UInt64(written[$0]) })
        #expect(before.namespaces.reduce(0) { $0 + $1.bytesFlushed } > before.flushedBytes * 9 / 10)
        try engine.compact()
        try engine.writing?.compaction.runHere()
        let statistics = try engine.statisticsByNamespace()
        #expect(statistics.namespaces.map(\.name) == ["default"] + spaces.map(\.name))
        for (index, space) in spaces.enumerated() {
            #expect(engine.statistics(of: space).entries == UInt64(live[index].count), "seed \(seed)")
        }
        let sum = statistics.namespaces.reduce(0) { $0 + $1.bytes }
        #expect(sum <= statistics.tableBytes && sum > statistics.tableBytes * 9 / 10, "seed \(seed)")
        #expect(statistics.json.contains("\"name\": \"space 3\""))
        try engine.close()
        engine = try Fixture.store(files)
        let again = try engine.statisticsByNamespace()
        #expect(again.namespaces.map(\.entries) == statistics.namespaces.map(\.entries))
        #expect(again.namespaces.map(\.bytes) == statistics.namespaces.map(\.bytes))
        try engine.close()
    }

    @Test("Tables from before namespaces were counted are read, and counted when they are rewritten")
    func olderTables() throws {
        let files = SimulatedFileSystem()
        var options = Fixture.options()
        options.table.countsNamespaces = false
        var engine = try Fixture.store(files, options)
        let (a, b) = (try engine.namespace(named: "a"), try engine.namespace(named: "b"))
        try fill(engine, a, 0..<300)
        try fill(engine, b, 0..<200)
        try settle(engine)
        #expect(engine.statistics(of: a).entries == 0)
        try engine.close()
        engine = try Fixture.store(files)
        #expect(try present(engine, a, 0..<300).count == 300)
        try fill(engine, b, 200..<300)
        try engine.compact()
        #expect(engine.statistics(of: a).entries == 300)
        #expect(engine.statistics(of: b).entries == 300)
        try engine.close()
    }

    @Test("A namespace that was emptied gives its bytes back")
    func emptied() throws {
        let engine = try Fixture.store()
        let (a, b) = (try engine.namespace(named: "a"), try engine.namespace(named: "b"))
        try fill(engine, a, 0..<3000)
        try fill(engine, b, 0..<300)
        try settle(engine)
        #expect(engine.statistics(of: a).bytes > 300_000)
        try engine.deleteRange(from: [], to: nil, in: a)
        try engine.compact()
        #expect(engine.statistics(of: a).bytes == 0)
        #expect(try present(engine, b, 0..<300).count == 300)
        #expect(engine.statistics.tableBytes < 60_000)
        try engine.close()
    }
}
