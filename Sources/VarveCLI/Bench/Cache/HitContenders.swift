import Synchronization
internal import Varve

/// Something that answers reads of keys that it holds in memory: what `cache_hit` compares.
protocol HitContender: Sendable {
    associatedtype Key: CacheKey
    static var name: String { get }
    init(_ entries: [Key: [UInt8]]) async throws
    /// Stays with its caller, as the call of an application stands in its own function.
    nonisolated(nonsending) func read(_ key: Key) async throws -> [UInt8]?
}

/// `value(for:)`, as an application calls it.
struct AsyncReads<Key: CacheKey>: HitContender {
    static var name: String { "cache_value" }
    let cache: Cache<Key, [UInt8]>
    init(_ entries: [Key: [UInt8]]) async throws { cache = try await .holding(entries) }
    @inline(__always)
    nonisolated(nonsending) func read(_ key: Key) async throws -> [UInt8]? { try await cache.value(for: key) }
}

/// `value(for:load:)`, whose loader is never called. It holds on to its source, as an application's does.
struct LoadingReads<Key: CacheKey>: HitContender {
    static var name: String { "cache_load" }
    let cache: Cache<Key, [UInt8]>
    private let source = Source()
    init(_ entries: [Key: [UInt8]]) async throws { cache = try await .holding(entries) }
    @inline(__always)
    nonisolated(nonsending) func read(_ key: Key) async throws -> [UInt8]? {
        try await cache.value(for: key) { [source] _ in try await source.load() }
    }

    private final class Source: Sendable {
        func load() async throws -> [UInt8] { throw BenchFailure("an entry left memory") }
    }
}

/// A `LoadingCache`, whose loader is made once.
struct LoadingCacheReads<Key: CacheKey>: HitContender {
    static var name: String { "cache_loading" }
    private let cache: LoadingCache<Key, [UInt8]>
    init(_ entries: [Key: [UInt8]]) async throws {
        let load: @Sendable (Key) async throws -> [UInt8] = { [count = entries.count] key in
            throw BenchFailure("\(key) left memory, of \(count)")
        }
        cache = LoadingCache(try await .holding(entries), load: load)
    }
    @inline(__always)
    nonisolated(nonsending) func read(_ key: Key) async throws -> [UInt8]? { try await cache.value(for: key) }
}

/// `valueInMemory(for:)`, for code that cannot wait.
struct ImmediateReads<Key: CacheKey>: HitContender {
    static var name: String { "cache_in_memory" }
    let cache: Cache<Key, [UInt8]>
    init(_ entries: [Key: [UInt8]]) async throws { cache = try await .holding(entries) }
    @inline(__always)
    nonisolated(nonsending) func read(_ key: Key) async throws -> [UInt8]? { cache.valueInMemory(for: key) }
}

/// `value(for:)` where entries expire an hour after they were written.
struct ExpiringReads<Key: CacheKey>: HitContender {
    static var name: String { "cache_expiring" }
    let cache: Cache<Key, [UInt8]>
    init(_ entries: [Key: [UInt8]]) async throws {
        cache = try await .holding(entries, .init(expiry: .hours(1)))
    }
    @inline(__always)
    nonisolated(nonsending) func read(_ key: Key) async throws -> [UInt8]? { try await cache.value(for: key) }
}

/// The same where they carry two tags each.
struct TaggedReads<Key: CacheKey>: HitContender {
    static var name: String { "cache_tagged" }
    let cache: Cache<Key, [UInt8]>
    init(_ entries: [Key: [UInt8]]) async throws {
        cache = try await .holding(entries, .init(expiry: .hours(1), tags: ["every", "entry"]))
    }
    @inline(__always)
    nonisolated(nonsending) func read(_ key: Key) async throws -> [UInt8]? { try await cache.value(for: key) }
}

/// The same where they expire when they have not been read for an hour.
struct IdleReads<Key: CacheKey>: HitContender {
    static var name: String { "cache_idle" }
    let cache: Cache<Key, [UInt8]>
    init(_ entries: [Key: [UInt8]]) async throws {
        cache = try await .holding(entries, .init(expiry: Expiry(idle: .seconds(3600))))
    }
    @inline(__always)
    nonisolated(nonsending) func read(_ key: Key) async throws -> [UInt8]? { try await cache.value(for: key) }
}

/// What one writes first.
actor ActorReads<Key: CacheKey>: HitContender {
    static var name: String { "actor" }
    private let entries: [Key: [UInt8]]
    init(_ entries: [Key: [UInt8]]) async throws { self.entries = entries }
    func read(_ key: Key) async throws -> [UInt8]? { entries[key] }
}

/// What one writes when that is too slow. It forgets nothing, expires nothing and counts nothing.
final class MutexReads<Key: CacheKey>: HitContender {
    static var name: String { "mutex" }
    private let entries: Mutex<[Key: [UInt8]]>
    init(_ entries: [Key: [UInt8]]) async throws { self.entries = Mutex(entries) }
    @inline(__always)
    nonisolated(nonsending) func read(_ key: Key) async throws -> [UInt8]? { entries.withLock { $0[key] } }
}

extension Cache where Value == [UInt8] {
    /// A cache in memory that holds all of these, with room to spare.
    static func holding(_ entries: [Key: [UInt8]], _ options: EntryOptions = .init()) async throws -> Cache {
        let cache = try inMemory(.init(memory: .entries(entries.count * 2)))
        for (key, value) in entries { try await cache.set(value, for: key, options) }
        return cache
    }
}
