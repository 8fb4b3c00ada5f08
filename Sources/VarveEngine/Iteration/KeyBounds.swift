/// The stretch of full keys that a cursor may show: from `lower` on, and below `upper` where it has one.
struct KeyBounds: Hashable, Sendable {
    let lower: [UInt8]
    /// Exclusive; nil: no bound.
    let upper: [UInt8]?

    init(lower: [UInt8], upper: [UInt8]?) {
        self.lower = lower
        self.upper = upper
    }

    /// Every key there is.
    static let all = KeyBounds(lower: [], upper: nil)

    /// The keys of a namespace that begin with `prefix` and lie in [from, to).
    init(namespace: NamespaceID, prefix: [UInt8] = [], from: [UInt8]? = nil, to: [UInt8]? = nil) {
        let whole = FullKey.make(namespace, prefix)
        var lower = whole
        var upper = FullKey.successor(ofPrefix: whole)
        if let from {
            let begin = FullKey.make(namespace, from)
            if RangeTombstone.isBefore(lower, begin) { lower = begin }
        }
        if let to {
            let end = FullKey.make(namespace, to)
            upper = upper.map { RangeTombstone.isBefore(end, $0) ? end : $0 } ?? end
        }
        self.init(lower: lower, upper: upper)
    }

    @inline(__always)
    func isBelow(_ key: UnsafeRawBufferPointer) -> Bool {
        unsafe lower.withUnsafeBytes { unsafe KeyWords.compare(key, $0) < 0 }
    }
    @inline(__always)
    func isAbove(_ key: UnsafeRawBufferPointer) -> Bool {
        guard let upper else { return false }
        return unsafe upper.withUnsafeBytes { unsafe KeyWords.compare(key, $0) >= 0 }
    }
}
