internal import VarveIO

/// Finds a place for the owner's socket and listens there.
enum OwnerSocket {
    /// Listens on a socket for the store in `directory`, an absolute path. `stale` is the socket that the store's last
    /// holder left; since its lock is ours now, nobody is behind it.
    ///
    /// The name is a hash of the store's path. A socket of that name that still answers belongs to a store that was
    /// moved away while open, so further names are tried.
    static func listen(for directory: String, stale: String?) throws(VarveError) -> UnixListener {
        try lifted { () throws(IOError) in
            let folder = try UnixSocketFolder.prepare()
            if let stale, stale.hasPrefix(folder + "/") { UnixListener.removeStale(stale) }
            var attempt: UInt64 = 0
            while true {
                do throws(IOError) {
                    return try UnixListener(path: "\(folder)/\(name(for: directory, attempt)).sock")
                } catch {
                    attempt += 1
                    guard error.isAddressInUse, attempt < 64 else { throw error }
                }
            }
        }
    }

    static func name(for directory: String, _ attempt: UInt64) -> String {
        var path = directory
        return path.withUTF8 { unsafe hexadecimal(XXH3.hash64(UnsafeRawBufferPointer($0), seed: attempt)) }
    }
}
