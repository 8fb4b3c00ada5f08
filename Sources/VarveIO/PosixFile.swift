internal import CVarveIO
internal import Glibc
internal import Synchronization

/// A file of the kernel.
///
/// A descriptor's number is given out again as soon as it is closed, so a call that runs while another thread closes
/// could write into somebody else's file. `users` prevents that: the descriptor is closed by whoever leaves last.
final class PosixFile: File {
    let path: String
    private let descriptor: Int32
    /// Four times the calls in progress, plus 1 once `close` was called, plus 2 once the descriptor is gone.
    private let users = Atomic<Int>(0)

    init(_ descriptor: Int32, path: String) {
        self.descriptor = descriptor
        self.path = path
    }

    deinit { close() }

    func close() {
        users.bitwiseOr(1, ordering: .acquiringAndReleasing)
        closeIfLast()
    }

    /// Closes the descriptor if that was asked for, nobody uses it and nobody else does it.
    private func closeIfLast() {
        if users.compareExchange(expected: 1, desired: 3, ordering: .acquiringAndReleasing).exchanged {
            Glibc.close(descriptor)
        }
    }

    /// Runs `body` with the descriptor held open.
    func withDescriptor<Result>(
        _ operation: String, _ body: (Int32) throws(IOError) -> Result
    ) throws(IOError) -> Result {
        let before = users.add(4, ordering: .acquiring).oldValue
        defer {
            if users.subtract(4, ordering: .releasing).newValue == 1 { closeIfLast() }
        }
        if before & 1 != 0 { throw IOError(code: EBADF, operation: operation, path: path) }
        return try body(descriptor)
    }

    func size() throws(IOError) -> UInt64 {
        try withDescriptor("measure") { descriptor throws(IOError) in
            var info = stat()
            if unsafe fstat(descriptor, &info) != 0 { throw failure("measure", errno) }
            return UInt64(info.st_size)
        }
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(IOError) -> Int {
        try withDescriptor("read") { descriptor throws(IOError) in
            let start = try position(offset, "read")
            var done = 0
            while done < buffer.count {
                let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
                let count = unsafe pread(descriptor, rest.baseAddress, rest.count, start + off_t(done))
                if count == 0 { break }
                if count > 0 {
                    done += count
                } else if errno != EINTR {
                    throw unsafe failure("read", errno, with: UnsafeRawBufferPointer(rest))
                }
            }
            return done
        }
    }

    func readIfInMemory(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Bool {
        do throws(IOError) {
            return try withDescriptor("read") { descriptor in
                unsafe varve_read_cached(descriptor, buffer.baseAddress, buffer.count, offset) == 0
            }
        } catch {
            return false
        }
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(IOError) {
        try withDescriptor("write") { descriptor throws(IOError) in
            let start = try position(offset, "write")
            var done = 0
            while done < bytes.count {
                let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[done...])
                let count = unsafe pwrite(descriptor, rest.baseAddress, rest.count, start + off_t(done))
                if count >= 0 {
                    done += count
                } else if errno != EINTR {
                    throw unsafe failure("write", errno, with: rest)
                }
            }
        }
    }

    func allocate(_ length: UInt64) throws(IOError) {
        _ = try position(length, "allocate")
        let before = try size()
        try withDescriptor("allocate") { descriptor throws(IOError) in
            do throws(IOError) {
                let code = length == 0 ? 0 : varve_fallocate(descriptor, length)
                if code == EOPNOTSUPP {
                    try fillHoles(descriptor, size: before, upTo: length)
                } else if code != 0 {
                    throw failure("allocate", code)
                }
            } catch {
                // A full disk may leave half of the growth behind: give it back.
                if length > before { _ = ftruncate(descriptor, off_t(before)) }
                throw error
            }
        }
    }

    func truncate(to length: UInt64) throws(IOError) {
        let end = try position(length, "truncate")
        try withDescriptor("truncate") { descriptor throws(IOError) in
            while ftruncate(descriptor, end) != 0 {
                if errno != EINTR { throw failure("truncate", errno) }
            }
        }
    }

    func sync() throws(IOError) {
        try withDescriptor("sync") { descriptor throws(IOError) in
            if fdatasync(descriptor) != 0 { throw failure("sync", errno) }
        }
    }

    func map(length: UInt64, advice: MapAdvice) throws(IOError) -> any FileMap {
        let count = try mappable(length)
        return try withDescriptor("map") { descriptor throws(IOError) in
            PosixFileMap(try GuardedMap(descriptor, count: count, isWritable: false, path: path), advice: advice)
        }
    }

    func mapForStores(length: UInt64) throws(IOError) -> (any StoreMap)? {
        let count = try mappable(length)
        return try withDescriptor("map") { descriptor throws(IOError) in
            guard Self.keepsAllocatedSpace(descriptor) else { return nil }
            return PosixStoreMap(try GuardedMap(descriptor, count: count, isWritable: true, path: path))
        }
    }

    /// Whether a store into allocated space cannot meet a full disk here. Copy on write (btrfs, bcachefs, zfs, overlay
    /// over them) allocates again at writeback, and a network may go away: only file systems known to be good count.
    private static func keepsAllocatedSpace(_ descriptor: Int32) -> Bool {
        let ext4: UInt64 = 0xEF53
        let xfs: UInt64 = 0x5846_5342
        let tmpfs: UInt64 = 0x0102_1994
        var type: UInt64 = 0
        guard unsafe varve_file_system_type(descriptor, &type) == 0 else { return false }
        return type == ext4 || type == xfs || type == tmpfs
    }

    /// Allocates by writing zeros, where the file system has no fallocate: into the holes before `size`, then after it.
    func fillHoles(_ descriptor: Int32, size: UInt64, upTo length: UInt64) throws(IOError) {
        var offset: UInt64 = 0
        while offset < min(size, length) {
            var start: UInt64 = 0
            var end: UInt64 = 0
            let code = unsafe varve_next_hole(descriptor, offset, size, &start, &end)
            if code != 0 { throw failure("allocate", code) }
            try writeZeros(from: start, to: min(end, length))
            if end <= offset { break }
            offset = end
        }
        try writeZeros(from: size, to: length)
    }

    private func writeZeros(from start: UInt64, to end: UInt64) throws(IOError) {
        guard start < end else { return }
        let zeros = [UInt8](repeating: 0, count: Int(min(end - start, 1 << 20)))
        var offset = start
        while offset < end {
            let count = Int(min(end - offset, UInt64(zeros.count)))
            try write(count == zeros.count ? zeros : Array(zeros[..<count]), at: offset)
            offset += UInt64(count)
        }
    }

    /// A map beyond the end of the file would fault at every touch; who asks for one is told at once.
    private func mappable(_ length: UInt64) throws(IOError) -> Int {
        guard length <= (try size()) else { throw failure("map", EINVAL) }
        return Int(length)
    }

    private func position(_ offset: UInt64, _ operation: String) throws(IOError) -> off_t {
        guard let position = off_t(exactly: offset) else { throw failure(operation, EFBIG) }
        return position
    }

    private func failure(_ operation: String, _ code: Int32) -> IOError {
        precondition(code != EBADF, "the kernel refuses descriptor \(descriptor) of \(path): \(operation)")
        return IOError(code: code, operation: operation, path: path)
    }

    /// The failure of a call that was given a buffer.
    private func failure(_ operation: String, _ code: Int32, with buffer: UnsafeRawBufferPointer) -> IOError {
        guard code == EFAULT, let base = buffer.baseAddress else { return failure(operation, code) }
        // A buffer inside a mapped file that somebody truncated is an error of that file, not of the program.
        precondition(unsafe varve_guard_covers(base, buffer.count), "\(operation) of \(path) with a bad buffer")
        return IOError(code: EIO, operation: operation, path: path)
    }
}
