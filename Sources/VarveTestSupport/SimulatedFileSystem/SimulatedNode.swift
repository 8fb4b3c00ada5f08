internal import Synchronization

/// What a name in a simulated folder stands for.
enum SimulatedNode: Sendable {
    case file(SimulatedInode)
    case directory(SimulatedDirectory)

    var identity: ObjectIdentifier {
        switch self {
        case .file(let file): ObjectIdentifier(file)
        case .directory(let directory): ObjectIdentifier(directory)
        }
    }
}

/// A simulated file, whatever its names.
final class SimulatedInode: @unchecked Sendable {
    // Unchecked: touched under the lock of the one file system that it belongs to.

    /// Counts up in order of creation: what seeds are mixed with, so that a run can be repeated.
    let number: Int
    var content = SimulatedContent()
    var linkCount = 0
    /// Open handles and maps.
    var users = 0
    var maps: [SimulatedMapMemory] = []
    /// In memory since the caches were dropped; nil: everything is.
    var residentPages: Set<Int>?
    /// Its pages no longer count as used.
    var isReleased = false

    init(number: Int) { self.number = number }

    /// Tells maps of new bytes, as one page cache does for all who look into it.
    func refreshMaps(_ range: Range<Int>) {
        for map in maps { map.refresh(range, from: content) }
    }

    func noteResident(_ range: Range<Int>) {
        guard residentPages != nil, !range.isEmpty else { return }
        let pages = (range.lowerBound / SimulatedPage.size)...((range.upperBound - 1) / SimulatedPage.size)
        residentPages?.formUnion(pages)
    }

    func isResident(_ range: Range<Int>) -> Bool {
        guard let residentPages, !range.isEmpty else { return true }
        let pages = (range.lowerBound / SimulatedPage.size)...((range.upperBound - 1) / SimulatedPage.size)
        return pages.allSatisfy(residentPages.contains)
    }
}

/// A simulated folder: its names as everybody sees them, as the disk has them, and the way from one to the other.
final class SimulatedDirectory: @unchecked Sendable {
    // Unchecked: touched under the lock of the one file system that it belongs to.

    enum Change: Sendable {
        case add(String, SimulatedNode)
        case remove(String)
        /// Within the folder, so it comes whole or not at all.
        case move(String, to: String, SimulatedNode)
    }

    struct Entry: Sendable {
        var change: Change
        /// The same in both folders of a move between folders.
        var pair: Int?
    }

    let number: Int
    var names: [String: SimulatedNode] = [:]
    var durableNames: [String: SimulatedNode] = [:]
    var journal: [Entry] = []

    init(number: Int) { self.number = number }

    func record(_ change: Change, pair: Int? = nil) {
        Self.apply(change, to: &names)
        journal.append(Entry(change: change, pair: pair))
    }

    func sync() {
        for entry in journal { Self.apply(entry.change, to: &durableNames) }
        journal.removeAll(keepingCapacity: true)
    }

    /// The names after the first `count` changes that were not synced.
    func names(after count: Int) -> [String: SimulatedNode] {
        if count == journal.count { return names }
        var result = durableNames
        for entry in journal.prefix(count) { Self.apply(entry.change, to: &result) }
        return result
    }

    private static func apply(_ change: Change, to names: inout [String: SimulatedNode]) {
        switch change {
        case .add(let name, let node): names[name] = node
        case .remove(let name): names[name] = nil
        case .move(let source, let destination, let node):
            names[source] = nil
            names[destination] = node
        }
    }
}

/// The bytes that a simulated read map shows: a copy in one piece, kept up to date.
@safe
final class SimulatedMapMemory: @unchecked Sendable {
    // Unchecked: written under the file system's lock; who reads a map of a file that changes races by his own doing,
    // as he does in the kernel's.
    let bytes: UnsafeMutableRawBufferPointer
    let isDamaged = Atomic<Bool>(false)
    private let count: Int

    init(_ content: SimulatedContent, count: Int) {
        self.count = count
        unsafe bytes = .allocate(byteCount: max(count, 1), alignment: SimulatedPage.size)
        _ = unsafe content.read(into: UnsafeMutableRawBufferPointer(rebasing: bytes[..<count]), at: 0)
    }

    deinit { unsafe bytes.deallocate() }

    func refresh(_ range: Range<Int>, from content: SimulatedContent) {
        let part = range.clamped(to: 0..<count)
        if part.isEmpty { return }
        let target = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[part])
        let done = unsafe content.read(into: target, at: part.lowerBound)
        if done < part.count {
            unsafe UnsafeMutableRawBufferPointer(rebasing: target[done...]).initializeMemory(
                as: UInt8.self, repeating: 0)
        }
        let reachable = SimulatedContent.pageCount(content.length) * SimulatedPage.size
        if count > reachable { isDamaged.store(true, ordering: .sequentiallyConsistent) }
    }
}
