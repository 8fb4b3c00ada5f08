internal import Synchronization

/// The range tombstones of a memtable: a fragmented part that is searched, and the few newest that are walked through.
///
/// Range deletes are rare and a memtable without any answers from one atomic. The others are read under a lock that is
/// held for a copy of two references. Fragmenting anew at every range delete would cost a square, so it waits until the
/// walk would be as long as a quarter of the rest, or until somebody wants them all.
final class MemtableRangeTombstones: Sendable {
    private struct State {
        var fragmented = RangeTombstones.none
        /// How many tombstones went into the fragmented part.
        var fragmentedCount = 0
        var recent: [RangeTombstone] = []
        var bytes = 0
    }
    private let state = Mutex(State())
    private let total = Atomic<Int>(0)
    private static let shortestWalk = 16

    /// How many range deletes came, empty ones aside.
    var count: Int { total.load(ordering: .acquiring) }
    @inline(__always)
    var isEmpty: Bool { total.load(ordering: .acquiring) == 0 }
    var approximateBytes: Int { isEmpty ? 0 : state.withLock { $0.bytes + $0.fragmented.approximateBytes } }

    /// The writer's.
    func add(_ tombstone: RangeTombstone) {
        guard !tombstone.isEmpty else { return }
        state.withLock { state in
            state.recent.append(tombstone)
            state.bytes += tombstone.begin.count + tombstone.end.count + 2 * MemoryLayout<RangeTombstone>.stride
            let limit = max(MemtableRangeTombstones.shortestWalk, state.fragmentedCount / 4)
            if state.recent.count > limit { MemtableRangeTombstones.fragment(&state) }
        }
        total.add(1, ordering: .releasing)
    }

    private static func fragment(_ state: inout State) {
        guard !state.recent.isEmpty else { return }
        state.fragmented = RangeTombstones(state.fragmented.tombstones() + state.recent)
        state.fragmentedCount += state.recent.count
        state.recent.removeAll()
        state.bytes = 0
    }

    func maxLSN(covering key: UnsafeRawBufferPointer, at lsn: LSN) -> LSN? {
        let (fragmented, recent) = state.withLock { ($0.fragmented, $0.recent) }
        let older = unsafe fragmented.maxLSN(covering: key, at: lsn)
        // The newest came last.
        let newer = recent.last { tombstone in
            guard tombstone.lsn <= lsn else { return false }
            return unsafe tombstone.begin.withUnsafeBytes { unsafe FullKey.compare($0, key) <= 0 }
                && tombstone.end.withUnsafeBytes { unsafe FullKey.compare(key, $0) < 0 }
        }
        return newer?.lsn ?? older
    }

    func snapshot(at lsn: LSN) -> RangeTombstones {
        let all = state.withLock { state in
            MemtableRangeTombstones.fragment(&state)
            return state.fragmented
        }
        guard let newest = all.newestLSN, newest > lsn else { return all }
        return all.filtered { _, _, tombstone in tombstone <= lsn }
    }
}
