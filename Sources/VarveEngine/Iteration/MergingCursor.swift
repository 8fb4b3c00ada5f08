/// The merge of sorted sources (memtables, L0 tables, levels): every version of every key, key ascending, newest first.
///
/// A binary heap over slots that cache what each source shows. The second best slot is remembered: while the source
/// that was first stays first, as it mostly does where one level holds nine tenths of the data, a step costs one
/// comparison. One source costs none.
///
/// Where two sources hold the same version (only after a repair), the source that was given first is shown first.
/// Turning round seeks every source but the current one. One thread at a time; the bytes shown are good until the next
/// move; after an error the cursor is invalid until the next seek.
@safe
final class MergingCursor: InternalCursor {
    private let sources: [SourceCursor]
    // `sources` keeps alive what the slots borrow.
    private let slots: UnsafeMutablePointer<MergeSlot>
    /// The numbers of the valid slots, first in order at the front, each after its parent.
    private let heap: UnsafeMutablePointer<Int>
    private var count = 0
    private var isForward = true
    /// The better child of the front, as a place in the heap; 0: not known.
    private var runnerUp = 0

    init(_ sources: [SourceCursor]) {
        self.sources = sources
        unsafe slots = .allocate(capacity: max(1, sources.count))
        unsafe heap = .allocate(capacity: max(1, sources.count))
        for (index, source) in sources.enumerated() {
            unsafe (slots + index).initialize(to: MergeSlot(source.unowned))
        }
    }

    deinit {
        unsafe slots.deinitialize(count: sources.count)
        unsafe slots.deallocate()
        unsafe heap.deallocate()
    }

    @inline(__always)
    var isValid: Bool { count > 0 }
    @inline(__always)
    var key: UnsafeRawBufferPointer { unsafe slots[front].key }
    @inline(__always)
    var trailer: Trailer { unsafe slots[front].trailer }
    @inline(__always)
    var entry: UnsafeRawBufferPointer { unsafe slots[front].entry }
    /// The number of the source that holds the current entry.
    @inline(__always)
    var sourceIndex: Int { front }

    @inline(__always)
    private var front: Int {
        precondition(count > 0, "the cursor is at no entry")
        return unsafe heap[0]
    }

    func seekToFirst() throws(VarveError) { try place(.first, forward: true) }
    func seekToLast() throws(VarveError) { try place(.last, forward: false) }
    func seek(to key: UnsafeRawBufferPointer, _ trailer: Trailer) throws(VarveError) {
        unsafe try place(.at(key, trailer), forward: true)
    }
    func seek(before key: UnsafeRawBufferPointer, _ trailer: Trailer) throws(VarveError) {
        unsafe try place(.before(key, trailer), forward: false)
    }

    @inline(__always)
    func next() throws(VarveError) {
        if !isForward { return try turn(forward: true) }
        let index = front
        do { try unsafe slots[index].next() } catch { throw failed(error) }
        restoreFront()
    }

    @inline(__always)
    func previous() throws(VarveError) {
        if isForward { return try turn(forward: false) }
        let index = front
        do { try unsafe slots[index].previous() } catch { throw failed(error) }
        restoreFront()
    }

    private func place(_ move: MergeSlot.Move, forward: Bool) throws(VarveError) {
        count = 0
        for index in sources.indices {
            unsafe try slots[index].move(move)
        }
        isForward = forward
        build()
    }

    /// Moves to the neighbour on the other side: the other sources stand just beyond the current entry on the side that
    /// the walk went to, and must come to stand just beyond it on the other.
    @inline(never)
    private func turn(forward: Bool) throws(VarveError) {
        let current = front
        count = 0
        let (key, trailer) = unsafe (slots[current].key, slots[current].trailer)
        for index in sources.indices where index != current {
            unsafe try slots[index].move(forward ? .at(key, trailer) : .before(key, trailer))
        }
        unsafe try slots[current].move(forward ? .next : .previous)
        isForward = forward
        build()
    }

    @inline(never)
    private func failed(_ error: VarveError) -> VarveError {
        count = 0
        return error
    }

    // MARK: The heap

    private func build() {
        count = 0
        for index in sources.indices where unsafe slots[index].isValid {
            unsafe heap[count] = index
            count += 1
        }
        var parent = count / 2 - 1
        while parent >= 0 {
            siftDown(parent)
            parent -= 1
        }
        runnerUp = 0
    }

    /// After the front source has moved.
    @inline(__always)
    private func restoreFront() {
        if unsafe !slots[heap[0]].isValid { return removeFront() }
        if count == 1 { return }
        if runnerUp == 0 { findRunnerUp() }
        if unsafe comesFirst(heap[runnerUp], heap[0]) { replaceFront() }
    }

    @inline(never)
    private func replaceFront() {
        unsafe swap(&heap[0], &heap[runnerUp])
        siftDown(runnerUp)
        runnerUp = 0
    }

    @inline(never)
    private func removeFront() {
        count -= 1
        unsafe heap[0] = heap[count]
        siftDown(0)
        runnerUp = 0
    }

    @inline(__always)
    private func findRunnerUp() {
        runnerUp = unsafe count > 2 && comesFirst(heap[2], heap[1]) ? 2 : 1
    }

    private func siftDown(_ start: Int) {
        var place = start
        while true {
            var child = 2 * place + 1
            guard child < count else { return }
            if unsafe child + 1 < count && comesFirst(heap[child + 1], heap[child]) { child += 1 }
            guard unsafe comesFirst(heap[child], heap[place]) else { return }
            unsafe swap(&heap[place], &heap[child])
            place = child
        }
    }

    /// Whether slot `a` is shown before slot `b` in the present direction.
    @inline(__always)
    private func comesFirst(_ a: Int, _ b: Int) -> Bool {
        let order = unsafe MergeSlot.order(slots[a], slots[b])
        if order == 0 { return (a < b) == isForward }
        return (order < 0) == isForward
    }
}
