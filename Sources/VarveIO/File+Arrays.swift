internal import Glibc

/// Reads and writes of arrays: for small things off the hot paths, so that their callers need no unsafe code.
extension File {
    /// Up to `count` bytes from `offset`; fewer only at the end of the file.
    public func read(count: Int, at offset: UInt64) throws(IOError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let done = try unsafe bytes.withUnsafeMutableBufferPointer { buffer throws(IOError) in
            try unsafe read(into: UnsafeMutableRawBufferPointer(buffer), at: offset)
        }
        bytes.removeSubrange(done...)
        return bytes
    }

    /// The whole content; EFBIG where there is more than `limit`.
    public func readAll(atMost limit: Int) throws(IOError) -> [UInt8] {
        let size = try size()
        guard size <= UInt64(limit) else { throw IOError(code: EFBIG, operation: "read", path: path) }
        return try read(count: Int(size), at: 0)
    }

    /// Writes all of `bytes` at `offset`.
    public func write(_ bytes: [UInt8], at offset: UInt64) throws(IOError) {
        try unsafe bytes.withUnsafeBufferPointer { buffer throws(IOError) in
            try unsafe write(UnsafeRawBufferPointer(buffer), at: offset)
        }
    }
}

extension StoreMap {
    /// Copies `bytes` to `offset`; false where the store faulted.
    public func store(_ bytes: [UInt8], at offset: Int) -> Bool {
        unsafe bytes.withUnsafeBytes { unsafe store($0, at: offset) }
    }
}
