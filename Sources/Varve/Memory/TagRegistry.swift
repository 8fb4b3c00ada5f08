internal import Synchronization

/// Which tags were dropped, and when. An entry is alive while it is newer than the latest drop of each of its tags, so
/// dropping a tag is one write, however many entries carry it.
///
/// Drops are never forgotten, so they are kept by slot: a million slots, in which tags that share one are dropped
/// together. That costs misses and nothing else, and bounds what drops take, here and on disk.
///
/// Entries in memory remember up to which drop they were checked; while no tag is dropped a hit reads one number.
@usableFromInline
final class TagRegistry: Sendable {
    /// How many drops there were.
    private let drops = Atomic<UInt64>(0)
    /// A drop that has begun and not ended.
    private struct Pending {
        var count = 0
        /// Before its version.
        var since: UInt64
        var waiting: [CheckedContinuation<Void, Never>] = []
    }
    private struct State {
        /// By slot, the version of the latest drop.
        var drops: [UInt64: UInt64] = [:]
        /// The slots of the latest drops, each at its number.
        var latest = [UInt64](repeating: 0, count: TagRegistry.remembered)
        var pending: [UInt64: Pending] = [:]
    }
    private let state = Mutex(State())

    /// The entry's tags, as ids: the hash of the tag's name.
    static func id(of tag: String) -> UInt64 { unsafe stableHash(tag.utf8Span.span.bytes, seed: 0x7461_6773) }

    private static let slots: UInt64 = 1 << 20
    /// Under which drops of the tag are kept.
    static func slot(of tag: UInt64) -> UInt64 { tag % slots }

    /// Of so many drops it is known in which order they came.
    private static let remembered = 1024

    /// Grows with each drop: who sees one, by whatever way, finds it counted here.
    var generation: UInt64 { drops.load(ordering: .acquiring) }

    /// How many drops are remembered.
    var count: Int { state.withLock { $0.drops.count } }

    /// Whether an entry of this version outlived every drop of its tags. `evenIfPending`: drops that are under way do not
    /// count yet.
    func keeps(_ tags: [UInt64], version: UInt64, evenIfPending: Bool = true) -> Bool {
        if tags.isEmpty { return true }
        return state.withLock { state in
            tags.allSatisfy { tag in
                let slot = TagRegistry.slot(of: tag)
                return (state.drops[slot] ?? 0) < version && (evenIfPending || state.pending[slot] == nil)
            }
        }
    }

    /// The version of a drop that one of the tags had at this version or later; nil: there was none. Of several the earliest
    /// that is known.
    func drop(of tags: [UInt64], since version: UInt64) -> UInt64? {
        // Readers wait for this lock: nothing is allocated under it.
        state.withLock { TagDrops.earliest(of: tags, since: version, in: $0.drops) }
    }

    /// All drops that are known now.
    var present: TagDrops {
        let known = state.withLock { $0.drops }
        // Copied here: else the next drop would do it, and readers wait for that.
        return TagDrops(versions: known.mapValues { $0 })
    }

    /// `keeps` for an entry in memory, which remembers the answer.
    func keeps(_ record: inout EntryRecord) -> Bool {
        // Before the look at the drops: who sees the generation sees the drop that raised it.
        let present = generation
        if record.checkedGeneration == present { return true }
        guard keeps(record.tags, version: record.version) else { return false }
        record.checkedGeneration = present
        return true
    }

    /// Whether one of the tags is just being dropped.
    func isPending(_ tags: [UInt64]) -> Bool {
        !tags.isEmpty && state.withLock { state in tags.contains { state.pending[TagRegistry.slot(of: $0)] != nil } }
    }

    /// Returns once no drop of these tags is under way that was when it was called. A drop waits for one write at most.
    func settled(_ tags: [UInt64]) async {
        for slot in Set(tags.map(TagRegistry.slot)) {
            await withCheckedContinuation { continuation in
                let waits = state.withLock { state in
                    guard state.pending[slot] != nil else { return false }
                    state.pending[slot]?.waiting.append(continuation)
                    return true
                }
                if !waits { continuation.resume() }
            }
        }
    }

    /// A tag is about to be dropped, at a version after `since`.
    func begin(_ tag: UInt64, since: UInt64) {
        state.withLock { $0.pending[TagRegistry.slot(of: tag), default: Pending(since: since)].count += 1 }
    }

    /// Up to which version drops do not outdate a load that begins now, when everything up to `visible` is visible: readers
    /// do not see yet those that are under way, whatever their version will be.
    func beginLoad(at visible: UInt64) -> UInt64 {
        state.withLock { state in state.pending.values.reduce(visible) { min($0, $1.since) } }
    }

    /// It was, or was not after all.
    func end(_ tag: UInt64, at version: UInt64?) {
        if let version { note(tag, at: version) }
        let slot = TagRegistry.slot(of: tag)
        let waiting: [CheckedContinuation<Void, Never>] = state.withLock { state in
            guard var pending = state.pending[slot] else { return [] }
            pending.count -= 1
            state.pending[slot] = pending.count > 0 ? pending : nil
            return pending.count > 0 ? [] : pending.waiting
        }
        for waiter in waiting { waiter.resume() }
    }

    /// A tag was dropped at a version.
    func note(_ tag: UInt64, at version: UInt64) {
        let slot = TagRegistry.slot(of: tag)
        state.withLock { state in
            state.drops[slot] = max(state.drops[slot] ?? 0, version)
            let number = drops.add(1, ordering: .releasing).newValue
            state.latest[Int(number % UInt64(TagRegistry.remembered))] = slot
        }
    }

    /// Whether what is of this version was outdated by drops of its tags, and one of them came between these generations.
    /// Where that is too many drops ago to tell, it did.
    func wasDropped(_ tags: [UInt64], from version: UInt64, after first: UInt64, upTo last: UInt64) -> Bool {
        guard first < last, !tags.isEmpty else { return false }
        return state.withLock { state in
            let slots = tags.map(TagRegistry.slot).filter { (state.drops[$0] ?? 0) >= version }
            if slots.isEmpty { return false }
            if generation - first > TagRegistry.remembered { return true }
            return (first + 1...last).contains { number in
                slots.contains(state.latest[Int(number % UInt64(TagRegistry.remembered))])
            }
        }
    }
}

/// The drops of tags that were known at one moment.
struct TagDrops: Sendable {
    /// By slot, the latest of each.
    fileprivate let versions: [UInt64: UInt64]

    /// See `TagRegistry.drop`.
    func earliest(of tags: [UInt64], since version: UInt64) -> UInt64? {
        TagDrops.earliest(of: tags, since: version, in: versions)
    }

    fileprivate static func earliest(of tags: [UInt64], since version: UInt64, in versions: [UInt64: UInt64]) -> UInt64?
    {
        var earliest: UInt64?
        for tag in tags {
            guard let drop = versions[TagRegistry.slot(of: tag)], drop >= version else { continue }
            earliest = min(earliest ?? drop, drop)
        }
        return earliest
    }
}
