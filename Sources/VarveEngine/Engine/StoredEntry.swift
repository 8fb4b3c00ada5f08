/// An entry that was read, copied out of the store with all its fields.
public struct StoredEntry: Sendable, Hashable {
    public let bytes: [UInt8]
    /// The LSN of the write that made it: what a conditional batch compares.
    public let version: LSN
    public let fields: EntryFields

    init(entry: EntryView, version: LSN) throws(DecodeError) {
        bytes = unsafe Array(entry.value)
        self.version = version
        fields = try entry.fields()
    }
}

/// What memory alone can say of a key.
public enum MemoryProbe: Sendable, Hashable {
    case value(StoredEntry)
    /// Certainly not there: never written, deleted, expired, evicted.
    case absent
    /// The disk would have to be asked.
    case wouldBlock
}
