internal import Synchronization

/// The LSNs at which somebody still reads. Compaction keeps, for each of them, the version that it sees.
final class SnapshotRegistry: Sendable {
    // Few at a time: a sorted array with counts beats any tree.
    private let held = Mutex<[(lsn: LSN, count: Int)]>([])

    /// Holds the LSN that `current` returns. Taken under the registry's lock, so that a compaction which asked `live`
    /// before sees no later snapshot below the LSN that was visible when it asked.
    func acquire(_ current: () -> LSN) -> LSN {
        held.withLock { held in
            let lsn = current()
            if let index = held.firstIndex(where: { $0.lsn >= lsn }) {
                if held[index].lsn == lsn {
                    held[index].count += 1
                } else {
                    held.insert((lsn, 1), at: index)
                }
            } else {
                held.append((lsn, 1))
            }
            return lsn
        }
    }

    func release(_ lsn: LSN) {
        held.withLock { held in
            guard let index = held.firstIndex(where: { $0.lsn == lsn }) else {
                preconditionFailure("a snapshot is released once")
            }
            held[index].count -= 1
            if held[index].count == 0 { held.remove(at: index) }
        }
    }

    /// Every LSN that is held, ascending, and the one visible now as `current` tells it.
    func live(_ current: () -> LSN) -> [LSN] {
        held.withLock { held in
            var lsns = held.map(\.lsn)
            let now = current()
            if lsns.last.map({ $0 < now }) ?? true { lsns.append(now) }
            return lsns
        }
    }

    var count: Int { held.withLock { $0.reduce(0) { $0 + $1.count } } }
    var oldest: LSN? { held.withLock { $0.first?.lsn } }
}

/// The store as of one LSN. It stays readable for as long as this object lives, however much is written meanwhile, and
/// holds back the space of what it still sees.
public final class Snapshot: Sendable {
    /// The LSN as of which it reads.
    public let lsn: LSN
    private let registry: SnapshotRegistry
    let owner: ObjectIdentifier

    init(registry: SnapshotRegistry, owner: ObjectIdentifier, _ current: () -> LSN) {
        self.registry = registry
        self.owner = owner
        lsn = registry.acquire(current)
    }

    deinit { registry.release(lsn) }
}
