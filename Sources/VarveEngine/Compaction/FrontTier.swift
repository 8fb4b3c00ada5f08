/// A tier of memory in front of the store: the reads that it answers never come to the engine, so what is read most would
/// look unread to eviction. It is asked for each entry that eviction may let go, by the threads that compact. It must answer
/// quickly, wait for nothing and not call the engine.
public protocol FrontTier: Sendable {
    /// Whether the tier holds a key and has answered reads of it lately. `key`: without its namespace.
    func isInUse(_ key: RawSpan, in namespace: UInt32) -> Bool
}

extension FrontTier {
    /// The same for a full key, which holds its namespace.
    func isInUse(_ fullKey: UnsafeRawBufferPointer, _ namespace: NamespaceID) -> Bool {
        let key = unsafe UnsafeRawBufferPointer(rebasing: fullKey[FullKey.namespaceBytes...])
        return isInUse(unsafe RawSpan(_unsafeBytes: key), in: namespace.rawValue)
    }
}
