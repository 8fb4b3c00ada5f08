import Synchronization
import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

struct LoadGuardTests {
    /// An error whose end runs its owner's code, which uses the guard again.
    private final class Reentrant: Error {
        private let guarding: LoadGuard<Int>
        private let ends: Ends
        init(_ guarding: LoadGuard<Int>, _ ends: Ends) { (self.guarding, self.ends) = (guarding, ends) }
        deinit {
            _ = guarding.count
            ends.count.add(1, ordering: .relaxed)
        }
    }
    private final class Ends: Sendable {
        let count = Atomic<Int>(0)
    }

    @Test("An error's end may use the cache: nothing of the user's runs under the lock")
    func errorsEndOutside() {
        var options = LoadOptions()
        options.backOff = .init(initial: .seconds(1), maximum: .seconds(1))
        options.breaker = .init(failures: 1_000_000, pause: .seconds(1))
        let loads = LoadGuard<Int>(options)
        let ends = Ends()
        for key in 0..<3 {
            // Twice each: the second takes the first one's place.
            loads.noteFailure([key], .init(), Reentrant(loads, ends), at: 0)
            loads.noteFailure([key], .init(), Reentrant(loads, ends), at: 0)
        }
        loads.noteSuccess([2], .init())
        loads.noteSuccess([0], .init())
        #expect(ends.count.load(ordering: .relaxed) == 5)
        for key in 10..<(10 + 2 * LoadGuard<Int>.limit) {
            loads.noteFailure([key], .init(), Reentrant(loads, ends), at: Int64(key) * 1_000_000_000)
        }
        #expect(ends.count.load(ordering: .relaxed) >= LoadGuard<Int>.limit)
    }

    @Test("Failures of any number of keys are remembered within a bound")
    func bounded() {
        struct SourceDown: Error {}
        var options = LoadOptions()
        options.backOff = .init(initial: .seconds(1), maximum: .seconds(1))
        let loads = LoadGuard<Int>(options)
        for key in 0..<100_000 {
            loads.noteFailure([key], .init(), SourceDown(), at: Int64(key) * 1_000_000)
            #expect(loads.count <= LoadGuard<Int>.limit)
        }
    }

    @Test(
        "Held against a dictionary of any size: a key that is left alone has failed, and none is forgotten within the bound",
        arguments: 1...8 as ClosedRange<UInt64>)
    func model(seed: UInt64) {
        struct SourceDown: Error {}
        /// A key's failures in a row, and until when it is left alone; the least of both where it may have been forgotten.
        struct Failures {
            var count = 0...0
            var until = Int64.min...Int64.min
        }
        var random = SplitMix(course: seed)
        let waits = [1, 2, 4, 8, 16, 20].map { Int64($0) * 1_000_000_000 }
        var options = LoadOptions()
        options.backOff = .init(initial: .seconds(1), maximum: .seconds(20))
        let loads = LoadGuard<Int>(options)
        // From fewer keys than are remembered to many more.
        let keys = UInt64(1000) << (seed % 4)
        var model: [Int: Failures] = [:]
        var now: Int64 = 0
        func wait(_ count: Int) -> Int64 { waits[min(max(count, 1), waits.count) - 1] }
        for step in 0..<600 {
            let call = (0...random.next() % 60).map { _ in Int(random.next() % keys) }
            switch random.next() % 10 {
            case ..<6:
                for key in call {
                    if loads.count >= 4096 {
                        model = model.mapValues { known in
                            Failures(count: 0...known.count.upperBound, until: .min...known.until.upperBound)
                        }
                    }
                    loads.noteFailure([key], .init(), SourceDown(), at: now)
                    #expect(loads.count <= 4096, "seed \(seed), step \(step)")
                    var count = model[key]?.count ?? 0...0
                    if let until = model[key]?.until {
                        // What failed long ago does not count.
                        let past = now - 40_000_000_000
                        if until.lowerBound <= past { count = 0...(until.upperBound <= past ? 0 : count.upperBound) }
                    }
                    let next = count.lowerBound + 1...count.upperBound + 1
                    model[key] = Failures(
                        count: next, until: now + wait(next.lowerBound)...now + wait(next.upperBound))
                }
            case 6:
                loads.noteSuccess(call, .init())
                for key in call { model[key] = nil }
            default: now += Int64(random.next() % 4_000_000_000)
            }
            for _ in 0..<40 {
                let key = Int(random.next() % keys)
                let until = model[key]?.until ?? .min ... .min
                do throws(LoadRefused) {
                    try loads.check(key, at: now)
                    #expect(until.lowerBound <= now, "seed \(seed), step \(step): \(key) was to be left alone")
                } catch {
                    #expect(until.upperBound > now, "seed \(seed), step \(step): \(key) was left alone")
                }
            }
        }
    }

    @Test("A failure of long ago does not lengthen the wait after the next one")
    func longAgo() {
        struct SourceDown: Error {}
        var options = LoadOptions()
        options.backOff = .init(initial: .seconds(1), maximum: .seconds(8))
        let loads = LoadGuard<Int>(options)
        let second: Int64 = 1_000_000_000
        func waits(after failure: Int64, for span: Int64) {
            loads.noteFailure([1], .init(), SourceDown(), at: failure * second)
            #expect(throws: LoadRefused.self) { try loads.check(1, at: (failure + span) * second - 1) }
            #expect(throws: Never.self) { try loads.check(1, at: (failure + span) * second) }
        }
        waits(after: 0, for: 1)
        // The last moment at which the one before counts, and the first at which it does not.
        waits(after: 16, for: 2)
        waits(after: 18 + 16, for: 1)
        waits(after: 40, for: 2)
        waits(after: 42, for: 4)
    }

    @Test("While the source rests one load is on its way to decide, whatever others come to")
    func oneProbe() throws {
        struct SourceDown: Error {}
        var options = LoadOptions()
        options.breaker = .init(failures: 2, pause: .seconds(1))
        let loads = LoadGuard<Int>(options)
        // Begun before the source was given a rest.
        let early = try loads.admit(at: 0)
        for key in 1...2 { loads.noteFailure([key], try loads.admit(at: 0), SourceDown(), at: 0) }
        #expect(throws: LoadRefused.self) { try loads.admit(at: 1) }
        let probe = try loads.admit(at: 1_000_000_000)
        #expect(probe.isProbe)
        loads.noteCancelled(early)
        #expect(throws: LoadRefused.self) { try loads.admit(at: 1_000_000_000) }
        loads.noteCancelled(probe)
        let second = try loads.admit(at: 1_000_000_000)
        loads.noteSuccess([4], second)
        #expect(try loads.admit(at: 1_000_000_000).isProbe == false)
    }

    @Test("A load that decides and does not end is in others' way for one pause: then another one decides")
    func hangingProbe() throws {
        struct SourceDown: Error {}
        let second: Int64 = 1_000_000_000
        var options = LoadOptions()
        options.breaker = .init(failures: 1, pause: .seconds(1))
        let loads = LoadGuard<Int>(options)
        loads.noteFailure([1], try loads.admit(at: 0), SourceDown(), at: 0)
        let hanging = try loads.admit(at: second)
        #expect(hanging.isProbe)
        #expect(throws: LoadRefused.self) { try loads.admit(at: 2 * second - 1) }
        let next = try loads.admit(at: 2 * second)
        #expect(next.isProbe)
        // The end of one that is no longer waited for leaves the next one its turn.
        loads.noteCancelled(hanging)
        #expect(throws: LoadRefused.self) { try loads.admit(at: 2 * second) }
        loads.noteSuccess([2], next)
        #expect(try loads.admit(at: 2 * second).isProbe == false)
    }

    /// A key that counts how often it is hashed.
    private struct CountedKey: CacheKey {
        static let hashes = Atomic<Int>(0)
        var number: Int

        init(_ number: Int) { self.number = number }
        init?(keyBytes: RawSpan) {
            guard let number = Int(keyBytes: keyBytes) else { return nil }
            self.number = number
        }
        func withKeyBytes<R, E: Error>(_ body: (RawSpan) throws(E) -> R) throws(E) -> R {
            try number.withKeyBytes(body)
        }
        func hash(into hasher: inout Hasher) {
            CountedKey.hashes.add(1, ordering: .relaxed)
            hasher.combine(number)
        }
    }

    @Test("Near the bound a failure costs no look at all that are remembered")
    func cheapNearTheBound() {
        struct SourceDown: Error {}
        var options = LoadOptions()
        // At every moment all but one of those that are remembered are still to be left alone.
        options.backOff = .init(initial: .milliseconds(4095), maximum: .milliseconds(4095))
        let loads = LoadGuard<CountedKey>(options)
        let keys = 3 * LoadGuard<CountedKey>.limit
        for key in 0..<keys {
            loads.noteFailure([CountedKey(key)], .init(), SourceDown(), at: Int64(key) * 1_000_000)
            #expect(loads.count <= LoadGuard<CountedKey>.limit)
        }
        #expect(CountedKey.hashes.load(ordering: .relaxed) < 20 * keys)
        // What is forgotten is what may be tried again first.
        for key in (keys - 2000)..<keys {
            #expect(throws: LoadRefused.self) { try loads.check(CountedKey(key), at: Int64(keys) * 1_000_000) }
        }
    }
}
