internal import Synchronization
internal import VarveEngine

/// What of one cache's entries on disk must not be seen any more, because it was changed in memory while the disk took no
/// writes. Bounded: beyond, the whole of it is hidden, which costs misses and nothing else.
///
/// It belongs to the store, so it outlives the cache. Changes are made under the lock of the shard that holds the key, or,
/// for ranges, while memory takes nothing in; reads are for any thread.
final class DiskShadow: Sendable {
    /// What was changed, for who makes it true on disk.
    struct Changes: Sendable {
        /// Everything that is on disk; the rest is then about tags.
        var hidesAll = false
        /// By key, the highest source version that was named with it; 0: none.
        var keys: [[UInt8]: UInt64] = [:]
        var ranges: [KeyInterval] = []
        /// By tag, the version of its last drop.
        var tags: [UInt64: UInt64] = [:]

        var count: Int { keys.count + ranges.count + tags.count + (hidesAll ? 1 : 0) }
        var isEmpty: Bool { count == 0 }
    }

    private struct State: Sendable {
        var changes = Changes()
        var bytes = 0
    }

    let namespace: Namespace
    private let isActive = Atomic<Bool>(false)
    private let state = Mutex(State())
    private let limit: Int

    /// Bytes of keys, and what a record of one takes besides.
    static let defaultLimit = 16 << 20
    private static let bytesPerKey = 96
    private static let mostRanges = 256
    private static let mostTags = 4096

    init(_ namespace: Namespace, limit: Int = DiskShadow.defaultLimit) {
        self.namespace = namespace
        self.limit = limit
    }

    /// Whether what the disk has of a key must not be seen. One load where nothing is hidden.
    func hides(_ key: RawSpan) -> Bool {
        guard isActive.load(ordering: .acquiring) else { return false }
        return hides([UInt8](copying: key))
    }

    func hides(_ key: [UInt8]) -> Bool {
        guard isActive.load(ordering: .acquiring) else { return false }
        return state.withLock { state in
            state.changes.hidesAll || state.changes.keys[key] != nil
                || state.changes.ranges.contains { $0.contains(key) }
        }
    }

    /// The highest source version that was named with a key meanwhile; 0: none.
    func sourceVersion(of key: [UInt8]) -> UInt64 { state.withLock { $0.changes.keys[key] ?? 0 } }

    var changes: Changes { state.withLock { $0.changes } }
    var count: Int { state.withLock { $0.changes.count } }

    func hide(_ key: [UInt8], sourceVersion: UInt64?) {
        change { state in
            // A source version is worth remembering even where everything is hidden.
            if state.changes.hidesAll, sourceVersion == nil, state.changes.keys[key] == nil { return }
            let known = state.changes.keys[key]
            if known == nil {
                state.bytes += key.count + DiskShadow.bytesPerKey
                guard state.bytes <= limit else { return hideAll(&state) }
            }
            state.changes.keys[key] = max(known ?? 0, sourceVersion ?? 0)
        }
    }

    func hide(_ range: KeyInterval) {
        change { state in
            if range.isAll || state.changes.ranges.count >= DiskShadow.mostRanges { return hideAll(&state) }
            if !state.changes.hidesAll { state.changes.ranges.append(range) }
        }
    }

    /// A tag was dropped at a version. Its entries on disk are older, and judged by that.
    func hide(tag: UInt64, at version: UInt64) {
        change { state in
            if state.changes.tags.count >= DiskShadow.mostTags, state.changes.tags[tag] == nil {
                // Without the tag's record its entries must go for another reason.
                return hideAll(&state)
            }
            state.changes.tags[tag] = max(state.changes.tags[tag] ?? 0, version)
        }
    }

    /// Everything is true on disk now.
    func reset() {
        state.withLock { $0 = State() }
        isActive.store(false, ordering: .releasing)
    }

    private func change(_ body: (inout State) -> Void) {
        state.withLock { state in
            body(&state)
            isActive.store(true, ordering: .releasing)
        }
    }

    private func hideAll(_ state: inout State) {
        state.changes.hidesAll = true
        state.changes.ranges = []
        state.changes.keys = state.changes.keys.filter { $0.value > 0 }
        state.bytes = state.changes.keys.keys.reduce(0) { $0 + $1.count + DiskShadow.bytesPerKey }
        // Source versions beyond the bound stand in the mark's floors, which keys share.
        if state.bytes > limit / 2 { (state.changes.keys, state.bytes) = ([:], 0) }
    }
}

/// Keys from `begin` on and before `end`; nil: to the last.
struct KeyInterval: Hashable, Sendable {
    var begin: [UInt8]
    var end: [UInt8]?

    static let all = KeyInterval(begin: [], end: nil)
    var isAll: Bool { begin.isEmpty && end == nil }

    func contains(_ key: [UInt8]) -> Bool {
        !key.lexicographicallyPrecedes(begin) && (end.map { key.lexicographicallyPrecedes($0) } ?? true)
    }
}
