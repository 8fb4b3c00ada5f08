internal import FoundationEssentials

/// How a cache turns its values into bytes and back: a witness, so that a cache needs no constraint on its value type.
public struct ValueCoding<Value: Sendable>: Sendable {
    @usableFromInline let encode: @Sendable (Value) throws -> [UInt8]
    @usableFromInline let decode: @Sendable ([UInt8]) throws -> Value
    /// Bytes in memory; `encoded` is what the disk keeps, where that is known.
    @usableFromInline let cost: @Sendable (_ value: Value, _ encoded: [UInt8]?) -> Int

    /// A coding of your own. Its closures are called on any thread, several at once.
    /// - Parameters:
    ///   - encode: the bytes that are kept on disk, at most 64 MiB: beyond that writes throw `.limitExceeded`, and what is
    ///     loaded stays in memory alone.
    ///   - decode: the value that such bytes stand for; what it refuses is a miss.
    ///   - cost: about how many bytes a value takes in memory.
    public init(
        encode: @escaping @Sendable (Value) throws -> [UInt8], decode: @escaping @Sendable ([UInt8]) throws -> Value,
        cost: @escaping @Sendable (Value) -> Int
    ) {
        self.encode = encode
        self.decode = decode
        self.cost = { value, _ in cost(value) }
    }

    private init(
        encode: @escaping @Sendable (Value) throws -> [UInt8], decode: @escaping @Sendable ([UInt8]) throws -> Value,
        estimate: @escaping @Sendable (Value, [UInt8]?) -> Int
    ) {
        self.encode = encode
        self.decode = decode
        cost = estimate
    }
}

extension ValueCoding {
    /// Where nothing is kept, and a value takes so many bytes in memory.
    static func none(cost: @escaping @Sendable (Value) -> Int) -> ValueCoding {
        ValueCoding(
            encode: { _ in [] }, decode: { _ in throw CacheCodingError(message: "nothing is kept") }, cost: cost)
    }

    /// Where nothing is kept, and nothing is known of what values hold outside of themselves but by those that say it.
    static var none: ValueCoding {
        .none { ($0 as? any CacheValue)?.memoryCost ?? MemoryLayout<Value>.stride }
    }
}

extension ValueCoding where Value: CacheValue {
    /// The value's own coding.
    public static var own: ValueCoding {
        ValueCoding(
            encode: { try $0.cacheBytes() }, decode: { try Value(cacheBytes: $0) }, cost: { $0.memoryCost })
    }
}

extension ValueCoding where Value: Codable {
    /// JSON, for any `Codable`: fields are found by name, so that a deploy which adds an optional field still reads what
    /// an earlier one wrote, any language can read it, and `varve scan` shows it (a named cache's with `--namespace`).
    /// Faster and smaller is a coding of the type's own (`CacheValue`); a hit in memory decodes nothing in either case.
    ///
    /// Numbers that JSON has none of are the strings "varve:nan", "varve:inf" and "varve:-inf". A string of yours that says
    /// just that comes back as a number to a type that tries numbers before strings; any other comes back as it was.
    ///
    /// The cost in memory of arrays, sets and dictionaries of numbers and strings, and of these in each other, is measured.
    /// Of types of your own it is estimated by what the text stands for: 12 bytes a number, 16 a string, 8 a name and, above
    /// 15 bytes, all of it with a header of 32; 32 an array or object. Where they are the elements of an array, set or dictionary
    /// that is the cached value, it is their layout at least, so that fields which are nil, and so not in the text, count. That is
    /// within a factor of two or so where fields are `Int`, `Double` or `String`, or arrays or dictionaries of these, and their names
    /// have up to 15 letters. The text knows no types, so it is more where such a field holds small numbers (12 times what an array
    /// of `UInt8` takes) or has a longer name; and less where it holds structs of its own most of whose fields are nil. A type
    /// that is far off says its cost itself (`CacheValue`), or has a coding that does.
    ///
    /// A cache without a disk that is bounded in bytes encodes a value that is estimated once for that, when it is written; of one
    /// that cannot be encoded the layout and 64 bytes are taken.
    public static var json: ValueCoding {
        let (nan, infinity, negative) = ("varve:nan", "varve:inf", "varve:-inf")
        let encode: @Sendable (Value) throws -> [UInt8] = { value in
            let encoder = JSONEncoder()
            encoder.nonConformingFloatEncodingStrategy = .convertToString(
                positiveInfinity: infinity, negativeInfinity: negative, nan: nan)
            return Array(try encoder.encode(value))
        }
        return ValueCoding(
            encode: encode,
            decode: { bytes in
                let decoder = JSONDecoder()
                decoder.nonConformingFloatDecodingStrategy = .convertFromString(
                    positiveInfinity: infinity, negativeInfinity: negative, nan: nan)
                return try decoder.decode(Value.self, from: Data(bytes))
            },
            estimate: { value, encoded in
                if let measured = value as? any HeapMeasured { return measured.heapBytes }
                // The text does not tell of fields that are nil: elements take their room all the same.
                let least = (value as? any ElementStore)?.bytesOfElements ?? 0
                guard let text = encoded ?? (try? encode(value)) else { return least + MemoryLayout<Value>.stride + 64 }
                return max(least, JSONCost.inMemory(of: text))
            })
    }
}
