/// One change of the store's metadata: applied to a version it makes the next. The manifest is a log of these, and an
/// edit is all or nothing, since it is one frame.
///
/// Absent fields change nothing. Format: docs/formats/manifest.md.
struct VersionEdit: Hashable, Sendable {
    /// A table that joins a level.
    struct AddedTable: Hashable, Sendable {
        var level: Int
        var number: FileNumber
        var properties: TableProperties
    }
    /// A table that leaves a level. One that is added elsewhere by the same edit has moved.
    struct RemovedTable: Hashable, Sendable {
        var level: Int
        var number: FileNumber
    }
    /// Marks a store as a checkpoint, or takes the mark away (when it is first opened to write).
    enum OriginChange: Hashable, Sendable {
        case checkpoint(of: LogPosition)
        case none
    }

    var identity: StoreIdentity?
    var options: BoundOptions?
    var nextFileNumber: FileNumber?
    /// The tables hold every change up to here; replay of the log begins after it.
    var flushed: LogPosition?
    var lastCommitTime: Timestamp?
    var clock: StoreClockState?
    /// Timelines begun, in order.
    var timelines: [TimelineOrigin] = []
    var origin: OriginChange?
    var slots: [RetentionSlot] = []
    var removedSlots: [String] = []
    /// Floors raised by what the same edit drops.
    var floors: [FloorTable.Floor] = []
    var removed: [RemovedTable] = []
    var added: [AddedTable] = []

    var isEmpty: Bool { self == VersionEdit() }

    mutating func add(_ number: FileNumber, _ properties: TableProperties, level: Int) {
        added.append(AddedTable(level: level, number: number, properties: properties))
    }
    mutating func remove(_ number: FileNumber, level: Int) {
        removed.append(RemovedTable(level: level, number: number))
    }
}
