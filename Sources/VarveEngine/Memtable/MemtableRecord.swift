internal import Synchronization

/// A key in the arena, with its first version inline; later versions hang from it, newest first.
///
///     newest      u32 atomic   the newest later version; none: there is only the inline one
///     key length  u32
///     trailer     u64          of the inline version, the oldest
///     entry length u32
///     key, entry
///
/// The hash index and the tree lead to keys, so an overwrite touches neither: it links a version and is done.
@safe
struct MemtableKey {
    static let headBytes = 20
    let view: ArenaView
    let ref: ArenaRef

    @inline(__always)
    init(_ view: ArenaView, _ ref: ArenaRef) {
        self.view = view
        self.ref = ref
    }

    @inline(__always)
    var bytes: UnsafeRawBufferPointer {
        let start = unsafe view.pointer(ref)
        let count = unsafe Int((start + 4).load(as: UInt32.self))
        return unsafe UnsafeRawBufferPointer(start: start + MemtableKey.headBytes, count: count)
    }

    /// The newest version.
    @inline(__always)
    var newest: MemtableVersion {
        let later = unsafe view.atomic32(ref, 0).pointee.load(ordering: .acquiring)
        return MemtableVersion(key: self, ref: ArenaRef(rawValue: later))
    }

    /// Bytes that a key with its first version takes.
    @inline(__always)
    static func bytes(key: Int, entry: Int) -> Int { headBytes + key + entry }

    /// Writes a key and its first version into fresh memory.
    @inline(__always)
    static func write(
        _ key: UnsafeRawBufferPointer, _ trailer: Trailer, _ entry: UnsafeRawBufferPointer, in arena: MemtableArena
    ) -> MemtableKey {
        let ref = arena.allocate(bytes(key: key.count, entry: entry.count))
        let start = unsafe arena.view.pointer(ref)
        unsafe start.storeBytes(of: 0, as: UInt32.self)
        unsafe (start + 4).storeBytes(of: UInt32(key.count), as: UInt32.self)
        unsafe (start + 8).storeBytes(of: trailer.rawValue, as: UInt64.self)
        unsafe (start + 16).storeBytes(of: UInt32(entry.count), as: UInt32.self)
        unsafe copy(key, to: start + headBytes)
        unsafe copy(entry, to: start + headBytes + key.count)
        return MemtableKey(arena.view, ref)
    }

    @inline(__always)
    fileprivate static func copy(_ source: UnsafeRawBufferPointer, to target: UnsafeMutableRawPointer) {
        guard let address = source.baseAddress else { return }
        unsafe target.copyMemory(from: address, byteCount: source.count)
    }

    /// Writes a later version into fresh memory and publishes it. It must be newer than every one before.
    @inline(__always)
    func addVersion(_ trailer: Trailer, _ entry: UnsafeRawBufferPointer, in arena: MemtableArena) {
        let previous = newest
        precondition(trailer > previous.trailer, "versions of a key come in the order of their LSNs")
        // Skew-binary jump pointers (Myers 1983): finding the version that a snapshot sees takes a logarithm of steps.
        let jump = previous.jump
        let sameStride = previous.depth - jump.depth == jump.depth - jump.jump.depth
        let target = sameStride && !previous.isInline ? jump.jump : previous
        let added = arena.allocate(MemtableVersion.headBytes + entry.count)
        let start = unsafe view.pointer(added)
        unsafe start.storeBytes(of: trailer.rawValue, as: UInt64.self)
        unsafe (start + 8).storeBytes(of: UInt32(entry.count), as: UInt32.self)
        unsafe (start + 12).storeBytes(of: previous.ref.rawValue, as: UInt32.self)
        unsafe (start + 16).storeBytes(of: target.ref.rawValue, as: UInt32.self)
        unsafe (start + 20).storeBytes(of: previous.depth + 1, as: UInt32.self)
        unsafe MemtableKey.copy(entry, to: start + MemtableVersion.headBytes)
        unsafe view.atomic32(ref, 0).pointee.store(added.rawValue, ordering: .releasing)
    }
}

/// One version of a key: the inline one (no ref of its own), or a later one:
///
///     trailer u64, entry length u32, older u32, jump u32, depth u32, entry
///
/// `older` is the version before (none: the inline one), `jump` one further back, `depth` the number of older ones.
@safe
struct MemtableVersion {
    static let headBytes = 24
    let key: MemtableKey
    let ref: ArenaRef

    @inline(__always)
    init(key: MemtableKey, ref: ArenaRef) {
        self.key = key
        self.ref = ref
    }

    @inline(__always)
    var isInline: Bool { ref.isNone }
    @inline(__always)
    private var start: UnsafeMutableRawPointer { unsafe key.view.pointer(ref) }
    @inline(__always)
    private func at(_ offset: Int) -> MemtableVersion {
        unsafe MemtableVersion(key: key, ref: ArenaRef(rawValue: (start + offset).load(as: UInt32.self)))
    }

    @inline(__always)
    var trailer: Trailer {
        let place = unsafe isInline ? key.view.pointer(key.ref) + 8 : start
        return unsafe Trailer(rawValue: place.load(as: UInt64.self))
    }
    @inline(__always)
    var entry: UnsafeRawBufferPointer {
        if isInline {
            let bytes = unsafe key.bytes
            let count = unsafe Int((key.view.pointer(key.ref) + 16).load(as: UInt32.self))
            // A key's bytes always have an address: they stand in the arena.
            return unsafe UnsafeRawBufferPointer(
                start: bytes.baseAddress.unsafelyUnwrapped + bytes.count, count: count)
        }
        let count = unsafe Int((start + 8).load(as: UInt32.self))
        return unsafe UnsafeRawBufferPointer(start: start + MemtableVersion.headBytes, count: count)
    }
    /// How many versions are older.
    @inline(__always)
    fileprivate var depth: UInt32 { isInline ? 0 : unsafe (start + 20).load(as: UInt32.self) }
    /// The version before; the inline one has none.
    @inline(__always)
    var older: MemtableVersion? { isInline ? nil : at(12) }
    @inline(__always)
    fileprivate var jump: MemtableVersion { isInline ? self : at(16) }

    /// This one or the newest older one whose trailer is at most `limit`; nil where there is none.
    @inline(__always)
    func newest(atMost limit: Trailer) -> MemtableVersion? {
        if trailer <= limit { return self }
        return isInline ? nil : search(atMost: limit)
    }

    @inline(never)
    private func search(atMost limit: Trailer) -> MemtableVersion? {
        var version = self
        while version.trailer > limit {
            let jump = version.jump
            if jump.trailer > limit, !version.isInline {
                version = jump
            } else {
                guard let older = version.older else { return nil }
                version = older
            }
        }
        return version
    }

    /// The oldest version, this one or older, whose trailer is above `limit`; nil where this one's is not.
    func oldest(above limit: Trailer) -> MemtableVersion? {
        guard trailer > limit else { return nil }
        var version = self
        while !version.isInline {
            let jump = version.jump
            if jump.trailer > limit {
                version = jump
            } else if let older = version.older, older.trailer > limit {
                version = older
            } else {
                break
            }
        }
        return version
    }

    /// The oldest version of all.
    @inline(__always)
    var oldest: MemtableVersion { MemtableVersion(key: key, ref: .none) }
}
