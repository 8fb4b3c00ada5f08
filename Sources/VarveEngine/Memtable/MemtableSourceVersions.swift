internal import Synchronization

/// What a memtable knows of its entries' source versions as a whole, so that "nothing older than" is answered by one
/// version of a key, however many there are.
///
/// Written by the memtable's one writer before the entry can be found, read by anyone.
final class MemtableSourceVersions: Sendable {
    private let high = Atomic<UInt64>(0)
    private let falls = Atomic<Bool>(false)

    /// The highest that any entry carries; 0 where none carries one.
    var highest: UInt64 { high.load(ordering: .acquiring) }
    /// False: the source versions of each key rise from version to version, so the newest that carries one tells.
    var mayFall: Bool { falls.load(ordering: .acquiring) }

    @inline(__always)
    static func mayCarryOne(_ entry: UnsafeRawBufferPointer) -> Bool {
        guard let flags = unsafe entry.first else { return false }
        return EntryCodec.Flags(rawValue: flags).contains(.sourceVersion)
    }

    /// Takes note of an entry that is put over another version of its key.
    @inline(never)
    func note(_ entry: UnsafeRawBufferPointer, over older: UnsafeRawBufferPointer?) {
        guard let carried = unsafe (try? EntryView(entry))?.sourceVersion else { return }
        if let older = unsafe older {
            // One without a source version says nothing of those before it.
            let before = unsafe (try? EntryView(older))?.sourceVersion
            if before.map({ $0 > carried }) ?? true { falls.store(true, ordering: .releasing) }
        }
        if carried > high.load(ordering: .relaxed) { high.store(carried, ordering: .releasing) }
    }
}
