import VarveEngine
import VarveIO
import VarveTestSupport

/// Opens what a crash left and holds it against the history.
struct StoreChecker {
    let files: any FileSystem
    let directory: String
    let options: EngineOptions

    func open() throws -> Engine {
        do {
            return try Engine.open(at: directory, options, fileSystem: files)
        } catch {
            throw Broken("the store cannot be opened: \(error) (\(error.code))")
        }
    }

    /// Every entry, forward; backward and by key it must be the same.
    static func read(_ engine: Engine) throws -> [FoundEntry] {
        do {
            let forward = try scan(engine, reverse: false)
            let backward = try scan(engine, reverse: true)
            guard backward.reversed() == forward else {
                throw Broken("a reverse scan finds other entries than a forward one")
            }
            let byKey = Dictionary(uniqueKeysWithValues: forward.map { ($0.key, $0.held) })
            for key in WorkloadKeys.all {
                let found = try engine.get(key)
                let held = found.map { HeldEntry(value: $0.bytes, usableUntil: $0.usableUntil) }
                guard held == byKey[key] else {
                    throw Broken("\(WorkloadKeys.text(key)): a scan finds another value than a point read")
                }
            }
            return forward
        } catch let error as VarveError {
            throw Broken("a read fails: \(error) (\(error.code))")
        }
    }

    private static func scan(_ engine: Engine, reverse: Bool) throws -> [FoundEntry] {
        let page = try engine.page(limit: 1 << 20, reverse: reverse)
        return page.entries.map {
            FoundEntry(key: $0.key, held: HeldEntry(value: $0.value.bytes, usableUntil: $0.value.usableUntil))
        }
    }

    /// Which state of the history the store is in.
    static func position(of engine: Engine, in history: StoreHistory, _ range: ClosedRange<Int>) throws -> Int {
        let found = try read(engine)
        let now = engine.storeTime
        if let match = history.match(found, in: range, now: now) { return match }
        throw Broken(explain(found, history, range, now))
    }

    /// Says how what was found differs from what is allowed.
    private static func explain(
        _ found: [FoundEntry], _ history: StoreHistory, _ range: ClosedRange<Int>, _ now: Timestamp
    ) -> String {
        if let other = history.match(found, in: 0...history.issued, now: now) {
            return "the store is at batch \(other), but it must be at \(range.lowerBound) to \(range.upperBound)"
        }
        let state = history.states[range.upperBound]
        let byKey = Dictionary(uniqueKeysWithValues: found.map { ($0.key, $0.held) })
        var differences: [String] = []
        for key in Set(state.keys).union(byKey.keys).sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            let expected = state[key].flatMap { StoreHistory.isExpired($0, now) ? nil : $0 }
            guard expected != byKey[key] else { continue }
            func text(_ held: HeldEntry?) -> String {
                held.map { "\($0.value.count) bytes \(String(decoding: $0.value.prefix(12), as: UTF8.self))" }
                    ?? "absent"
            }
            differences.append("\(WorkloadKeys.text(key)): \(text(expected)) expected, \(text(byKey[key])) found")
        }
        return "the store is at no batch of \(range.lowerBound) to \(range.upperBound); against the last: "
            + differences.prefix(6).joined(separator: "; ")
    }

    /// Opens the store, finds its place, and leaves it as a crash would.
    func recoveredPosition(in history: StoreHistory, _ range: ClosedRange<Int>) throws -> Int {
        try StoreChecker.position(of: open(), in: history, range)
    }

    /// The store must go on: it is written, closed, opened again, and holds what it held and what was written.
    /// `isThorough` flushes, compacts and verifies on the way.
    func check(_ history: StoreHistory, _ range: ClosedRange<Int>, isThorough: Bool) throws {
        let engine = try open()
        let index = try StoreChecker.position(of: engine, in: history, range)
        var later = StoreHistory(history.states[index])
        do {
            try write(engine, &later, isThorough: isThorough)
            try engine.close()
        } catch let error as VarveError {
            throw Broken("the recovered store does not go on: \(error) (\(error.code))")
        }
        let again = try open()
        _ = try StoreChecker.position(of: again, in: later, later.issued...later.issued)
        do { try again.close() } catch { throw Broken("the store cannot be closed: \(error)") }
    }

    private func write(_ engine: Engine, _ later: inout StoreHistory, isThorough: Bool) throws {
        let keys = WorkloadKeys.all
        let first: [ModelStore.Operation] = [
            .put(keys[3], .init(value: Array("after the crash".utf8))), .delete(keys[4]),
            .put(keys[5], .init(value: [])),
        ]
        later.issue(first)
        try Workload.write(first, to: engine, durability: nil)
        let second: [ModelStore.Operation] = [.put(keys[6], .init(value: Array("and synced".utf8)))]
        later.issue(second)
        try Workload.write(second, to: engine, durability: .synced)
        _ = try StoreChecker.position(of: engine, in: later, later.issued...later.issued)
        guard isThorough else { return }
        try engine.compact()
        try engine.runBackgroundWork()
        _ = try StoreChecker.position(of: engine, in: later, later.issued...later.issued)
        let report = try engine.verify()
        if let damage = report.damage.first { throw Broken("the recovered store is damaged: \(damage)") }
    }
}
