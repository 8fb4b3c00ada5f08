/// A position in one sorted source of internal entries (a memtable, a block, a table, a level, a merge of them): key
/// ascending, newest version first. What it shows includes deletes and every version; range tombstones travel apart.
///
/// One thread at a time. The bytes shown stay valid until the next move. A cursor that threw is invalid.
protocol InternalCursor: AnyObject {
    var isValid: Bool { get }
    /// The full key (namespace and user key). Only while valid.
    var key: UnsafeRawBufferPointer { get }
    var trailer: Trailer { get }
    var entry: UnsafeRawBufferPointer { get }

    func seekToFirst() throws(VarveError)
    func seekToLast() throws(VarveError)
    /// To the first entry at or after (key, trailer).
    func seek(to key: UnsafeRawBufferPointer, _ trailer: Trailer) throws(VarveError)
    /// To the last entry before (key, trailer).
    func seek(before key: UnsafeRawBufferPointer, _ trailer: Trailer) throws(VarveError)
    func next() throws(VarveError)
    func previous() throws(VarveError)
}

/// Whether a read may wait for the disk.
enum ReadMode: Sendable {
    case mayBlock
    /// Throws `.wouldBlock` where memory alone cannot answer.
    case memoryOnly
}
