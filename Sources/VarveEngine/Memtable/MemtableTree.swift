internal import Synchronization

/// The order of a memtable's keys: a B+-tree of wide nodes in the arena, written by one, read by any number without
/// waiting.
///
/// The writer appends to leaves in arrival order and never looks for the key there, since the hash index has told it
/// that the key is new. A full leaf is copied in order into two (or, when its keys came in order and the new one is
/// beyond them, stays as it is and a new one begins); the inner node above is copied with one separator more, and one
/// link is exchanged. Readers in the old nodes see what was there before; the arena recycles the nodes once no reader
/// is inside. Fences (the separators around a leaf) are keys of the memtable, so they outlive every node.
@safe
final class MemtableTree: @unchecked Sendable {
    // Unchecked: the scratch space belongs to the one writer, which its caller serialises; the tree is published by
    // atomics in the arena.
    let arena: MemtableArena
    let view: ArenaView
    private let path: UnsafeMutablePointer<Step>
    private let order = LeafOrder()
    private let separators: UnsafeMutablePointer<KeySlot>
    private let children: UnsafeMutablePointer<ArenaRef>

    /// A node on the way to a leaf, and which of its children was taken.
    private struct Step {
        var node: ArenaRef
        var index: Int
    }
    /// 2^35 bytes of keys in nodes of at least 24 children stay far below this height.
    static let maximumHeight = 12

    init(in arena: MemtableArena) {
        self.arena = arena
        view = arena.view
        unsafe path = .allocate(capacity: MemtableTree.maximumHeight)
        unsafe separators = .allocate(capacity: MemtableNode.innerCapacity + 1)
        unsafe children = .allocate(capacity: MemtableNode.innerCapacity + 2)
        let leaf = MemtableNode(view, arena.allocateNode())
        leaf.initialize(level: 0, skip: 0, sample: .none, isChecked: false)
        root = leaf.ref
    }

    deinit {
        unsafe path.deallocate()
        unsafe separators.deallocate()
        unsafe children.deallocate()
    }

    /// The root's place.
    @inline(__always)
    private(set) var root: ArenaRef {
        get {
            unsafe ArenaRef(
                rawValue: UInt32(
                    view.atomic64(at: ArenaView.Head.root).pointee.load(ordering: .sequentiallyConsistent)))
        }
        set {
            unsafe view.atomic64(at: ArenaView.Head.root).pointee.store(
                UInt64(newValue.rawValue), ordering: .sequentiallyConsistent)
        }
    }

    /// Above all bytes of nodes that inserting that many keys takes, if readers let none be recycled: for every half
    /// leaf two leaves, 17 replacements (each halves a prefix of at most 64 KiB), and two inner nodes on each of four
    /// levels.
    static func nodeBound(keys: Int) -> Int {
        (keys / (MemtableNode.leafCapacity / 2) + 2) * (2 + 17 + 2 * 4) * MemtableNode.bytes
    }
    /// Above all bytes of nodes that one insertion takes.
    static let nodeBoundOfOne = (4 + 2 * maximumHeight) * MemtableNode.bytes

    /// Adds a key that is not present. `bytes` are the key's, best from where they were copied: loads from what was
    /// just stored wait for the stores.
    @inline(__always)
    func insert(_ key: MemtableKey, _ bytes: UnsafeRawBufferPointer) {
        var node = MemtableNode(view, root)
        var depth = 0
        while node.level > 0 {
            let index = unsafe node.childIndex(bytes)
            unsafe path[depth] = Step(node: node.ref, index: index)
            depth += 1
            node = node.child(index)
        }
        if node.isChecked, unsafe node.comparePrefix(bytes) != 0 { node = shortenPrefix(of: node, for: key, depth) }
        if node.count < MemtableNode.leafCapacity {
            unsafe append(key, bytes, to: node)
        } else {
            split(node, adding: key, depth)
        }
    }

    @inline(__always)
    private func append(_ key: MemtableKey, _ bytes: UnsafeRawBufferPointer, to leaf: MemtableNode) {
        let count = leaf.count
        let slot = KeySlot(chunk: unsafe KeyChunk.make(bytes, skipping: leaf.skip), key: key.ref)
        if count > 0, leaf.isAscending,
            !KeyOrder(view: view, skip: leaf.skip).isBefore(leaf.leafSlot(count - 1), slot)
        {
            leaf.isAscending = false
        }
        leaf.setLeafSlot(count, slot)
        leaf.count = count + 1
    }

    // MARK: leaves

    /// The separators around the leaf at the end of the path; none where it is the first or the last.
    private func fences(_ depth: Int) -> (low: ArenaRef, high: ArenaRef) {
        var low = ArenaRef.none
        var high = ArenaRef.none
        for step in (0..<depth).reversed() {
            let node = MemtableNode(view, unsafe path[step].node)
            let index = unsafe path[step].index
            if low.isNone, index > 0 { low = node.separator(index - 1).key }
            if high.isNone, index < node.count { high = node.separator(index).key }
        }
        return (low, high)
    }

    /// How many bytes a node between two fences may skip. Where a fence is missing, what it holds now decides, and keys
    /// that come later must be checked.
    private func prefix(
        first: ArenaRef, last: ArenaRef, _ fences: (low: ArenaRef, high: ArenaRef)
    ) -> (skip: Int, isChecked: Bool) {
        let isOpen = fences.low.isNone || fences.high.isNone
        let low = MemtableKey(view, isOpen ? first : fences.low)
        let high = MemtableKey(view, isOpen ? last : fences.high)
        let shared = unsafe KeyChunk.sharedBytes(low.bytes, high.bytes)
        return (unsafe KeyChunk.skip(shared: shared, key: MemtableKey(view, first).bytes), isOpen)
    }

    /// Replaces a leaf by one whose prefix `key` has.
    @inline(never)
    private func shortenPrefix(of leaf: MemtableNode, for key: MemtableKey, _ depth: Int) -> MemtableNode {
        order.load(leaf)
        let skip = unsafe KeyChunk.sharedBytes(leaf.sample.bytes, key.bytes) / 2
        let shorter = makeLeaf(0..<order.count, skip: skip, isChecked: skip > 0)
        // An append-only leaf keeps the right to stay whole when it is full.
        shorter.isAscending = leaf.isAscending
        replace(leaf, by: shorter.ref, depth)
        return shorter
    }

    /// A leaf of part of `order`, its chunks made anew where its prefix differs.
    private func makeLeaf(_ range: Range<Int>, skip: Int, isChecked: Bool) -> MemtableNode {
        let leaf = MemtableNode(view, arena.allocateNode())
        leaf.initialize(
            level: 0, skip: skip, sample: unsafe order.slots[range.lowerBound].key, isChecked: isChecked)
        for (target, source) in range.enumerated() {
            var slot = unsafe order.slots[source]
            if skip != order.skip {
                slot.chunk = unsafe KeyChunk.make(MemtableKey(view, slot.key).bytes, skipping: skip)
            }
            leaf.setLeafSlot(target, slot)
        }
        leaf.sorted = range.count
        leaf.count = range.count
        return leaf
    }

    @inline(never)
    private func split(_ leaf: MemtableNode, adding key: MemtableKey, _ depth: Int) {
        let fences = self.fences(depth)
        if leaf.isAscending, isBeyond(key, leaf) { return startLeaf(after: leaf, with: key, fences, depth) }
        order.load(leaf)
        let middle = order.count / 2
        let separator = unsafe order.slots[middle].key
        let left = makeHalf(0..<middle, of: leaf, (fences.low, separator))
        let right = makeHalf(middle..<order.count, of: leaf, (separator, fences.high))
        addSeparator(separator, left.ref, right.ref, level: 1, depth - 1)
        arena.retire(leaf)
        // From the root again: the key may lack the prefix of its half.
        unsafe insert(key, key.bytes)
    }

    private func isBeyond(_ key: MemtableKey, _ leaf: MemtableNode) -> Bool {
        let last = leaf.leafSlot(leaf.count - 1).key
        return unsafe FullKey.compare(MemtableKey(view, last).bytes, key.bytes) < 0
    }

    /// One half of a leaf. The old prefix is kept while it tells the keys apart, since a new one reads every key.
    private func makeHalf(
        _ range: Range<Int>, of leaf: MemtableNode, _ fences: (low: ArenaRef, high: ArenaRef)
    ) -> MemtableNode {
        let ties = range.dropFirst().count { unsafe order.slots[$0].chunk == order.slots[$0 - 1].chunk }
        guard leaf.isChecked || ties > 0 else { return makeLeaf(range, skip: leaf.skip, isChecked: false) }
        let (first, last) = unsafe (order.slots[range.lowerBound].key, order.slots[range.upperBound - 1].key)
        let (skip, isChecked) = prefix(first: first, last: last, fences)
        return makeLeaf(range, skip: skip, isChecked: isChecked && skip > 0)
    }

    /// Keys come in order: the full leaf stays as it is, and the key begins the next one.
    private func startLeaf(
        after leaf: MemtableNode, with key: MemtableKey, _ fences: (low: ArenaRef, high: ArenaRef), _ depth: Int
    ) {
        let last = leaf.leafSlot(leaf.count - 1).key
        // Where nothing bounds the new leaf, the step from the last key tells which bytes move.
        let neighbour = fences.high.isNone ? last : fences.high
        let shared = unsafe KeyChunk.sharedBytes(MemtableKey(view, neighbour).bytes, key.bytes)
        let skip = unsafe KeyChunk.skip(shared: shared, key: key.bytes)
        let next = MemtableNode(view, arena.allocateNode())
        next.initialize(level: 0, skip: skip, sample: key.ref, isChecked: fences.high.isNone && skip > 0)
        unsafe append(key, key.bytes, to: next)
        addSeparator(key.ref, leaf.ref, next.ref, level: 1, depth - 1)
    }

    // MARK: inner nodes

    /// Exchanges the link to `node`, which ends the path at `depth`, and retires it.
    private func replace(_ node: MemtableNode, by new: ArenaRef, _ depth: Int) {
        link(new, depth)
        arena.retire(node)
    }

    /// Makes `new` what the path leads to at `depth`.
    private func link(_ new: ArenaRef, _ depth: Int) {
        if depth == 0 {
            root = new
        } else {
            let step = unsafe path[depth - 1]
            MemtableNode(view, step.node).setChild(step.index, new)
        }
    }

    /// Puts a separator and its two children in the place of the child that the path took at `depth`.
    private func addSeparator(_ separator: ArenaRef, _ left: ArenaRef, _ right: ArenaRef, level: Int, _ depth: Int) {
        guard depth >= 0 else {
            unsafe separators[0] = KeySlot(chunk: 0, key: separator)
            unsafe children[0] = left
            unsafe children[1] = right
            root = makeInner(0..<1, level: level, (.none, .none)).ref
            return
        }
        let step = unsafe path[depth]
        let node = MemtableNode(view, step.node)
        let count = node.count
        gather(node, separator, left, right, at: step.index)
        let fences = self.fences(depth)
        if count < MemtableNode.innerCapacity {
            replace(node, by: copyInner(node, separator, at: step.index, fences).ref, depth)
            return
        }
        // At the right edge the full node stays full: keys come in order there.
        let middle = step.index == count ? count : (count + 1) / 2
        let promoted = unsafe separators[middle].key
        let first = makeInner(0..<middle, level: level, (fences.low, promoted))
        let second = makeInner(middle + 1..<count + 1, level: level, (promoted, fences.high))
        addSeparator(promoted, first.ref, second.ref, level: level + 1, depth - 1)
        arena.retire(node)
    }

    /// The node's separators and children with the new ones among them, in the scratch space.
    private func gather(_ node: MemtableNode, _ separator: ArenaRef, _ left: ArenaRef, _ right: ArenaRef, at index: Int)
    {
        let count = node.count
        for old in 0..<count { unsafe separators[old < index ? old : old + 1] = node.separator(old) }
        unsafe separators[index] = KeySlot(chunk: 0, key: separator)
        for old in 0...count { unsafe children[old <= index ? old : old + 1] = node.child(old).ref }
        unsafe children[index] = left
        unsafe children[index + 1] = right
    }

    /// The node with one separator more, its prefix kept while it tells the separators apart.
    private func copyInner(
        _ node: MemtableNode, _ separator: ArenaRef, at index: Int, _ fences: (low: ArenaRef, high: ArenaRef)
    ) -> MemtableNode {
        let count = node.count + 1
        let key = MemtableKey(view, separator)
        let chunk = unsafe KeyChunk.make(key.bytes, skipping: node.skip)
        let isTied =
            unsafe index > 0 && separators[index - 1].chunk == chunk
            || index + 1 < count && separators[index + 1].chunk == chunk
        let lacksPrefix = unsafe node.isChecked && node.comparePrefix(key.bytes) != 0
        if isTied || lacksPrefix { return makeInner(0..<count, level: node.level, fences) }
        unsafe separators[index].chunk = chunk
        return fillInner(
            0..<count, level: node.level, skip: node.skip, sample: node.sample.ref, isChecked: node.isChecked)
    }

    /// An inner node of part of the scratch space, with the best prefix.
    private func makeInner(_ range: Range<Int>, level: Int, _ fences: (low: ArenaRef, high: ArenaRef)) -> MemtableNode {
        guard !range.isEmpty else {
            // One child and no separator: right of a full node whose keys come in order.
            return fillInner(range, level: level, skip: 0, sample: .none, isChecked: false)
        }
        let (first, last) = unsafe (separators[range.lowerBound].key, separators[range.upperBound - 1].key)
        let (skip, isChecked) = prefix(first: first, last: last, fences)
        for index in range {
            unsafe separators[index].chunk = unsafe KeyChunk.make(
                MemtableKey(view, separators[index].key).bytes, skipping: skip)
        }
        return fillInner(range, level: level, skip: skip, sample: first, isChecked: isChecked && skip > 0)
    }

    private func fillInner(
        _ range: Range<Int>, level: Int, skip: Int, sample: ArenaRef, isChecked: Bool
    ) -> MemtableNode {
        let node = MemtableNode(view, arena.allocateNode())
        node.initialize(level: level, skip: skip, sample: sample, isChecked: isChecked)
        for index in 0..<range.count { unsafe node.setSeparator(index, separators[range.lowerBound + index]) }
        for index in 0...range.count {
            unsafe node.setChild(index, children[range.lowerBound + index], ordering: .relaxed)
        }
        node.count = range.count
        return node
    }
}
