/// The bytes of a simulated file: as the page cache shows them, and what is known of the disk beneath.
///
/// A value: copying it is cheap (pages are shared), so a crash image or the state after a kill costs what is dirty and
/// not what is stored. Every change since the last sync stands in `journal`; a dirty page remembers its durable version
/// and which changes touched it, so that a power cut can leave any sector as it was at any moment since.
struct SimulatedContent: Sendable {
    enum Change: Sendable {
        case write(offset: Int, bytes: [UInt8])
        case shrink(to: Int)
        case grow
    }

    struct Entry: Sendable {
        var change: Change
        var lengthAfter: Int
    }

    struct DirtyPage: Sendable {
        var durable: SimulatedPage?
        /// Indices into `journal`, ascending.
        var changes: [Int] = []
        /// A sync failed while the page was dirty: the kernel calls it clean now, and no later sync writes it.
        var isForgotten = false
    }

    var length = 0
    /// Nil is a hole: not allocated, reads as zeros.
    var pages: [SimulatedPage?] = []
    var allocatedPages = 0
    var durableLength = 0
    var journal: [Entry] = []
    /// Entries whose effect on the length is durable; all, except after a failed sync.
    var settled = 0
    var dirty: [Int: DirtyPage] = [:]

    var isClean: Bool { dirty.isEmpty && settled == journal.count }

    static func pageCount(_ length: Int) -> Int { (length + SimulatedPage.size - 1) / SimulatedPage.size }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) -> Int {
        guard offset < length else { return 0 }
        let count = min(buffer.count, length - offset)
        var done = 0
        while done < count {
            let (index, start) = (offset + done).quotientAndRemainder(dividingBy: SimulatedPage.size)
            let part = min(SimulatedPage.size - start, count - done)
            let target = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[done..<(done + part)])
            if index < pages.count, let page = pages[index] {
                unsafe target.copyMemory(from: UnsafeRawBufferPointer(rebasing: page.bytes[start..<(start + part)]))
            } else {
                unsafe target.initializeMemory(as: UInt8.self, repeating: 0)
            }
            done += part
        }
        return count
    }

    /// Writes as much as `budget` new pages allow and returns how much that was.
    mutating func write(_ source: UnsafeRawBufferPointer, at offset: Int, budget: Int) -> Int {
        let count = writableCount(source.count, at: offset, budget: budget)
        guard count > 0 else { return 0 }
        let bytes = unsafe UnsafeRawBufferPointer(rebasing: source[..<count])
        let end = offset + count
        extendPages(to: end)
        length = max(length, end)
        let change = journal.count
        unsafe journal.append(Entry(change: .write(offset: offset, bytes: Array(bytes)), lengthAfter: length))
        for index in (offset / SimulatedPage.size)...((end - 1) / SimulatedPage.size) {
            unsafe ownPage(index, for: change).copy(bytes, at: offset, page: index, range: 0..<SimulatedPage.size)
        }
        return count
    }

    /// Allocates [0, newLength); false, changing nothing, where that takes more than `budget` pages.
    mutating func allocate(_ newLength: Int, budget: Int) -> Bool {
        let count = Self.pageCount(newLength)
        let present = pages.prefix(count).reduce(0) { $1 == nil ? $0 : $0 + 1 }
        guard count - present <= budget else { return false }
        extendPages(to: newLength)
        for index in 0..<count where pages[index] == nil { pages[index] = SimulatedPage.zero }
        allocatedPages += count - present
        if newLength > length {
            length = newLength
            journal.append(Entry(change: .grow, lengthAfter: length))
        }
        return true
    }

    mutating func truncate(to newLength: Int) {
        let change = journal.count
        if newLength >= length {
            guard newLength > length else { return }
            extendPages(to: newLength)
            length = newLength
            journal.append(Entry(change: .grow, lengthAfter: length))
            return
        }
        journal.append(Entry(change: .shrink(to: newLength), lengthAfter: newLength))
        length = newLength
        let kept = Self.pageCount(newLength)
        for index in kept..<max(kept, pages.count) where pages[index] != nil {
            note(change, on: index)
            allocatedPages -= 1
        }
        pages.removeLast(max(0, pages.count - kept))
        let rest = newLength % SimulatedPage.size
        if rest > 0, pages[kept - 1] != nil { ownPage(kept - 1, for: change).clear(rest..<SimulatedPage.size) }
    }

    /// Everything written since the last failed sync is durable from now on.
    mutating func sync() {
        durableLength = length
        let forgotten = dirty.filter { $0.value.isForgotten }
        dirty = forgotten
        if forgotten.isEmpty { journal.removeAll(keepingCapacity: true) }
        settled = journal.count
    }

    /// A sync that failed: what is dirty may or may not be on disk, and the kernel never tries it again.
    mutating func failSync() {
        for index in dirty.keys { dirty[index]?.isForgotten = true }
    }

    /// Changes a byte on the disk and in the page cache, as rot does.
    mutating func corrupt(at offset: Int, xor mask: UInt8) {
        precondition(offset < length, "there is no such byte to corrupt")
        let (index, start) = offset.quotientAndRemainder(dividingBy: SimulatedPage.size)
        func rotten(_ page: SimulatedPage?) -> SimulatedPage {
            let copy = SimulatedPage(copying: page)
            unsafe copy.bytes[start] ^= mask
            return copy
        }
        if pages[index] == nil { allocatedPages += 1 }
        pages[index] = rotten(pages[index])
        if let old = dirty[index] { dirty[index]?.durable = rotten(old.durable) }
    }

    private func writableCount(_ count: Int, at offset: Int, budget: Int) -> Int {
        guard count > 0 else { return 0 }
        var rest = budget
        for index in (offset / SimulatedPage.size)...((offset + count - 1) / SimulatedPage.size)
        where index >= pages.count || pages[index] == nil {
            if rest == 0 { return max(0, index * SimulatedPage.size - offset) }
            rest -= 1
        }
        return count
    }

    private mutating func extendPages(to end: Int) {
        let missing = Self.pageCount(end) - pages.count
        if missing > 0 { pages.append(contentsOf: repeatElement(nil, count: missing)) }
    }

    private mutating func note(_ change: Int, on index: Int) {
        dirty[index, default: DirtyPage(durable: pages[index])].changes.append(change)
    }

    /// The page, dirty by `change`, as one that nobody else holds.
    private mutating func ownPage(_ index: Int, for change: Int) -> SimulatedPage {
        note(change, on: index)
        dirty[index]?.isForgotten = false
        if pages[index] == nil { allocatedPages += 1 }
        if let page = pages[index], isKnownUniquelyReferenced(&pages[index]) { return page }
        let page = SimulatedPage(copying: pages[index])
        pages[index] = page
        return page
    }
}
