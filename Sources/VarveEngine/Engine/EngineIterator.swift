/// Walks the entries of one namespace in key order, both ways, as of one moment: writes made after it was made do not
/// show, nor do deleted and expired entries.
///
/// It holds what it reads from: memory and files stay until it is let go. One thread at a time. Its members block where
/// the disk must be read; from tasks use `Engine.scan`. After an error it is invalid until the next seek.
public final class EngineIterator {
    private let cursor: VisibleCursor
    // Kept alive for the cursor: memtables and tables.
    private let pin: ReadStateCell.Pin
    private let snapshot: Snapshot?
    private let namespace: NamespaceID

    init(cursor: VisibleCursor, pin: ReadStateCell.Pin, snapshot: Snapshot?, namespace: NamespaceID) {
        self.cursor = cursor
        self.pin = pin
        self.snapshot = snapshot
        self.namespace = namespace
    }

    /// Whether it stands at an entry. A new iterator stands nowhere: seek first.
    public var isValid: Bool { cursor.isValid }

    public func seekToFirst() throws(VarveError) { try cursor.seekToFirst() }
    public func seekToLast() throws(VarveError) { try cursor.seekToLast() }

    /// To the first entry at or after `key`.
    public func seek(to key: [UInt8]) throws(VarveError) {
        unsafe try FullKey.make(namespace, key).withBytes { (key) throws(VarveError) in unsafe try cursor.seek(to: key)
        }
    }

    /// To the last entry before `key`.
    public func seek(before key: [UInt8]) throws(VarveError) {
        unsafe try FullKey.make(namespace, key).withBytes { (key) throws(VarveError) in
            unsafe try cursor.seek(before: key)
        }
    }

    /// To the next entry; invalid after the last one. Traps where it is not valid.
    public func next() throws(VarveError) { try cursor.next() }
    /// To the entry before; invalid before the first one. Traps where it is not valid.
    public func previous() throws(VarveError) { try cursor.previous() }

    /// The key, copied out.
    public var key: [UInt8] { unsafe Array(cursor.userKey) }
    /// The value, copied out.
    public var value: [UInt8] { unsafe Array(cursor.value) }
    /// The LSN of the write that made the entry.
    public var version: LSN { cursor.version }

    var currentEntry: UnsafeRawBufferPointer { unsafe cursor.entry }

    /// The fields beside the value.
    public func fields() throws(VarveError) -> EntryFields {
        do throws(DecodeError) { return unsafe try EntryView(cursor.entry).fields() } catch {
            throw VersionDamage.entry(error, Trailer(cursor.version, .put))
        }
    }

    /// Lends key and value without copying them; the spans are good within `body`.
    @inline(__always)
    public func withEntry<R, E: Error>(_ body: (_ key: RawSpan, _ value: RawSpan) throws(E) -> R) throws(E) -> R {
        try unsafe body(cursor.userKey.bytes, cursor.value.bytes)
    }
}
