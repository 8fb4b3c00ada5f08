import Foundation
import Varve

// The code of the articles on patterns: see OverviewArticles.swift.

private struct Session: Codable, Sendable {
    var user: UInt64
}

private struct Row: Sendable {
    var name: String
    var team: Int
    var version: UInt64
}

private struct User: Codable, Sendable {
    var name: String
    var version: UInt64 = 0

    init(_ row: Row) { (name, version) = (row.name, row.version) }
}

private struct UserDatabase: Sendable {
    func user(_ id: Int) async throws -> User { throw CancellationError() }
    func row(_ id: Int) async throws -> Row? { nil }
    func save(_ user: User, _ id: Int) async throws {}
    func delete(_ id: Int) async throws {}
    func upsert(_ id: Int, _ user: User) async throws -> Row { throw CancellationError() }
}

private enum LoadingPage {
    static func load(_ users: Cache<Int, User>, _ id: Int, _ database: UserDatabase) async throws -> User {
        let user = try await users.value(for: id) { id in try await database.user(id) }
        return user
    }

    static func loadKept(_ users: Cache<Int, User>, _ id: Int, _ database: UserDatabase) async throws -> User {
        let loading = LoadingCache(users) { id in try await database.user(id) }
        let again = try await loading.value(for: id)
        return again
    }

    static func loadSayingMore(_ users: Cache<Int, User>, _ id: Int, _ database: UserDatabase) async throws -> User? {
        let user = try await users.value(
            for: id,
            loading: { id in
                guard let row = try await database.row(id) else { return Loaded(nil) }
                return Loaded(User(row), .init(tags: ["team/\(row.team)"], sourceVersion: row.version))
            })
        return user
    }
}

private enum ExpiringPage {
    static func expiries() -> CacheOptions {
        let brief = Expiry.minutes(5)  // gone after five minutes
        let stale = Expiry(usable: .seconds(3600), fresh: .seconds(60))  // stale after one, gone after sixty
        let idle = Expiry(idle: .seconds(1800))  // gone when nobody read it for thirty
        let apart = Expiry(usable: .seconds(300), jitter: 0.1)  // somewhere between 270 and 300 seconds
        let options = CacheOptions(expiry: stale)
        _ = (brief, idle, apart)
        return options
    }
}

private enum BoundingPage {
    struct URLPath: RawRepresentable, CacheKey {
        var rawValue: String
    }

    struct Page: Sendable {
        var html: String
    }

    static func bounds() async throws {
        let quotes = try await Cache<String, Quote>.open(
            at: "/var/lib/app/quotes", .init(memory: .megabytes(256), disk: .gigabytes(10), policy: .adaptive))

        // Several caches in one store, which has the limit of the disk; options with one of their own are refused.
        let store = try await CacheStore.open(at: "/var/lib/app/cache", disk: .gigabytes(20))
        var options = CacheOptions(memory: .megabytes(64))
        options.diskQuota = .gigabytes(2)
        let sessions: Cache<UUID, Session> = try await store.cache(named: "sessions", options)
        _ = (quotes, sessions)
    }

    static func cost() throws -> Cache<URLPath, Page> {
        let pages = try Cache<URLPath, Page>.inMemory(.init(memory: .megabytes(64)), cost: { $0.html.utf8.count })
        return pages
    }
}

private enum InvalidatingPage {
    struct Event: Sendable {
        var version: UInt64
    }

    static func remove(
        _ users: Cache<Int, User>, _ id: Int, _ pages: Cache<String, String>, _ html: String
    ) async throws {
        try await users.remove(id)
        try await pages.removeAll(withPrefix: "/shop/")
        try await pages.removeAll()

        try await pages.set(html, for: "/shop/shoes", .init(tags: ["shoes", "prices"]))
        try await pages.remove(taggedWith: "prices")
    }

    static func lateWriters(
        _ users: Cache<Int, User>, _ user: User, _ id: Int, _ event: Event,
        _ pages: Cache<String, String>, _ release: Event
    ) async throws {
        try await users.set(user, for: id, .init(sourceVersion: user.version))  // refused if a newer one is known
        try await users.remove(id, olderThan: event.version)  // and nothing older comes back
        try await pages.removeAll(withPrefix: "/shop/", olderThan: release.version)  // nor of any of these keys
        try await pages.removeAll(olderThan: release.version)
    }
}

private enum ChangingInOneStepPage {
    struct Cart: Codable, Sendable {
        var items: [String]
    }

    struct TooManyRequests: Error {}

    static func steps(
        _ carts: Cache<Int, Cart>, _ id: Int, _ changed: Cart, _ item: String, _ counters: Cache<String, Int>,
        _ locks: Cache<String, String>, _ owner: String, _ jobs: Cache<String, String>
    ) async throws {
        let entry = try await carts.entry(for: id)
        let version = try await carts.set(changed, for: id, ifVersion: entry?.version)  // nil: somebody was faster

        try await carts.update(id) { cart in cart?.items.append(item) }  // tried again until it fits
        let visits = try await counters.increment("visits")
        let job = try await jobs.take("next")
        let mine = try await locks.add(owner, for: "job", .init(expiry: .seconds(30)))  // nil: somebody has it
        if let mine { try await locks.remove("job", ifVersion: mine) }  // not where it is another's by now
        _ = (version, visits, job)
    }

    static func limit(_ store: CacheStore, _ client: String) async throws {
        let requests: Cache<String, Int> = try await store.cache(
            named: "requests", .init(memory: .entries(100_000), expiry: .minutes(1)))
        if try await requests.increment(client) > 100 { throw TooManyRequests() }  // the minute began with the first
    }
}

private enum WritingThroughPage {
    static func write(_ users: Cache<Int, User>, _ user: User, _ id: Int, _ database: UserDatabase) async throws
        -> User?
    {
        try await users.set(user, for: id) { id, user in try await database.save(user, id) }
        try await users.remove(id) { id in try await database.delete(id) }

        // The origin completes the value, or gives it a version:
        let saved = try await users.write(id) { id in
            let row = try await database.upsert(id, user)
            return Loaded(User(row), .init(sourceVersion: row.version))
        }
        return saved
    }
}

private enum DurabilityPage {
    static func sync(_ sessions: Cache<UUID, Session>, _ session: Session, _ id: UUID) async throws {
        try await sessions.set(session, for: id, .init(durability: .synced))
        try await sessions.remove(id, durability: .synced)
    }
}
