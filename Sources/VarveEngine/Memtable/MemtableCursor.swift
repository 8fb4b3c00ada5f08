/// A position in a memtable, both ways, while the writer inserts.
///
/// It copies one leaf at a time, in order, and finds the next through the leaf's fence, so it holds on to no node: a
/// leaf that is split meanwhile does not disturb it. Keys inserted into a leaf after it was copied are not seen until
/// the cursor comes again; their LSNs are beyond what a reader who made the cursor after choosing its snapshot may
/// see.
@safe
final class MemtableCursor: InternalCursor {
    private let memtable: Memtable
    private let tree: MemtableTree
    private let view: ArenaView
    /// The leaf's copy, the keys around it (none: there is no more), and the place in it.
    private let leaf = LeafOrder()
    private var low = ArenaRef.none
    private var high = ArenaRef.none
    private var index = 0
    /// Keeps `touchRecords` from being optimised away.
    private var touched = 0
    private var version: MemtableVersion
    private(set) var isValid = false
    private(set) var key = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    private(set) var entry = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    private(set) var trailer = Trailer.oldest

    init(_ memtable: Memtable, _ tree: MemtableTree) {
        self.memtable = memtable
        self.tree = tree
        view = tree.view
        version = MemtableVersion(key: MemtableKey(tree.view, .none), ref: .none)
    }

    // MARK: moving

    func seekToFirst() {
        loadFirstLeaf()
        index = 0
        settleForward()
    }

    func seekToLast() {
        loadLastLeaf()
        index = leaf.count - 1
        settleBackward()
    }

    func seek(to key: UnsafeRawBufferPointer, _ trailer: Trailer) {
        index = unsafe loadLeaf(of: key, isBefore: false)
        if index < leaf.count {
            let found = keyInLeaf(index)
            if unsafe FullKey.areEqual(found.bytes, key) {
                if let version = found.newest.newest(atMost: trailer) { return show(version) }
                index += 1
            }
        }
        settleForward()
    }

    func seek(before key: UnsafeRawBufferPointer, _ trailer: Trailer) {
        index = unsafe loadLeaf(of: key, isBefore: false)
        if index < leaf.count {
            let found = keyInLeaf(index)
            if unsafe FullKey.areEqual(found.bytes, key), let version = found.newest.oldest(above: trailer) {
                return show(version)
            }
        }
        index -= 1
        settleBackward()
    }

    func next() {
        precondition(isValid, "only a valid cursor moves")
        if let older = version.older { return show(older) }
        index += 1
        settleForward()
    }

    func previous() {
        precondition(isValid, "only a valid cursor moves")
        if let newer = version.key.newest.oldest(above: trailer) { return show(newer) }
        index -= 1
        settleBackward()
    }

    /// Shows the newest version of the key at `index`, or of the first one after this leaf.
    @inline(__always)
    private func settleForward() {
        while index >= leaf.count {
            guard !high.isNone else { return isValid = false }
            index = unsafe loadLeaf(of: MemtableKey(view, high).bytes, isBefore: false)
        }
        show(keyInLeaf(index).newest)
    }

    /// Shows the oldest version of the key at `index`, or of the last one before this leaf.
    @inline(__always)
    private func settleBackward() {
        while index < 0 {
            guard !low.isNone else { return isValid = false }
            index = unsafe loadLeaf(of: MemtableKey(view, low).bytes, isBefore: true) - 1
        }
        show(keyInLeaf(index).newest.oldest)
    }

    @inline(__always)
    private func keyInLeaf(_ index: Int) -> MemtableKey { unsafe MemtableKey(view, leaf.slots[index].key) }

    @inline(__always)
    private func show(_ version: MemtableVersion) {
        self.version = version
        unsafe key = version.key.bytes
        trailer = version.trailer
        unsafe entry = version.entry
        isValid = true
    }

    // MARK: leaves

    /// Brings the leaf's records into the cache side by side: walking then costs no miss for each.
    @inline(__always)
    private func touchRecords() {
        var sum = 0
        for index in 0..<leaf.count { unsafe sum &+= keyInLeaf(index).bytes.count }
        touched = sum
    }

    /// Copies the leaf that holds `key` or would (with `isBefore`, the leaf of the last key before it); returns how
    /// many of its keys are before `key`.
    private func loadLeaf(of key: UnsafeRawBufferPointer, isBefore: Bool) -> Int {
        load { node in
            unsafe node.childIndex(key, isBefore: isBefore)
        } then: { node in
            unsafe leaf.lowerBound(key, node)
        }
    }

    private func loadFirstLeaf() {
        _ = load { _ in
            0
        } then: { _ in
            0
        }
    }

    private func loadLastLeaf() {
        _ = load { node in
            node.count
        } then: { _ in
            0
        }
    }

    /// Goes down from the root and copies a leaf; nodes are looked at only in here.
    @inline(__always)
    private func load(_ choose: (MemtableNode) -> Int, then finish: (MemtableNode) -> Int) -> Int {
        tree.arena.enterReader()
        defer { tree.arena.leaveReader() }
        low = .none
        high = .none
        var node = MemtableNode(view, tree.root)
        while node.level > 0 {
            let child = choose(node)
            if child > 0 { low = node.separator(child - 1).key }
            if child < node.count { high = node.separator(child).key }
            node = node.child(child)
        }
        leaf.load(node)
        touchRecords()
        return finish(node)
    }
}
