import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// Iterators walk one moment of the store, both ways, whatever writers and compactions do meanwhile.
@Suite struct IteratorTests {
    @Test("Prefix, bounds and seeks agree with a sorted list", arguments: 1...4 as ClosedRange<UInt64>)
    func bounds(seed: UInt64) throws {
        let engine = try Fixture.store()
        var random = SplitMix(seed)
        var keys: Set<[UInt8]> = []
        for step in 0..<400 {
            let key = (0..<(random.next() % 4)).map { _ in [0, 1, 0x7F, 0xFF][Int(random.next() % 4)] as UInt8 }
            try engine.put(key, [1])
            keys.insert(key)
            if step % 90 == 89 { try engine.flush() }
        }
        let sorted = keys.sorted { $0.lexicographicallyPrecedes($1) }
        func some() -> [UInt8] { (0..<(random.next() % 4)).map { _ in [0, 1, 0x7F, 0xFF][Int(random.next() % 4)] } }
        for _ in 0..<150 {
            let prefix = random.next() % 2 == 0 ? [] : some()
            let from = random.next() % 2 == 0 ? nil : some()
            let to = random.next() % 2 == 0 ? nil : some()
            let expected = sorted.filter { key in
                key.starts(with: prefix) && !(from.map { key.lexicographicallyPrecedes($0) } ?? false)
                    && (to.map { key.lexicographicallyPrecedes($0) } ?? true)
            }
            let place: Comment =
                "seed \(seed): prefix \(prefix) from \(String(describing: from)) to \(String(describing: to))"
            let iterator = try engine.makeIterator(prefix: prefix, from: from, to: to)
            var found: [[UInt8]] = []
            try iterator.seekToFirst()
            while iterator.isValid {
                found.append(iterator.key)
                try iterator.next()
            }
            #expect(found == expected, place)
            found = []
            try iterator.seekToLast()
            while iterator.isValid {
                found.append(iterator.key)
                try iterator.previous()
            }
            #expect(found == expected.reversed(), place)
            let target = some()
            try iterator.seek(to: target)
            #expect(
                (iterator.isValid ? iterator.key : nil) == expected.first { !$0.lexicographicallyPrecedes(target) },
                place)
            try iterator.seek(before: target)
            #expect(
                (iterator.isValid ? iterator.key : nil) == expected.last { $0.lexicographicallyPrecedes(target) }, place
            )
            // Pages cover the range without a gap or a repetition, both ways.
            for reverse in [false, true] {
                var paged: [[UInt8]] = []
                var (low, high) = (from, to)
                while true {
                    let page = try engine.page(prefix: prefix, from: low, to: high, limit: 3, reverse: reverse)
                    paged += page.entries.map(\.key)
                    guard let next = page.next else { break }
                    if reverse { high = next } else { low = next }
                }
                #expect(paged == (reverse ? expected.reversed() : expected), place)
            }
        }
        try engine.close()
    }

    @Test("Turning round in the middle")
    func turning() throws {
        let engine = try Fixture.store()
        try Fixture.fill(engine, 0..<50)
        try engine.flush()
        try Fixture.fill(engine, 25..<75, round: 1)
        for number in stride(from: 0, to: 75, by: 3) { try engine.delete(Fixture.key(number)) }
        let alive = (0..<75).filter { $0 % 3 != 0 }
        let iterator = try engine.makeIterator()
        var random = SplitMix(5)
        try iterator.seek(to: Fixture.key(40))
        var index = try #require(alive.firstIndex(of: 40))
        for _ in 0..<500 {
            if random.next() % 2 == 0, index + 1 < alive.count {
                try iterator.next()
                index += 1
            } else if index > 0 {
                try iterator.previous()
                index -= 1
            }
            #expect(iterator.isValid && iterator.key == Fixture.key(alive[index]))
        }
        try engine.close()
    }

    @Test("One moment, while writers and compactions run", arguments: [false, true])
    func underWriters(reverse: Bool) throws {
        let engine = try Fixture.store(SimulatedFileSystem(), Fixture.options(threads: true))
        try Fixture.fill(engine, 0..<1500)
        let stop = Watched(false)
        let crew = Crew()
        try crew.start {
            var round = 1
            while !stop.current {
                var batch = WriteBatch()
                for number in 0..<1500 where number % 3 == round % 3 {
                    try batch.put(Fixture.key(number), Fixture.value(number, round))
                }
                try batch.put(Fixture.key(2000 + round), [1])
                try batch.delete(Fixture.key(2000 + round - 1))
                try engine.write(batch)
                round += 1
            }
        }
        try crew.start { while !stop.current { try engine.compact() } }
        for _ in 0..<6 {
            let snapshot = engine.makeSnapshot()
            let iterator = try engine.makeIterator(at: snapshot)
            var count = 0
            var newest = LSN.zero
            if reverse { try iterator.seekToLast() } else { try iterator.seekToFirst() }
            while iterator.isValid {
                count += 1
                newest = max(newest, iterator.version)
                if count % 100 == 0 {
                    let value = iterator.value
                    #expect(try engine.get(iterator.key, at: snapshot)?.bytes == value)
                }
                if reverse { try iterator.previous() } else { try iterator.next() }
            }
            #expect(count == 1500 || count == 1501)
            #expect(newest <= snapshot.lsn)
        }
        stop.update { $0 = true }
        try crew.join()
        try engine.close()
    }

    @Test func multiGet() throws {
        let engine = try Fixture.store()
        try Fixture.fill(engine, 0..<20)
        try engine.flush()
        let snapshot = engine.makeSnapshot()
        try Fixture.fill(engine, 5..<10, round: 1)
        try engine.delete(Fixture.key(3))
        let keys = [7, 3, 25, 0, 7].map(Fixture.key)
        #expect(
            try engine.get(many: keys).map { $0?.bytes }
                == [Fixture.value(7, 1), nil, nil, Fixture.value(0, 0), Fixture.value(7, 1)])
        #expect(
            try engine.get(many: keys, at: snapshot).map { $0?.bytes }
                == [Fixture.value(7, 0), Fixture.value(3, 0), nil, Fixture.value(0, 0), Fixture.value(7, 0)])
        #expect(try engine.get(many: []).isEmpty)
        try engine.close()
    }
}
