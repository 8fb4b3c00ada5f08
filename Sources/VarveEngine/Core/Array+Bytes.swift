extension [UInt8] {
    /// Lends the array's bytes; typed errors pass through.
    @inline(__always)
    func withBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        unsafe try span.bytes.withUnsafeBytes(body)
    }
}
