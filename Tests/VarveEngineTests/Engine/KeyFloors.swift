import Synchronization
import VarveTestSupport

@testable import VarveEngine

/// Below a source version nothing is shown of the keys that begin so; what names none goes by when it was written.
final class KeyFloors: InvalidationJudge {
    struct Floor {
        var namespace: NamespaceID
        var prefix: [UInt8]
        var version: UInt64
        var since: LSN
    }
    private let floors = Mutex<[Floor]>([])
    private let count = Atomic<UInt64>(0)
    private let asked = Mutex<[UInt32: Int]>([:])
    /// Called with each question of an entry.
    let whenAsked = Mutex<(@Sendable () -> Void)?>(nil)
    var generation: UInt64 { count.load(ordering: .acquiring) }

    /// How often it was asked of an entry.
    var questions: Int { asked.withLock { $0.values.reduce(0, +) } }
    func questions(of namespace: Namespace) -> Int { asked.withLock { $0[namespace.id.rawValue] ?? 0 } }

    func invalidation(of entry: JudgedEntry) -> LSN? { nil }

    var lastInvalidations: [UInt32: LSN] {
        floors.withLock { floors in
            Dictionary(floors.map { ($0.namespace.rawValue, $0.since) }, uniquingKeysWith: max)
        }
    }

    func invalidation(of entry: JudgedEntry, under key: RawSpan) -> LSN? {
        asked.withLock { $0[entry.namespace, default: 0] += 1 }
        whenAsked.withLock { $0 }?()
        let bytes = unsafe key.withUnsafeBytes { unsafe Array($0) }
        return earliest(bytes, entry.sourceVersion, entry.version, in: NamespaceID(rawValue: entry.namespace))
    }

    func earliest(
        _ key: [UInt8], _ sourceVersion: UInt64?, _ version: LSN, in namespace: NamespaceID = .default
    ) -> LSN? {
        floors.withLock { floors in
            floors.filter { floor in
                floor.namespace == namespace && key.starts(with: floor.prefix)
                    && (sourceVersion.map { $0 < floor.version } ?? (version <= floor.since))
            }.map(\.since).min()
        }
    }

    /// As a cache does: the record first.
    func raise(
        _ prefix: [UInt8], to version: UInt64, of namespace: Namespace = .default, in engine: Engine
    ) throws {
        let lsn = try engine.put([1], prefix, in: .sourceFloors)
        floors.withLock {
            $0.append(Floor(namespace: namespace.id, prefix: prefix, version: version, since: lsn))
        }
        count.add(1, ordering: .releasing)
    }

    /// As where a cache is closed. Gives what it takes to open it again.
    func forget(_ namespace: Namespace) -> [Floor] {
        defer { count.add(1, ordering: .releasing) }
        return floors.withLock { floors in
            defer { floors.removeAll { $0.namespace == namespace.id } }
            return floors.filter { $0.namespace == namespace.id }
        }
    }

    func know(_ forgotten: [Floor]) {
        floors.withLock { $0 += forgotten }
        count.add(1, ordering: .releasing)
    }
}
