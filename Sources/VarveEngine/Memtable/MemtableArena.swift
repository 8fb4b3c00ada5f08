internal import Synchronization
internal import VarveIO

/// A place in a memtable's arena, in units of eight bytes: 32 bits reach 32 GiB. Zero is no place.
struct ArenaRef: Equatable, Sendable {
    let rawValue: UInt32

    @inline(__always)
    init(rawValue: UInt32) { self.rawValue = rawValue }

    static let none = ArenaRef(rawValue: 0)
    @inline(__always)
    var isNone: Bool { rawValue == 0 }
}

/// The arena's bytes as readers see them: one pointer, no reference count. Valid as long as the memtable.
///
/// What is published is written before a store with release and read after a load with acquire; the atomics live in the
/// arena itself, and no store to them ever shares a word with plain data.
@safe
struct ArenaView {
    let base: UnsafeMutableRawPointer

    @inline(__always)
    func pointer(_ ref: ArenaRef) -> UnsafeMutableRawPointer { unsafe base + Int(ref.rawValue) << 3 }

    /// The 32-bit atomic `offset` bytes into what `ref` names.
    @inline(__always)
    func atomic32(_ ref: ArenaRef, _ offset: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
        unsafe (pointer(ref) + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
    }
    /// The 64-bit atomic at a fixed place of the arena's head.
    @inline(__always)
    func atomic64(at offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
        unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    /// Fixed places in the head of the arena. The writer's counters, the readers' counter and the roots stand on
    /// lines of their own, so that neither side slows the other.
    enum Head {
        static let usedBytes = 64
        static let entryCount = 72
        static let keyCount = 80
        static let smallestLSN = 88
        static let largestLSN = 96
        static let readersInside = 128
        static let root = 192
        static let directory = 256
        static let bytes = 256 + MemtableHashIndex.directoryBytes
    }
}

/// Bump allocation for a memtable's one writer, and the recycling of tree nodes that no reader can reach any more.
///
/// Records are never freed before the memtable. A node that was replaced is *retired*; it may be used again once the
/// writer has seen, after retiring it, that no reader is inside the tree. So readers never wait: one that stands still
/// inside only makes the writer take fresh memory. Idea: epoch-based reclamation with a single epoch.
@safe
final class MemtableArena: @unchecked Sendable {
    // Unchecked: `free` and `retired` belong to the one writer, which its caller serialises; the rest is constant.
    let region: MemoryRegion
    let view: ArenaView
    let capacity: Int
    /// Nodes ready for use, and nodes that readers may still stand in, linked through the nodes.
    private var free = ArenaRef.none
    private var retired = ArenaRef.none

    init(capacity: Int) throws(VarveError) {
        precondition(capacity <= Limits.memtableBytes, "a memtable's arena is addressed by 32 bits of 8-byte units")
        region = try lifted { () throws(IOError) in
            try MemoryRegion(reserving: max(capacity, MemtableArena.smallestCapacity))
        }
        unsafe view = ArenaView(base: region.base)
        self.capacity = min(region.count, Limits.memtableBytes)
        usedBytes = ArenaView.Head.bytes
    }

    /// Room for the head, the first hash tables and a few nodes.
    static let smallestCapacity = 256 << 10

    /// Bytes handed out; written by the writer, readable by anyone.
    @inline(__always)
    private(set) var usedBytes: Int {
        get { unsafe Int(view.atomic64(at: ArenaView.Head.usedBytes).pointee.load(ordering: .relaxed)) }
        set { unsafe view.atomic64(at: ArenaView.Head.usedBytes).pointee.store(UInt64(newValue), ordering: .relaxed) }
    }

    @inline(__always)
    var remaining: Int { capacity - usedBytes }

    /// Fresh memory, all zero, aligned to eight bytes. The caller has asked for room.
    @inline(__always)
    func allocate(_ bytes: Int) -> ArenaRef {
        let start = usedBytes
        let end = (start + bytes + 7) & ~7
        precondition(end <= capacity, "a memtable is asked for room before it is written to")
        usedBytes = end
        return ArenaRef(rawValue: UInt32(start >> 3))
    }

    /// A node, its content undefined.
    func allocateNode() -> ArenaRef {
        if free.isNone, !retired.isNone, readersInside == 0 {
            free = retired
            retired = .none
        }
        guard !free.isNone else {
            // On a line boundary, since nodes are whole lines.
            let misaligned = usedBytes & 63
            if misaligned != 0 { _ = allocate(64 - misaligned) }
            return allocate(MemtableNode.bytes)
        }
        let node = MemtableNode(view, free)
        free = node.link
        return node.ref
    }

    /// Gives back a node that no link leads to any more. The store that unlinked it was sequentially consistent.
    func retire(_ node: MemtableNode) {
        node.link = retired
        retired = node.ref
    }

    // A reader's entry and its loads of links are sequentially consistent, and so are the writer's unlinking and its
    // look at the counter: a writer that sees no reader inside knows that later ones find the new links.
    @inline(__always)
    private var readersInside: UInt64 {
        unsafe view.atomic64(at: ArenaView.Head.readersInside).pointee.load(ordering: .sequentiallyConsistent)
    }
    @inline(__always)
    func enterReader() {
        unsafe view.atomic64(at: ArenaView.Head.readersInside).pointee.add(1, ordering: .sequentiallyConsistent)
    }
    @inline(__always)
    func leaveReader() {
        unsafe view.atomic64(at: ArenaView.Head.readersInside).pointee.subtract(1, ordering: .sequentiallyConsistent)
    }
}
