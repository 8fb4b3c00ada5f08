internal import Glibc

/// Values by key, where keys are told apart by the bytes that stand for them, as on disk: two strings that Swift calls equal
/// may be spelled in different bytes ("é" as one scalar or as two), and are two keys then.
@usableFromInline
struct KeyTable<Key: CacheKey, Value> {
    fileprivate struct Place: Hashable {
        let key: Key

        func hash(into hasher: inout Hasher) {
            key.withKeyBytes { bytes in unsafe bytes.withUnsafeBytes { unsafe hasher.combine(bytes: $0) } }
        }

        static func == (a: Place, b: Place) -> Bool {
            a.key.withKeyBytes { first in b.key.withKeyBytes { second in first.isSame(as: second) } }
        }
    }

    @usableFromInline init() {}

    private var values: [Place: Value] = [:]

    @usableFromInline
    subscript(key: Key) -> Value? {
        get { values[Place(key: key)] }
        set { values[Place(key: key)] = newValue }
    }
}

extension KeyTable: Sendable where Value: Sendable {}
extension KeyTable.Place: Sendable {}

extension RawSpan {
    func isSame(as other: RawSpan) -> Bool {
        guard byteCount == other.byteCount else { return false }
        return unsafe withUnsafeBytes { first in
            unsafe other.withUnsafeBytes { second in
                guard let a = first.baseAddress, let b = second.baseAddress else { return true }
                return unsafe memcmp(a, b, first.count) == 0
            }
        }
    }
}
