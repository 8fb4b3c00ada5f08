/// Changes that are made together or not at all: on this store, on its followers and after a restore.
///
/// Later operations win over earlier ones on the same key. Limits are checked as operations are added; a batch that threw
/// holds what it held before. Built by one thread; it is encoded as it is built, so that committing it copies once.
public struct WriteBatch: ~Copyable, @unchecked Sendable {
    // Unchecked: the buffer has this value as its only owner.
    var payload: ByteBuffer
    /// How many operations it holds, 16 million at most; each takes one LSN.
    public private(set) var count = 0
    private let recordLimit: Int
    var conditions: [Condition] = []

    /// What must still hold when the batch is committed, or nothing of it is.
    struct Condition: Sendable {
        enum Demand: Sendable {
            /// The version that the key must still have; nil: the key must be absent.
            case version(LSN?)
            /// Nothing that the store has known of the key may have a higher source version. `regardsFloors`: nor what is
            /// left of entries that went, the key's own or those of keys that share its slot.
            case notOlder(than: UInt64, regardsFloors: Bool)
            /// Nothing may have written or removed the key after this.
            case unchanged(since: LSN)
        }
        let fullKey: [UInt8]
        let demand: Demand

        func failed(_ reason: ConditionFailure.Reason) -> VarveError {
            let key = Array(fullKey.dropFirst(FullKey.namespaceBytes))
            return .conditionFailed(ConditionFailure(key: key, reason: reason))
        }
    }

    public init() { self.init(recordLimit: Limits.batchRecords) }

    /// A test may want the limit lower.
    init(recordLimit: Int) {
        self.recordLimit = recordLimit
        payload = ByteBuffer(capacity: 512)
    }

    public var isEmpty: Bool { count == 0 }
    /// Bytes of its encoded form.
    public var byteCount: Int { payload.count }

    /// Stores a value under a key.
    public mutating func put(
        _ key: RawSpan, _ value: RawSpan, _ fields: EntryFields = .none, in namespace: Namespace = .default
    ) throws(VarveError) {
        try checkCount()
        try unsafe key.withUnsafeBytes { (key) throws(VarveError) in
            try unsafe value.withUnsafeBytes { (value) throws(VarveError) in
                try unsafe RecordWriter.put(key, value, fields, namespace.id, into: &payload)
            }
        }
        count += 1
    }

    public mutating func put(
        _ key: [UInt8], _ value: [UInt8], _ fields: EntryFields = .none, in namespace: Namespace = .default
    ) throws(VarveError) {
        unsafe try put(key.span.bytes, value.span.bytes, fields, in: namespace)
    }

    /// Makes a key absent. A `sourceVersion` stays behind as the floor below which no late writer may store.
    public mutating func delete(
        _ key: RawSpan, _ fields: EntryFields = .none, in namespace: Namespace = .default
    ) throws(VarveError) {
        try checkCount()
        try unsafe key.withUnsafeBytes { (key) throws(VarveError) in
            try unsafe RecordWriter.delete(key, fields, namespace.id, into: &payload)
        }
        count += 1
    }

    public mutating func delete(
        _ key: [UInt8], _ fields: EntryFields = .none, in namespace: Namespace = .default
    ) throws(VarveError) {
        unsafe try delete(key.span.bytes, fields, in: namespace)
    }

    /// Makes every key in [begin, end) absent; a nil end means to the end of the namespace.
    public mutating func deleteRange(
        from begin: [UInt8], to end: [UInt8]?, in namespace: Namespace = .default
    ) throws(VarveError) {
        try checkCount()
        try RecordWriter.deleteRange(begin, end, namespace.id, into: &payload)
        count += 1
    }

    /// The batch is committed only if the key still has this version, or, for nil, is absent (deleted and expired count
    /// as absent).
    public mutating func require(
        _ key: [UInt8], version: LSN?, in namespace: Namespace = .default
    ) throws(VarveError) {
        try demand(.version(version), key, namespace)
    }

    /// The batch is committed only if what it brings of the key, from `sourceVersion` of the key's source, is not older
    /// than anything that the store has known of it: an entry, be it live, expired, hidden, evicted or gone since, or a
    /// delete that named a source version. The same source version again is allowed, so that a write can be retried.
    ///
    /// What is gone is remembered as a floor in a table of fixed size, shared by all keys: so a write may be refused for
    /// what was dropped of another key (`ConditionFailure.Reason.olderSourceVersion`), but none is ever let through that
    /// is older than what its own key had.
    public mutating func requireNotOlder(
        _ key: [UInt8], than sourceVersion: UInt64, in namespace: Namespace = .default
    ) throws(VarveError) {
        try demand(.notOlder(than: sourceVersion, regardsFloors: true), key, namespace)
    }

    /// The same for a batch that makes the key absent: the batch is committed unless the store still holds something of
    /// the key itself that is newer. A floor forbids to bring back what is old, and so it stands in no removal's way.
    package mutating func requireNoneNewer(
        _ key: [UInt8], than sourceVersion: UInt64, in namespace: Namespace = .default
    ) throws(VarveError) {
        try demand(.notOlder(than: sourceVersion, regardsFloors: false), key, namespace)
    }

    /// The batch is committed only if nothing was written to the key after `since`, not even a delete of it or of its
    /// range. `since` should be recent: memory must still tell, so a flush in between refuses the batch as well
    /// (`ConditionFailure.Reason.changed`), and the caller looks again.
    package mutating func requireUnchanged(
        _ key: [UInt8], since: LSN, in namespace: Namespace = .default
    ) throws(VarveError) {
        try demand(.unchanged(since: since), key, namespace)
    }

    /// Whether it takes one operation more.
    @inline(__always)
    private func checkCount() throws(VarveError) {
        guard count < recordLimit else {
            throw VarveError(.limitExceeded, "a batch takes at most \(recordLimit) operations; split it")
        }
    }

    private mutating func demand(
        _ demand: Condition.Demand, _ key: [UInt8], _ namespace: Namespace
    ) throws(VarveError) {
        try RecordWriter.checkKey(key.count)
        guard conditions.count < Limits.conditionsPerBatch else {
            throw VarveError(.limitExceeded, "a batch takes at most \(Limits.conditionsPerBatch) conditions")
        }
        conditions.append(Condition(fullKey: FullKey.make(namespace.id, key), demand: demand))
    }

    /// Stores a value of a source version unless the key has had a newer one: with `requireNotOlder`.
    /// - Throws: `.invalidArgument` where the fields carry no source version.
    public mutating func putIfNotOlder(
        _ key: [UInt8], _ value: [UInt8], _ fields: EntryFields, in namespace: Namespace = .default
    ) throws(VarveError) {
        guard let version = fields.sourceVersion else {
            throw VarveError(.invalidArgument, "the fields carry no source version to compare")
        }
        // The condition first: the put must not be in the batch without it.
        try requireNotOlder(key, than: version, in: namespace)
        do throws(VarveError) {
            try put(key, value, fields, in: namespace)
        } catch {
            conditions.removeLast()
            throw error
        }
    }

    /// Stores an entry as it lies in a store, its fields untouched, under a full key.
    mutating func putEntry(fullKey: [UInt8], entry: [UInt8]) throws(VarveError) {
        try checkCount()
        try RecordWriter.putEntry(fullKey, entry, into: &payload)
        count += 1
    }

    public mutating func removeAll() {
        payload.removeAll()
        count = 0
        conditions = []
    }
}
