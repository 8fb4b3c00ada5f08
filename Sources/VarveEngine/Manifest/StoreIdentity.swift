/// Who a store is: the data it holds and the node that holds it.
struct StoreIdentity: Hashable, Sendable {
    /// Shared by a primary, its followers and its restored copies.
    var storeID: UniqueID
    /// This copy alone.
    var nodeID: UniqueID
}

/// The timelines of a store in order, from its creation to the one in force.
///
/// A position is an LSN on a timeline; the history decides whether a position that somebody shows lies on this node's
/// past. Immutable rules: ordinals and fork LSNs never fall, and each timeline left the one before it.
struct TimelineHistory: Hashable, Sendable {
    private(set) var origins: [TimelineOrigin]

    /// A history begins with a timeline that has no parent.
    init(first: TimelineOrigin) throws(DecodeError) {
        guard first.parent == nil else { throw .malformed("the first timeline has a parent") }
        origins = [first]
    }

    /// The timeline in force.
    var current: TimelineID { origins[origins.count - 1].timeline }
    var currentOrigin: TimelineOrigin { origins[origins.count - 1] }

    /// Begins a timeline that left the one in force.
    mutating func append(_ origin: TimelineOrigin) throws(DecodeError) {
        let last = currentOrigin
        guard origin.parent == last.timeline else {
            throw .malformed("timeline \(origin.timeline) did not leave \(last.timeline)")
        }
        guard origin.timeline.ordinal > last.timeline.ordinal, origin.forkLSN >= last.forkLSN else {
            throw .malformed("timeline \(origin.timeline) begins before \(last.timeline)")
        }
        origins.append(origin)
    }

    /// Whether the change at `lsn` of `timeline` lies in this history, as far as timelines can tell: whether this store
    /// has reached `lsn`, and by the same records, is for position and running hash to say.
    func contains(_ timeline: TimelineID, at lsn: LSN) -> Bool {
        guard let index = origins.firstIndex(where: { $0.timeline == timeline }) else { return false }
        return index + 1 == origins.count || lsn <= origins[index + 1].forkLSN
    }

    /// The timeline on which this history passed through `lsn`.
    func timeline(at lsn: LSN) -> TimelineID {
        // The first timeline governs from LSN zero on, so there is always one.
        let index = origins.lastIndex { lsn > $0.forkLSN } ?? 0
        return origins[index].timeline
    }
}

/// Where the store's clock stood when it was last written down.
struct StoreClockState: Hashable, Sendable {
    /// The last reading; the clock never falls below it.
    var reading: Timestamp
    /// What a restore subtracts from the wall, so that entries keep the life they had.
    var offset: Int64
    /// The clock stands still until the store is told to thaw.
    var isFrozen: Bool

    static let start = StoreClockState(reading: 0, offset: 0, isFrozen: false)
}

/// A named reader of the log (archive, follower, feed) that holds back the removal of log after its position.
struct RetentionSlot: Hashable, Sendable {
    var name: String
    /// The last LSN that the reader has made its own; log after it is kept.
    var lsn: LSN
    /// How many bytes of log may be held for it; beyond, the log goes and the reader is told of the gap.
    var capBytes: UInt64
}

/// What the format of this store depends on. Written when the store is created, checked whenever it is opened.
struct BoundOptions: Hashable, Sendable {
    /// Features without which the store cannot be read; a bit that this version does not know refuses it.
    var requiredFeatures: UInt64 = 0
    /// Features that may be ignored.
    var optionalFeatures: UInt64 = 0
    /// Levels of tables, level 0 included.
    var levelCount: UInt8 = UInt8(Limits.levels)
    /// How keys compare. 0: as raw bytes.
    var keyOrder: UInt8 = 0
    /// Slots of the floor table.
    var floorSlots: UInt32 = UInt32(FloorTable.slotCount)

    static let knownFeatures: UInt64 = 0

    /// Refuses, by name, what this version cannot hold to.
    func check(path: String) throws(VarveError) {
        func refuse(_ what: String) -> VarveError {
            VarveError(
                .unsupportedFormat, "\(path): the store \(what), which this version of Varve does not know", path: path)
        }
        let unknown = requiredFeatures & ~Self.knownFeatures
        guard unknown == 0 else { throw refuse("requires the features \(hexadecimal(unknown))") }
        guard Int(levelCount) == Limits.levels else { throw refuse("has \(levelCount) levels") }
        guard keyOrder == 0 else { throw refuse("orders keys by rule \(keyOrder)") }
        guard Int(floorSlots) == FloorTable.slotCount else { throw refuse("has \(floorSlots) floor slots") }
    }
}
