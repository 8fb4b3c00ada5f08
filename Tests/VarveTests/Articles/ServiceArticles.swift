import Foundation
import Varve

// The code of the articles on what surrounds a cache: its disk, its restart, its followers and its readings. See
// OverviewArticles.swift.

private enum DegradingPage {
    static func open() async throws -> Cache<String, Quote> {
        var options = CacheOptions(memory: .megabytes(256), disk: .gigabytes(10))
        options.degradation = .memoryOnly
        let quotes = try await Cache<String, Quote>.open(at: "/var/lib/app/quotes", options)
        return quotes
    }

    static func look(_ quotes: Cache<String, Quote>, _ alert: (String) -> Void) {
        if !quotes.health.isHealthy { alert("\(quotes.health)") }
    }
}

private enum RestartingWarmPage {
    static func open(_ path: String, _ options: CacheOptions) async throws {
        let quotes = try await Cache<String, Quote>.open(at: path, options)
        await quotes.ready(share: 0.95, atMost: .seconds(10))
    }
}

private enum FollowingChangesPage {
    final class Index {
        func update(_ symbol: String, _ quote: Quote) {}
        func remove(_ symbol: String) {}
        func rebuild() {}
    }

    actor SharedIndex {
        func apply(_ change: CacheChange<String, Quote>) {}
    }

    static func follow(_ quotes: Cache<String, Quote>, _ index: Index, since first: ChangeCursor) async throws {
        var cursor = first
        for try await change in try quotes.changes(since: cursor) {
            switch change.event {
            case .set(let symbol, let quote): index.update(symbol, quote)
            case .removed(let symbol): index.remove(symbol)
            case .removedRange, .removedAll, .removedOlder, .tagDropped: index.rebuild()
            case .caughtUp: break
            }
            cursor = change.cursor  // keep it: as text, or through Codable
        }
    }

    static func goOn(_ quotes: Cache<String, Quote>, _ index: SharedIndex, _ isTimeToSave: Bool) async throws {
        let slot = try await quotes.changeSlot(named: "search index", capBytes: 1 << 30)
        for try await change in try quotes.changes(since: slot.cursor) {
            await index.apply(change)
            // A small durable write: once a second is enough.
            if isTimeToSave { try await slot.acknowledge(change.cursor) }
        }
    }

    static func otherProcess(_ version: EntryVersion) async throws -> Quote? {
        let owner = RemoteCache<String, Quote>(storeAt: "/var/lib/app/quotes")
        let mine = try Cache<String, Quote>.inMemory()
        let follower = try mine.follow(owner)
        let quote = try await mine.value(for: "AAPL", loading: owner.loaded(for:))
        try await follower.waitUntilFollowed(version)  // versions travel as text, or through Codable
        return quote
    }
}

private enum ObservingPage {
    static func look(_ quotes: Cache<String, Quote>) {
        let minute = quotes.statistics(over: .lastMinute)
        print(minute.hitRatio, minute.memoryHitRatio, minute.misses[.expired] ?? 0, minute.loadLatency.percentile(0.99))
    }
}
