import Synchronization
import VarveEngine
import VarveTestSupport

@testable import Varve

/// What a cache stands in front of: a row a key, which outlives the cache's process. What a load brings of a row has a
/// number of its own, so that each load can be told from the others; the origin knows whose it is. Any thread.
final class HistoryOrigin: Sendable {
    /// Why the origin did not do, or does not say that it did, what it was asked.
    struct Down: Error {}

    /// What becomes of a write.
    enum Fate: CaseIterable, Sendable {
        case done
        case doneAndUntold
        case refused
    }

    private struct State {
        var rows: [String: Int] = [:]
        /// Of every number that stands for a row, the row; 0 for none.
        var rowOf: [Int: Int] = [:]
        var life = 0
    }
    private let state = Mutex(State())

    /// A process begins to use it, as the only one.
    func beginLife() -> Int {
        state.withLock { state in
            state.life += 1
            return state.life
        }
    }

    /// That process is dead: what it asks from here on reaches nobody.
    func endLife() { state.withLock { $0.life += 1 } }

    func isAlive(_ life: Int) -> Bool { state.withLock { $0.life == life } }

    /// Writes a row, nil to remove it, as its fate is.
    func write(_ row: Int?, _ key: String, _ fate: Fate, life: Int) throws {
        let isAlive = state.withLock { state in
            if state.life == life, fate != .refused {
                state.rows[key] = row
                if let row { state.rowOf[row] = row }
            }
            return state.life == life
        }
        if !isAlive || fate != .done { throw Down() }
    }

    /// What a load finds there: a number for it, and the moment at which that was so, and whether there is no row.
    func load(
        _ key: String, _ options: EntryOptions, remembersAbsence: Bool, _ recorder: HistoryRecorder
    ) -> (value: Int, isNone: Bool) {
        state.withLock { state in
            let row = state.rows[key]
            // Tags are an entry's, and there may be none.
            let hasEntry = row != nil || remembersAbsence || options.expiry?.usable != nil
            let value = recorder.newValue(
                tags: Set(hasEntry ? options.tags : []), sourceVersion: options.sourceVersion, isAbsence: row == nil)
            state.rowOf[value] = row ?? 0
            let began = recorder.tick()
            recorder.record(HistoryOperation(.loadBegan(value), from: began, to: began), on: key)
            return (value, row == nil)
        }
    }

    /// What is wrong with what a cache holds while nobody writes: what came from here is what is here.
    func complaint(_ key: String, held: Int?) -> String? {
        state.withLock { state in
            guard let held, let row = state.rowOf[held], row != state.rows[key] else { return nil }
            return "\(key): the cache has row \(row), and the origin \(state.rows[key].map(String.init) ?? "none")"
        }
    }
}
