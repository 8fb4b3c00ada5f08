internal import Synchronization

/// A node of the tree: 832 bytes, 13 cache lines, leaf or inner.
///
///      0  level       u8           0: a leaf
///      1  isChecked   u8           1: a key may come that lacks the prefix; who compares chunks asks first
///      4  count       u32 atomic   a leaf's keys (it grows), or an inner node's separators (fixed)
///      8  skip        u32          every key in the node shares its first `skip` bytes; chunks begin after them
///     12  sample      u32          a key that has the prefix
///     16  sorted      u32          how many of a leaf's keys were put in order when it was made
///     20  link        u32          of the lists of free and retired nodes; readers never look at it
///     24  isAscending u8           the writer's: the leaf's keys arrived in order
///     32  chunks      64 x u64     or 49
///         keys        64 x u32     or 49
///         children    50 x u32 atomic, inner nodes only
///
/// A leaf is appended to in arrival order, which is what makes an insert cheap: it reads nothing but the count. Slots
/// below the published count never change. An inner node is in order and never changes but for its child links.
@safe
struct MemtableNode {
    static let bytes = 832
    static let leafCapacity = 64
    static let innerCapacity = 49
    private static let chunksAt = 32
    private static let leafKeysAt = chunksAt + leafCapacity * 8
    private static let innerKeysAt = chunksAt + innerCapacity * 8
    private static let childrenAt = innerKeysAt + innerCapacity * 4

    let view: ArenaView
    let ref: ArenaRef

    @inline(__always)
    init(_ view: ArenaView, _ ref: ArenaRef) {
        self.view = view
        self.ref = ref
    }

    @inline(__always)
    private var start: UnsafeMutableRawPointer { unsafe view.pointer(ref) }

    /// Writes the head of a fresh node; its count is zero.
    func initialize(level: Int, skip: Int, sample: ArenaRef, isChecked: Bool) {
        unsafe start.storeBytes(of: UInt8(level), as: UInt8.self)
        unsafe (start + 1).storeBytes(of: isChecked ? 1 : 0, as: UInt8.self)
        unsafe view.atomic32(ref, 4).pointee.store(0, ordering: .relaxed)
        unsafe (start + 8).storeBytes(of: UInt32(skip), as: UInt32.self)
        unsafe (start + 12).storeBytes(of: sample.rawValue, as: UInt32.self)
        unsafe (start + 16).storeBytes(of: 0, as: UInt32.self)
        unsafe (start + 24).storeBytes(of: 1, as: UInt8.self)
    }

    @inline(__always)
    var level: Int { unsafe Int(start.load(as: UInt8.self)) }
    @inline(__always)
    var isChecked: Bool { unsafe (start + 1).load(as: UInt8.self) != 0 }
    @inline(__always)
    var count: Int {
        get { unsafe Int(view.atomic32(ref, 4).pointee.load(ordering: .acquiring)) }
        nonmutating set { unsafe view.atomic32(ref, 4).pointee.store(UInt32(newValue), ordering: .releasing) }
    }
    @inline(__always)
    var skip: Int { unsafe Int((start + 8).load(as: UInt32.self)) }
    @inline(__always)
    var sample: MemtableKey {
        unsafe MemtableKey(view, ArenaRef(rawValue: (start + 12).load(as: UInt32.self)))
    }
    @inline(__always)
    var sorted: Int {
        get { unsafe Int((start + 16).load(as: UInt32.self)) }
        nonmutating set { unsafe (start + 16).storeBytes(of: UInt32(newValue), as: UInt32.self) }
    }
    @inline(__always)
    var link: ArenaRef {
        get { unsafe ArenaRef(rawValue: (start + 20).load(as: UInt32.self)) }
        nonmutating set { unsafe (start + 20).storeBytes(of: newValue.rawValue, as: UInt32.self) }
    }
    @inline(__always)
    var isAscending: Bool {
        get { unsafe (start + 24).load(as: UInt8.self) != 0 }
        nonmutating set { unsafe (start + 24).storeBytes(of: newValue ? 1 : 0, as: UInt8.self) }
    }

    @inline(__always)
    var chunks: UnsafeMutablePointer<UInt64> {
        unsafe (start + MemtableNode.chunksAt).assumingMemoryBound(to: UInt64.self)
    }
    @inline(__always)
    private var leafKeys: UnsafeMutablePointer<ArenaRef> {
        unsafe (start + MemtableNode.leafKeysAt).assumingMemoryBound(to: ArenaRef.self)
    }
    @inline(__always)
    private var innerKeys: UnsafeMutablePointer<ArenaRef> {
        unsafe (start + MemtableNode.innerKeysAt).assumingMemoryBound(to: ArenaRef.self)
    }

    /// A leaf's slot.
    @inline(__always)
    func leafSlot(_ index: Int) -> KeySlot { unsafe KeySlot(chunk: chunks[index], key: leafKeys[index]) }
    @inline(__always)
    func setLeafSlot(_ index: Int, _ slot: KeySlot) {
        unsafe chunks[index] = slot.chunk
        unsafe leafKeys[index] = slot.key
    }

    /// An inner node's separator: the first key of the child to its right.
    @inline(__always)
    func separator(_ index: Int) -> KeySlot { unsafe KeySlot(chunk: chunks[index], key: innerKeys[index]) }
    @inline(__always)
    func setSeparator(_ index: Int, _ slot: KeySlot) {
        unsafe chunks[index] = slot.chunk
        unsafe innerKeys[index] = slot.key
    }

    /// An inner node's child.
    @inline(__always)
    func child(_ index: Int) -> MemtableNode {
        let child = unsafe view.atomic32(ref, MemtableNode.childrenAt + index * 4).pointee
            .load(ordering: .sequentiallyConsistent)
        return MemtableNode(view, ArenaRef(rawValue: child))
    }
    @inline(__always)
    func setChild(_ index: Int, _ child: ArenaRef, ordering: AtomicStoreOrdering = .sequentiallyConsistent) {
        let place = unsafe view.atomic32(ref, MemtableNode.childrenAt + index * 4)
        if ordering == .relaxed {
            unsafe place.pointee.store(child.rawValue, ordering: .relaxed)
        } else {
            unsafe place.pointee.store(child.rawValue, ordering: .sequentiallyConsistent)
        }
    }

    /// How `key` compares with the node's prefix: zero when it has it.
    @inline(__always)
    func comparePrefix(_ key: UnsafeRawBufferPointer) -> Int {
        let skip = self.skip
        if skip == 0 { return 0 }
        let prefix = unsafe UnsafeRawBufferPointer(rebasing: sample.bytes[..<skip])
        let head = unsafe UnsafeRawBufferPointer(rebasing: key[..<min(skip, key.count)])
        return unsafe FullKey.compare(head, prefix)
    }

    /// Which child of an inner node leads to `key`: how many separators are at or before it. With `isBefore`, to the
    /// last key before it: how many separators are before it.
    @inline(__always)
    func childIndex(_ key: UnsafeRawBufferPointer, isBefore: Bool = false) -> Int {
        if isChecked {
            let order = unsafe comparePrefix(key)
            if order != 0 { return order < 0 ? 0 : count }
        }
        let chunk = unsafe KeyChunk.make(key, skipping: skip)
        let count = self.count
        // The first separator whose chunk is at least the key's.
        let first = unsafe KeySlot.lowerBound(chunks, count, chunk)
        guard first < count, unsafe chunks[first] == chunk else { return first }
        return unsafe childIndexAmongEqual(key, chunk, first, count, isBefore)
    }

    @inline(never)
    private func childIndexAmongEqual(
        _ key: UnsafeRawBufferPointer, _ chunk: UInt64, _ first: Int, _ count: Int, _ isBefore: Bool
    ) -> Int {
        var low = first
        var high = chunk == .max ? count : unsafe KeySlot.lowerBound(chunks, count, chunk + 1)
        while low < high {
            let middle = (low + high) / 2
            let order = unsafe FullKey.compare(MemtableKey(view, separator(middle).key).bytes, key)
            if order < 0 || order == 0 && !isBefore { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

/// A key in a node: where it is, and eight of its bytes.
struct KeySlot {
    var chunk: UInt64
    var key: ArenaRef

    /// How many of the ascending chunks are below `chunk`. (Forms without a branch measured no faster.)
    @inline(__always)
    static func lowerBound(_ chunks: UnsafeMutablePointer<UInt64>, _ count: Int, _ chunk: UInt64) -> Int {
        var base = 0
        var length = count
        while length > 1 {
            let half = length >> 1
            base &+= unsafe chunks[base &+ half &- 1] < chunk ? half : 0
            length &-= half
        }
        return unsafe length == 1 && chunks[base] < chunk ? base + 1 : base
    }
}
