public import FoundationEssentials

/// A value that says itself how it is kept on disk and what it costs in memory.
///
/// Any `Codable` type can be cached without conforming; conform where its own bytes are smaller or faster than JSON, or
/// where its cost in memory is not near its encoded size.
public protocol CacheValue: Sendable {
    /// The bytes that are kept on disk, at most 64 MiB. They must be readable by every later version of the program, or
    /// its `init` must refuse them: an entry that is refused is a miss.
    func cacheBytes() throws -> [UInt8]
    /// The value that these bytes stand for.
    init(cacheBytes: [UInt8]) throws
    /// About how many bytes the value takes in memory, beside the cache's own overhead, which is counted.
    var memoryCost: Int { get }
}

extension [UInt8]: CacheValue {
    public func cacheBytes() -> [UInt8] { self }
    public init(cacheBytes: [UInt8]) { self = cacheBytes }
    public var memoryCost: Int { count + 32 }
}

extension String: CacheValue {
    public func cacheBytes() -> [UInt8] { Array(utf8) }
    public init(cacheBytes: [UInt8]) throws {
        guard let text = String(validating: cacheBytes, as: UTF8.self) else {
            throw CacheCodingError(message: "the bytes are no UTF-8")
        }
        self = text
    }
    /// Up to 15 bytes lie within the string itself.
    public var memoryCost: Int { utf8.count <= 15 ? 0 : utf8.count + 32 }
}

extension Data: CacheValue {
    public func cacheBytes() -> [UInt8] { Array(self) }
    public init(cacheBytes: [UInt8]) { self.init(cacheBytes) }
    public var memoryCost: Int { count + 48 }
}

extension CacheValue where Self: FixedWidthInteger {
    /// Integers of 8 and 16 bits are kept as those of 64 are. Earlier builds kept them as JSON, whose up to six letters must
    /// not be taken for their bytes.
    private static var isKeptWide: Bool { bitWidth < 32 }

    public func cacheBytes() -> [UInt8] {
        if Self.isKeptWide { return Int64(self).cacheBytes() }
        return (0..<MemoryLayout<Self>.size).map { UInt8(truncatingIfNeeded: self >> Self($0 * 8)) }
    }
    public init(cacheBytes: [UInt8]) throws {
        if Self.isKeptWide {
            let wide = try Int64(cacheBytes: cacheBytes)
            guard let value = Self(exactly: wide) else {
                throw CacheCodingError(message: "\(wide) is no integer of \(Self.bitWidth) bits")
            }
            self = value
            return
        }
        guard cacheBytes.count == MemoryLayout<Self>.size else {
            throw CacheCodingError(
                message: "\(cacheBytes.count) bytes are no integer of \(MemoryLayout<Self>.size)")
        }
        self = cacheBytes.reversed().reduce(0) { $0 << 8 | Self(truncatingIfNeeded: $1) }
    }
    public var memoryCost: Int { 0 }
}

extension Int: CacheValue {}
extension Int64: CacheValue {}
extension Int32: CacheValue {}
extension Int16: CacheValue {}
extension Int8: CacheValue {}
extension UInt: CacheValue {}
extension UInt64: CacheValue {}
extension UInt32: CacheValue {}
extension UInt16: CacheValue {}
extension UInt8: CacheValue {}

/// Bytes that a value's own coding does not understand.
public struct CacheCodingError: Error, Sendable, CustomStringConvertible {
    /// What is wrong with them.
    public let message: String
    /// An error to throw from `init(cacheBytes:)`.
    public init(message: String) { self.message = message }
    /// The message.
    public var description: String { message }
}
