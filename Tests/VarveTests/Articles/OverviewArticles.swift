import Foundation
import Varve

// The code of Varve.md and GettingStarted.md, as readers would have it in a program of theirs. `ArticleTests` (TidyTests) finds
// every block of an article here, or in a file beside this one: so what the articles show compiles. Nobody calls it. `Quote` is
// the README's.

private struct API: Sendable {
    func quote(_ symbol: String) async throws -> Quote { throw CancellationError() }
}

private struct Session: Codable, Sendable {
    var user: UInt64
}

struct UserID: RawRepresentable, CacheKey {
    var rawValue: UInt64
}

struct Thumbnail: CacheValue {
    var width: UInt8
    var pixels: [UInt8]

    init(width: UInt8, pixels: [UInt8]) { (self.width, self.pixels) = (width, pixels) }
    init(cacheBytes: [UInt8]) throws {
        guard let width = cacheBytes.first else { throw CacheCodingError(message: "a thumbnail has a width") }
        self.init(width: width, pixels: Array(cacheBytes.dropFirst()))
    }
    func cacheBytes() -> [UInt8] { [width] + pixels }
    var memoryCost: Int { pixels.count + 32 }
}

private enum VarvePage {
    static func overview(_ api: API) async throws -> Quote {
        let quotes = try await Cache<String, Quote>.open(
            at: "/var/lib/app/quotes", .init(memory: .megabytes(256), disk: .gigabytes(10), expiry: .minutes(5)))
        let quote = try await quotes.value(for: "AAPL") { symbol in try await api.quote(symbol) }
        return quote
    }
}

private enum GettingStartedPage {
    struct Quote: Codable, Sendable {
        var symbol: String
        var price: Double
    }

    static func open() async throws -> Cache<String, Quote> {
        let quotes = try await Cache<String, Quote>.open(
            at: "/var/lib/app/quotes", .init(memory: .megabytes(256), disk: .gigabytes(10), expiry: .minutes(5)))
        return quotes
    }

    static func types(_ store: CacheStore) async throws -> Cache<UserID, Thumbnail> {
        let thumbnails: Cache<UserID, Thumbnail> = try await store.cache(named: "thumbnails")
        return thumbnails
    }

    struct Source: Sendable {
        func quote(_ symbol: String) async throws -> Quote { throw CancellationError() }
    }

    static func load(_ quotes: Cache<String, Quote>, _ api: Source) async throws -> Quote {
        let quote = try await quotes.value(for: "AAPL") { symbol in
            try await api.quote(symbol)
        }
        return quote
    }

    static func write(_ quotes: Cache<String, Quote>) async throws {
        try await quotes.set(Quote(symbol: "AAPL", price: 260), for: "AAPL")
        try await quotes.remove("AAPL")
    }

    static func several() async throws {
        let store = try await CacheStore.open(at: "/var/lib/app/cache", disk: .gigabytes(20))
        let quotes: Cache<String, Quote> = try await store.cache(named: "quotes", .init(expiry: .minutes(5)))
        let sessions: Cache<UUID, Session> = try await store.cache(
            named: "sessions", .init(expiry: Expiry(idle: .seconds(1800))))
        _ = (quotes, sessions)
    }
}
