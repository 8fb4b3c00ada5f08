/// Puts the records of a batch's payload into a memtable: the same step for a write, for recovery and for a follower.
enum MemtableInserter {
    /// Inserts every record, giving each the next LSN from `first`, and counts it. `key` is scratch space. False where the memtable has
    /// no room, or the payload is malformed or does not hold `count` records: what was inserted up to there stays, and
    /// must not become visible.
    static func insert(
        _ payload: UnsafeRawBufferPointer, from first: LSN, count: UInt64, into memtable: Memtable,
        key: inout ByteBuffer, traffic: inout NamespaceTraffic
    ) -> Bool {
        var reader = unsafe BatchReader(payload)
        var lsn = first
        let end = first.advanced(by: count)
        do {
            while let record = try reader.next() {
                // One more would take the LSN of the next batch.
                if lsn == end { return false }
                key.removeAll()
                key.appendFixed(record.namespace.rawValue.byteSwapped)
                unsafe key.append(record.key)
                if record.kind == .rangeDelete {
                    insertRange(record, lsn, into: memtable, begin: key.array())
                } else if unsafe !memtable.insert(
                    key: key.bytes, trailer: Trailer(lsn, record.kind), entry: record.entry)
                {
                    return false
                }
                traffic.add(record.namespace, bytes: unsafe record.key.count + record.entry.count)
                lsn = lsn.next
            }
            return lsn == end
        } catch {
            return false
        }
    }

    private static func insertRange(
        _ record: BatchRecord, _ lsn: LSN, into memtable: Memtable, begin: [UInt8]
    ) {
        let end: [UInt8]
        if unsafe record.entry.isEmpty {
            // The first key of the next namespace; beyond the last one, the longest key there can be.
            end =
                FullKey.successor(ofPrefix: FullKey.make(record.namespace, []))
                ?? [UInt8](repeating: 0xFF, count: Limits.fullKeyBytes + 1)
        } else {
            end = unsafe FullKey.make(record.namespace, Array(record.entry))
        }
        memtable.addRangeTombstone(begin: begin, end: end, lsn: lsn)
    }

    /// How many records a payload holds, every one of them well formed.
    static func count(_ payload: UnsafeRawBufferPointer) throws(DecodeError) -> UInt64 {
        var reader = unsafe BatchReader(payload)
        var count: UInt64 = 0
        while try reader.next() != nil { count += 1 }
        return count
    }

    /// An empty memtable. Beyond `limit` it holds what a last batch may add; that is address space, not memory.
    ///
    /// - Throws: `.limitExceeded` where no arena has `atLeast` bytes.
    static func makeMemtable(limit: Int, atLeast: Int, like previous: Memtable?) throws(VarveError) -> Memtable {
        // What one large batch brought beyond the limit need not come again.
        let keys = min(previous?.keyCount ?? 0, limit / 64)
        let most = Limits.memtableBytes - MemtableHashIndex.initialBytes(expectedKeys: keys)
        guard atLeast <= most else {
            throw VarveError(
                .limitExceeded, "one memtable would need \(atLeast) bytes of address space for it; \(most) is the most")
        }
        let wanted = max(limit * 2 + (32 << 20), limit + atLeast * 2)
        return try Memtable(capacity: min(wanted, most), expectedKeys: keys)
    }
}
