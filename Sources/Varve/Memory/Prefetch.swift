internal import CVarveHints

/// Tells the processor what will be looked at soon. A hint: any address may be named.
@usableFromInline
enum Prefetch {
    /// The cache line in which element `index` from `base` begins.
    @inline(__always)
    static func line<Element>(_ base: UnsafePointer<Element>?, _ index: Int) {
        if let base = unsafe base { unsafe varve_prefetch(base + index) }
    }

    /// The cache line of an address. No generic function: types that only their users know are stepped over where they are
    /// known, instead of being looked up at run time.
    @usableFromInline
    static func line(_ address: UnsafeRawPointer) { unsafe varve_prefetch(address) }

    /// The first cache lines of an object.
    @usableFromInline
    static func object(at address: UInt) {
        guard let base = unsafe UnsafeRawPointer(bitPattern: address) else { return }
        unsafe varve_prefetch(base)
        unsafe varve_prefetch(base + 64)
        unsafe varve_prefetch(base + 128)
        unsafe varve_prefetch(base + 192)
    }
}
