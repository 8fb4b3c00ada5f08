internal import CVarveHints

/// Tells the processor what will be looked at soon. A hint: any address may be named.
enum Prefetch {
    /// The cache line in which element `index` from `base` begins.
    @inline(__always)
    static func line<Element>(_ base: UnsafePointer<Element>?, _ index: Int) {
        if let base = unsafe base { unsafe varve_prefetch(base + index) }
    }

    @inline(__always)
    static func line<Element>(_ base: UnsafeMutablePointer<Element>, _ index: Int) {
        unsafe varve_prefetch(base + index)
    }
}
