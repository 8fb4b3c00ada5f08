internal import CVarveHints

extension Span where Element: BitwiseCopyable {
    /// Has the processor fetch the cache line of an element: it will be looked at soon. Asks for nothing beyond the end.
    @inline(__always)
    func prefetch(_ index: Int) {
        guard indices.contains(index) else { return }
        unsafe withUnsafeBufferPointer { unsafe varve_prefetch($0.baseAddress.unsafelyUnwrapped + index) }
    }
}
