internal import Synchronization
internal import VarveEngine

/// Tells eviction on disk what is read in memory, where most reads of what is hottest end. Without this the disk would forget
/// just that first, and a restart would begin without it.
///
/// It belongs to the store and outlives its engines. Any thread.
final class MemoryInFront: FrontTier {
    /// By namespace, until the cache ends. Held here, so that no thread that asks ever has the last reference: with it go the
    /// values, whose ends may run code of their owner's.
    private let caches = Mutex<[UInt32: any KeyUse]>([:])

    func add(_ memory: any KeyUse, of namespace: Namespace) {
        let before = caches.withLock { $0.updateValue(memory, forKey: namespace.number) }
        _ = before
    }

    /// A cache has ended. Another that was opened under its name meanwhile stays.
    func remove(_ memory: any KeyUse, of namespace: Namespace) {
        let removed = caches.withLock { caches in
            caches[namespace.number] === memory ? caches.removeValue(forKey: namespace.number) : nil
        }
        _ = removed
    }

    func takeUse(of key: RawSpan, in namespace: UInt32) -> Bool {
        caches.withLock { $0[namespace]?.takeUse(of: key) ?? false }
    }
}

/// Knows which keys are read: the memory of a cache, whatever its keys and values are.
protocol KeyUse: AnyObject, Sendable {
    func takeUse(of key: RawSpan) -> Bool
}

extension MemoryTier: KeyUse {}
