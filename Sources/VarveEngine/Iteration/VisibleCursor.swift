/// What a reader sees: of each key in the bounds the newest version at or below the snapshot, unless that is a delete,
/// is covered by a newer range tombstone, or is expired by the store clock.
///
/// Going forward, the entry is shown in place, in its source. Going backward, the newest visible version comes last
/// among the versions of its key, so one must step past it to know: key and entry are copied. Many versions that do not
/// count are jumped over by a seek.
///
/// Snapshot and clock stay as they were given, so that one walk sees one state. One thread at a time; the bytes shown
/// are good until the next move; after an error the cursor is invalid until the next seek. Who makes it keeps the
/// sources' owners (memtables, version) alive.
@safe
final class VisibleCursor {
    private enum Place { case nowhere, forward, backward }

    private let merge: MergingCursor
    private let bounds: KeyBounds
    private let newestTrailer: Trailer
    private let now: Timestamp
    private var cover: RangeTombstoneCover
    private let hasTombstones: Bool
    private var place = Place.nowhere
    /// The last user key that was decided. Forward: its older versions are skipped. Backward: the key shown.
    private let decided = KeyCopy()
    /// Backward: the entry shown.
    private let copiedEntry = KeyCopy()
    private var shownTrailer = Trailer.oldest
    private var shownEntry = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    private var shownValue = unsafe UnsafeRawBufferPointer(start: nil, count: 0)

    /// `tombstones`: of all the sources, as the snapshot sees them or newer.
    init(
        _ merge: MergingCursor, bounds: KeyBounds = .all, snapshot: LSN, now: Timestamp,
        tombstones: [RangeTombstones] = []
    ) {
        self.merge = merge
        self.bounds = bounds
        self.now = now
        newestTrailer = Trailer(seekingAt: snapshot)
        let relevant = RangeTombstones(
            union: tombstones.filter { !$0.isEmpty }.map { $0.clipped(from: bounds.lower, to: bounds.upper) })
        cover = relevant.makeCover(at: snapshot)
        hasTombstones = !relevant.isEmpty
    }

    @inline(__always)
    var isValid: Bool { place != .nowhere }
    /// The full key.
    @inline(__always)
    var key: UnsafeRawBufferPointer {
        if place == .forward { return unsafe merge.key }
        precondition(place == .backward, "the cursor is at no entry")
        return unsafe decided.bytes
    }
    /// The key without its namespace.
    @inline(__always)
    var userKey: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(rebasing: key.dropFirst(FullKey.namespaceBytes))
    }
    /// The value, in place.
    @inline(__always)
    var value: UnsafeRawBufferPointer {
        precondition(isValid, "the cursor is at no entry")
        return unsafe shownValue
    }
    /// The entry with its fields.
    @inline(__always)
    var entry: UnsafeRawBufferPointer {
        precondition(isValid, "the cursor is at no entry")
        return unsafe shownEntry
    }
    /// The LSN that wrote the entry.
    @inline(__always)
    var version: LSN {
        precondition(isValid, "the cursor is at no entry")
        return shownTrailer.lsn
    }

    func seekToFirst() throws(VarveError) { unsafe try bounds.lower.seeking(seek(to:)) }

    func seekToLast() throws(VarveError) {
        if let upper = bounds.upper { return unsafe try upper.seeking(seek(before:)) }
        reset()
        try merge.seekToLast()
        try findBackward()
    }

    /// To the first visible key at or after `key`.
    func seek(to key: UnsafeRawBufferPointer) throws(VarveError) {
        if unsafe bounds.isBelow(key) { return try seekToFirst() }
        reset()
        unsafe try merge.seek(to: key, .newest)
        try findForward()
    }

    /// To the last visible key before `key`.
    func seek(before key: UnsafeRawBufferPointer) throws(VarveError) {
        if let upper = bounds.upper, unsafe bounds.isAbove(key) && !upper.isSame(as: key) { return try seekToLast() }
        reset()
        unsafe try merge.seek(before: key, .newest)
        try findBackward()
    }

    @inline(__always)
    func next() throws(VarveError) {
        if place == .forward {
            place = .nowhere
            try merge.next()
        } else {
            precondition(place == .backward, "the cursor is at no entry")
            place = .nowhere
            unsafe try merge.seek(to: decided.bytes, .oldest)
        }
        try findForward()
    }

    @inline(__always)
    func previous() throws(VarveError) {
        if place == .forward {
            // The merge may stand among the versions of this key; go before them all.
            place = .nowhere
            unsafe try merge.seek(before: decided.bytes, .newest)
        } else {
            precondition(place == .backward, "the cursor is at no entry")
            place = .nowhere
        }
        try findBackward()
    }

    private func reset() {
        place = .nowhere
        decided.clear()
    }

    /// Steps after which versions that do not count are jumped over: a seek costs about as much as this many steps.
    private static let stepsBeforeSeek = 12

    /// From the merge's place on, to the first version that is shown.
    @inline(__always)
    private func findForward() throws(VarveError) {
        var skipped = 0
        while merge.isValid {
            let key = unsafe merge.key
            if unsafe bounds.isAbove(key) { return }
            let isOlder = unsafe decided.equals(key)
            let trailer = merge.trailer
            if isOlder || trailer > newestTrailer {
                skipped += 1
                if skipped > VisibleCursor.stepsBeforeSeek {
                    try jump(isOlder: isOlder)
                    skipped = 0
                } else {
                    try merge.next()
                }
                continue
            }
            skipped = 0
            unsafe decided.assign(key)
            if try unsafe isShown(key, trailer, merge.entry) {
                place = .forward
                return
            }
            try merge.next()
        }
    }

    /// Past the older versions of the decided key, or past the versions of the current key that are too new.
    @inline(never)
    private func jump(isOlder: Bool) throws(VarveError) {
        if isOlder {
            unsafe try merge.seek(to: decided.bytes, .oldest)
        } else {
            let target = KeyCopy()
            unsafe target.assign(merge.key)
            unsafe try merge.seek(to: target.bytes, newestTrailer)
        }
    }

    /// From the merge's place backward, to the first key with a version that is shown.
    private func findBackward() throws(VarveError) {
        while merge.isValid {
            if unsafe bounds.isBelow(merge.key) { return }
            unsafe decided.assign(merge.key)
            var found = false
            var skipped = 0
            repeat {
                let trailer = merge.trailer
                if trailer > newestTrailer {
                    skipped += 1
                    if skipped > VisibleCursor.stepsBeforeSeek {
                        unsafe try merge.seek(before: decided.bytes, .newest)
                        break
                    }
                } else {
                    shownTrailer = trailer
                    found = true
                    if trailer.kind == .delete { copiedEntry.clear() } else { unsafe copiedEntry.assign(merge.entry) }
                }
                try merge.previous()
            } while unsafe merge.isValid && decided.equals(merge.key)
            if found, try unsafe isShown(decided.bytes, shownTrailer, copiedEntry.bytes) {
                place = .backward
                return
            }
        }
    }

    /// Decides the newest version that the snapshot sees, and sets what is shown.
    @inline(__always)
    private func isShown(
        _ key: UnsafeRawBufferPointer, _ trailer: Trailer, _ entry: UnsafeRawBufferPointer
    ) throws(VarveError) -> Bool {
        guard trailer.kind == .put else {
            if trailer.kind == nil { throw VersionDamage.unknownKind(trailer) }
            return false
        }
        if hasTombstones, unsafe cover.lsn(covering: key) > trailer.lsn { return false }
        let view: EntryView
        do { view = try unsafe EntryView(entry) } catch { throw VersionDamage.entry(error, trailer) }
        if view.isExpired(at: now) { return false }
        shownTrailer = trailer
        unsafe shownEntry = entry
        unsafe shownValue = view.value
        return true
    }
}

/// A version that passed its block's checksum and still cannot be read. Where it lies is known to its table only.
enum VersionDamage {
    @inline(never)
    static func unknownKind(_ trailer: Trailer) -> VarveError {
        VarveError(
            .unsupportedFormat,
            "the record at LSN \(trailer.lsn) is of kind \(trailer.rawValue & 0xFF), which this version does not know")
    }
    @inline(never)
    static func entry(_ error: DecodeError, _ trailer: Trailer) -> VarveError {
        VarveError(.corruption, "the entry written at LSN \(trailer.lsn) is malformed (\(error)); run verify")
    }
}

extension [UInt8] {
    /// Runs a seek on these bytes.
    fileprivate func seeking(_ seek: (UnsafeRawBufferPointer) throws(VarveError) -> Void) throws(VarveError) {
        let failure: VarveError? = unsafe withUnsafeBytes { bytes -> VarveError? in
            do throws(VarveError) {
                unsafe try seek(bytes)
                return nil
            } catch {
                return error
            }
        }
        if let failure { throw failure }
    }
    fileprivate func isSame(as key: UnsafeRawBufferPointer) -> Bool {
        unsafe withUnsafeBytes { unsafe FullKey.areEqual($0, key) }
    }
}
