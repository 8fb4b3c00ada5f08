/// A raw block in memory: header and bytes in one allocation, so that following the reference and reading the block's
/// head touch the same cache lines. Kept alive by whoever reads it, in the cache or evicted from it.
@safe
struct CachedBlock: @unchecked Sendable {
    // Unchecked: filled before it is shared, constant from then on.

    /// The length, and the bytes behind it.
    final class Storage: ManagedBuffer<Int, UInt8> {}

    let storage: Storage

    @inline(__always)
    init(_ storage: Storage) { self.storage = storage }

    /// A block of `count` bytes, filled by `body`.
    init(
        count: Int, _ body: (UnsafeMutableRawBufferPointer) throws(DecodeError) -> Void
    ) throws(DecodeError) {
        let created = Storage.create(minimumCapacity: count) { _ in count }
        // `create` makes an object of the class it is called on.
        storage = unsafe unsafeDowncast(created, to: Storage.self)
        let room = unsafe storage.withUnsafeMutablePointerToElements {
            unsafe UnsafeMutableRawBufferPointer(start: $0, count: count)
        }
        unsafe try body(room)
    }

    /// Valid as long as the storage.
    @inline(__always)
    var bytes: UnsafeRawBufferPointer {
        unsafe storage.withUnsafeMutablePointers { count, elements in
            unsafe UnsafeRawBufferPointer(start: elements, count: count.pointee)
        }
    }

    /// What it costs in memory: its bytes, its header and its place in the cache.
    var charge: Int { storage.header + 96 }
}
