public import FoundationEssentials

/// What entries are found by. Strings, integers, bytes and UUIDs are keys; a type of your own becomes one by naming the
/// bytes that stand for it, or, where it has a raw value that is a key, by saying so.
///
/// The bytes are what the disk keeps and what hashes are taken of, so they are part of a cache's format: equal keys must
/// lend equal bytes, different keys different ones, today and after every later deploy. Prefixes and scans follow their
/// order. At most 64 KiB.
///
/// The bytes alone say which key it is. Strings that Swift calls equal though they are spelled in other bytes ("é" as one
/// scalar or as two) are two keys; a dictionary of them, as calls for many keys take and return it, holds one of the two.
public protocol CacheKey: Hashable, Sendable {
    /// Lends the bytes that stand for the key; they are good within `body`.
    func withKeyBytes<R, E: Error>(_ body: (RawSpan) throws(E) -> R) throws(E) -> R
    /// The key that these bytes stand for; nil where they stand for none.
    init?(keyBytes: RawSpan)
}

extension String: CacheKey {
    @inlinable
    public func withKeyBytes<R, E: Error>(_ body: (RawSpan) throws(E) -> R) throws(E) -> R {
        unsafe try body(utf8Span.span.bytes)
    }

    public init?(keyBytes: RawSpan) {
        let text = unsafe keyBytes.withUnsafeBytes { unsafe String(validating: $0, as: UTF8.self) }
        guard let text else { return nil }
        self = text
    }
}

extension [UInt8]: CacheKey {
    @inlinable
    public func withKeyBytes<R, E: Error>(_ body: (RawSpan) throws(E) -> R) throws(E) -> R {
        unsafe try body(span.bytes)
    }

    public init?(keyBytes: RawSpan) { self = unsafe keyBytes.withUnsafeBytes { unsafe Array($0) } }
}

/// Integers as keys: big-endian, signed ones with their sign bit turned, so that the order of the bytes is the order of
/// the numbers.
extension CacheKey where Self: FixedWidthInteger {
    /// The number whose big-endian bytes sort as the integers do.
    @inlinable var keyBits: Self { (Self.isSigned ? self ^ Self.min : self).bigEndian }

    @inlinable
    public func withKeyBytes<R, E: Error>(_ body: (RawSpan) throws(E) -> R) throws(E) -> R {
        var bits = keyBits
        // The pointer form of the scope passes typed errors only through a result.
        let outcome = unsafe withUnsafeBytes(of: &bits) { bytes -> Result<R, E> in
            do throws(E) { return .success(try body(unsafe RawSpan(_unsafeBytes: bytes))) } catch {
                return .failure(error)
            }
        }
        return try outcome.get()
    }

    public init?(keyBytes: RawSpan) {
        guard keyBytes.byteCount == MemoryLayout<Self>.size else { return nil }
        let bits = unsafe keyBytes.withUnsafeBytes { unsafe $0.loadUnaligned(as: Self.self) }
        let number = Self(bigEndian: bits)
        self = Self.isSigned ? number ^ Self.min : number
    }
}

extension Int: CacheKey {}
extension Int64: CacheKey {}
extension Int32: CacheKey {}
extension Int16: CacheKey {}
extension Int8: CacheKey {}
extension UInt: CacheKey {}
extension UInt64: CacheKey {}
extension UInt32: CacheKey {}
extension UInt16: CacheKey {}
extension UInt8: CacheKey {}

/// A type of your own whose raw value is a key is one by saying so: `struct UserID: RawRepresentable, CacheKey`. Its bytes are
/// the raw value's.
extension CacheKey where Self: RawRepresentable, RawValue: CacheKey {
    @inlinable
    public func withKeyBytes<R, E: Error>(_ body: (RawSpan) throws(E) -> R) throws(E) -> R {
        try rawValue.withKeyBytes(body)
    }

    public init?(keyBytes: RawSpan) {
        guard let raw = RawValue(keyBytes: keyBytes) else { return nil }
        self.init(rawValue: raw)
    }
}

extension UUID: CacheKey {
    @inlinable
    public func withKeyBytes<R, E: Error>(_ body: (RawSpan) throws(E) -> R) throws(E) -> R {
        let outcome = unsafe withUnsafeBytes(of: uuid) { bytes -> Result<R, E> in
            do throws(E) { return .success(try body(unsafe RawSpan(_unsafeBytes: bytes))) } catch {
                return .failure(error)
            }
        }
        return try outcome.get()
    }

    public init?(keyBytes: RawSpan) {
        guard keyBytes.byteCount == MemoryLayout<uuid_t>.size else { return nil }
        self.init(uuid: unsafe keyBytes.withUnsafeBytes { unsafe $0.loadUnaligned(as: uuid_t.self) })
    }
}
