/// A cache with the loader of its values: for code that asks in many places, and does not say in each where values come from.
/// (The idea: Caffeine's `LoadingCache`.)
///
/// The loader is made once, so a hit allocates nothing beyond the value, whatever it captures; a closure that captures something
/// and is written at the call is made anew at each, hit or not. The cache is the same: what is written, removed or loaded there shows here. Any
/// thread.
public struct LoadingCache<Key: CacheKey, Value: Sendable>: Sendable {
    /// Where the values are kept.
    public let cache: Cache<Key, Value>
    @usableFromInline let load: Cache<Key, Value>.Loader

    /// Values of a cache, loaded by a closure.
    public init(_ cache: Cache<Key, Value>, load: @escaping @Sendable (Key) async throws -> Value) {
        self.init(cache) { Loaded(try await load($0)) }
    }

    /// The same for a loader that says more than a value: its expiry, tags, source version, or that there is none.
    public init(_ cache: Cache<Key, Value>, loading load: @escaping Cache<Key, Value>.Loader) {
        self.cache = cache
        self.load = load
    }

    /// The value of a key, loaded where the cache has none, as by `Cache.value(for:load:)`.
    /// - Throws: as that; `ValueAbsent` where the source has none.
    @inlinable @inline(__always)
    public func value(for key: Key) async throws -> Value {
        guard let value = try await valueOrNil(for: key) else { throw ValueAbsent() }
        return value
    }

    /// The same; nil where the source has none, as a loader that can say so found.
    /// - Throws: as `Cache.value(for:loading:)`.
    @inlinable @inline(__always)
    public func valueOrNil(for key: Key) async throws -> Value? { try await cache.value(for: key, loading: load) }

    /// Asks the source anew, as `Cache.refresh(_:loading:)` does. Nil where it has none.
    /// - Throws: as that.
    @discardableResult
    public func refresh(_ key: Key) async throws -> Value? { try await cache.refresh(key, loading: load) }
}
