/// A value that was read, copied out of the store.
public struct StoredValue: Sendable, Hashable {
    public let bytes: [UInt8]
    /// The LSN of the write that made it: what a conditional batch compares.
    public let version: LSN
    /// The store-clock time from which it is expired; nil: never.
    public let usableUntil: Timestamp?
    /// What the value means to the layer that wrote it; 0: bytes.
    public let valueType: UInt8

    init(entry: EntryView, version: LSN) throws(DecodeError) {
        bytes = unsafe Array(entry.value)
        self.version = version
        usableUntil = entry.usableUntil == .max ? nil : entry.usableUntil
        valueType = entry.flags.contains(.valueType) ? try entry.fields().valueType : 0
    }
}
