internal import Synchronization

/// Which tags were dropped, and when. An entry is alive while it is newer than the latest drop of each of its tags, so
/// dropping a tag is one write, however many entries carry it.
///
/// Entries in memory remember up to which drop they were checked; while no tag is dropped a hit reads one number.
@usableFromInline
final class TagRegistry: Sendable {
    private let generation = Atomic<UInt64>(0)
    private struct State {
        /// By tag, the version of its latest drop.
        var drops: [UInt64: UInt64] = [:]
        /// Tags that are just being dropped, and how often.
        var pending: [UInt64: Int] = [:]
    }
    private let state = Mutex(State())

    /// The entry's tags, as ids: the hash of the tag's name. Two tags that share an id are dropped together, which costs
    /// misses and nothing else.
    static func id(of tag: String) -> UInt64 { unsafe stableHash(tag.utf8Span.span.bytes, seed: 0x7461_6773) }

    /// Whether an entry of this version outlived every drop of its tags. `evenIfPending`: drops that are under way do not
    /// count yet.
    func keeps(_ tags: [UInt64], version: UInt64, evenIfPending: Bool = true) -> Bool {
        if tags.isEmpty { return true }
        return state.withLock { state in
            tags.allSatisfy { tag in
                (state.drops[tag] ?? 0) < version && (evenIfPending || state.pending[tag] == nil)
            }
        }
    }

    /// The same for an entry in memory, which remembers the answer.
    func keeps<Key, Value>(_ entry: inout MemoryEntry<Key, Value>) -> Bool {
        // Acquiring: who sees the generation sees the drop that raised it.
        let present = generation.load(ordering: .acquiring)
        if entry.checkedGeneration == present { return true }
        guard keeps(entry.tags, version: entry.version) else { return false }
        entry.checkedGeneration = present
        return true
    }

    /// A tag is about to be dropped.
    func begin(_ tag: UInt64) { state.withLock { $0.pending[tag, default: 0] += 1 } }

    /// It was, or was not after all.
    func end(_ tag: UInt64, at version: UInt64?) {
        state.withLock { state in
            let others = (state.pending[tag] ?? 1) - 1
            state.pending[tag] = others > 0 ? others : nil
        }
        if let version { note(tag, at: version) }
    }

    /// A tag was dropped at a version.
    func note(_ tag: UInt64, at version: UInt64) {
        state.withLock { $0.drops[tag] = max($0.drops[tag] ?? 0, version) }
        generation.add(1, ordering: .releasing)
    }
}
