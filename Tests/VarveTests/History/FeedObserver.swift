import VarveEngine
import VarveTestSupport

@testable import Varve

/// Follows a cache's feed through a history, over crashes and times without the disk, and holds it to its promises:
/// nothing goes back, nothing is left out, and what was told is never taken back.
final class FeedObserver: Sendable {
    private struct State: Sendable {
        var cursor: ChangeCursor?
        var values: [String: Int] = [:]
        var violations: [String] = []
        /// Whether what is told comes from a process that is alive.
        var isLive = false
    }

    private let state = Watched(State())
    private static let slot = "observer"

    var violations: [String] { state.current.violations }

    /// What the process tells from here on reaches nobody: it is dead.
    func processDies() { state.update { $0.isLive = false } }

    /// Follows until the task is cancelled or the store is at its end.
    func follow(_ cache: Cache<String, Int>) async {
        state.update { $0.isLive = true }
        defer { state.update { $0.isLive = false } }
        while !Task.isCancelled {
            do throws(VarveError) {
                let slot = try await cache.changeSlot(named: FeedObserver.slot, capBytes: 1 << 40)
                let kept = try slot.cursor
                let start = state.current.cursor ?? kept
                for try await change in try cache.changes(since: start, includingProgress: true) { take(change) }
            } catch {
                switch error.code {
                // Of a log that has failed since the last write the store learns by the next one.
                case .degraded, .failedStop, .io: await Task.yield()
                // The slot keeps the log, and nothing is told that a power cut could take back.
                case .logGap, .notContinuing: return complain("the feed does not go on: \(error)")
                case .closed, .cancelled: return
                default: return complain("the feed ends: \(error)")
                }
            }
        }
    }

    private func take(_ change: CacheChange<String, Int>) {
        state.update { state in
            guard state.isLive else { return }
            if let last = state.cursor, change.cursor.lsn < last.lsn {
                state.violations.append("\(change.cursor) is told after \(last)")
            }
            state.cursor = change.cursor
            switch change.event {
            case .set(let key, let value): state.values[key] = value
            case .removed(let key): state.values[key] = nil
            case .removedRange(let keys): state.values = state.values.filter { !keys.contains($0.key) }
            case .removedAll: state.values = [:]
            case .tagDropped, .removedOlder, .caughtUp: break
            }
        }
    }

    /// Once nothing changes any more: whatever the store has was told last of its key.
    func judge(_ cache: Cache<String, Int>, keys: [String]) async throws -> [String] {
        guard let disk = cache.disk else { return violations }
        for _ in 0..<1000 {
            if cache.isDegraded { _ = await cache.tryReturn() } else if (try? await disk.engine.sync()) != nil { break }
            await Task.yield()
        }
        // What was set in memory is written after the return, beside this.
        while true {
            let end = try cache.changeCursor
            await state.reached { ($0.cursor?.lsn ?? .zero) >= end.lsn || !$0.isLive }
            let complaints = try await differences(from: disk, cache, keys)
            guard try cache.changeCursor.lsn == end.lsn else { continue }
            for complaint in complaints { complain(complaint) }
            return violations
        }
    }

    /// Between what is on disk and what was told.
    private func differences(
        from disk: DiskTier, _ cache: Cache<String, Int>, _ keys: [String]
    ) async throws -> [String] {
        func text(_ value: Int?) -> String { value.map(String.init) ?? "nothing" }
        var found: [String] = []
        for key in keys {
            guard let stored = try await disk.entry(Array(key.utf8)), key.withKeyBytes({ disk.keeps(stored, of: $0) })
            else { continue }
            let isAbsent = stored.fields.valueType == DiskTier.Kind.absent.rawValue
            let value = isAbsent ? nil : try cache.coding.decode(stored.bytes)
            let told = state.current.values[key]
            if told != value { found.append("\(key) is \(text(value)) on disk, and was told to be \(text(told))") }
        }
        return found
    }

    private func complain(_ what: String) { state.update { $0.violations.append("feed: " + what) } }
}
