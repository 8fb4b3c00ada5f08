internal import Synchronization
internal import VarveEngine

/// Tells eviction on disk what is read in memory, where most reads of what is hottest end. Without this the disk would forget
/// just that first, and a restart would begin without it.
///
/// It belongs to the store and outlives its engines. Any thread.
final class MemoryInFront: FrontTier {
    private struct Known {
        weak var memory: (any KeyUse)?
    }
    /// By namespace. Caches come and go; one that opens under a name takes the place of the one before.
    private let caches = Mutex<[UInt32: Known]>([:])

    func add(_ memory: any KeyUse, of namespace: Namespace) {
        caches.withLock { caches in
            caches = caches.filter { $0.value.memory != nil }
            caches[namespace.number] = Known(memory: memory)
        }
    }

    func isInUse(_ key: RawSpan, in namespace: UInt32) -> Bool {
        // The reference goes out of the lock: it may be the last.
        let memory = caches.withLock { $0[namespace]?.memory }
        return memory?.isInUse(key) ?? false
    }
}

/// Knows which keys are in use: the memory of a cache, whatever its keys and values are.
protocol KeyUse: AnyObject, Sendable {
    func isInUse(_ key: RawSpan) -> Bool
}

extension MemoryTier: KeyUse {}
