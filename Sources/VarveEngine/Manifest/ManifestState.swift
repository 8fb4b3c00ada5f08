/// All that a manifest says, but for the tables: the fold of its edits. A value, so that an edit is tried on a copy
/// before it is written.
struct ManifestState: Hashable, Sendable {
    var identity: StoreIdentity
    var options: BoundOptions
    var timelines: TimelineHistory
    var nextFileNumber: FileNumber
    var flushed: LogPosition
    var lastCommitTime: Timestamp
    var clock: StoreClockState
    /// The position of which this store is a checkpoint, until it is opened to write.
    var checkpointOrigin: LogPosition?
    private(set) var slots: [String: RetentionSlot] = [:]

    /// More would only be a leak: each holds back log.
    static let slotLimit = 1024

    /// From the first edit of a manifest, which says everything.
    init(snapshot edit: VersionEdit) throws(EditConflict) {
        guard let identity = edit.identity, let options = edit.options, let next = edit.nextFileNumber,
            let flushed = edit.flushed, let time = edit.lastCommitTime, let clock = edit.clock,
            let first = edit.timelines.first
        else { throw EditConflict(description: "the first edit of a manifest does not say everything") }
        self.identity = identity
        self.options = options
        self.flushed = flushed
        self.clock = clock
        nextFileNumber = next
        lastCommitTime = time
        do { timelines = try TimelineHistory(first: first) } catch { throw Self.lift(error) }
        var rest = edit
        rest.timelines.removeFirst()
        try apply(rest)
    }

    mutating func apply(_ edit: VersionEdit) throws(EditConflict) {
        if let new = edit.identity {
            guard new.storeID == identity.storeID else { throw EditConflict(description: "the store id changed") }
            identity = new
        }
        if let new = edit.options { options = new }
        if let new = edit.nextFileNumber {
            guard new >= nextFileNumber else { throw EditConflict(description: "the next file number fell") }
            nextFileNumber = new
        }
        // One that is known already is no second beginning: flushes of a follower repeat what they may.
        for origin in edit.timelines where !timelines.origins.contains(origin) {
            do throws(DecodeError) { try timelines.append(origin) } catch { throw Self.lift(error) }
        }
        if let new = edit.flushed {
            guard new.lsn >= flushed.lsn else { throw EditConflict(description: "the flushed LSN fell") }
            flushed = new
        }
        if let new = edit.lastCommitTime {
            guard new >= lastCommitTime else { throw EditConflict(description: "the commit time fell") }
            lastCommitTime = new
        }
        if let new = edit.clock { clock = new }
        switch edit.origin {
        case .checkpoint(let position)?: checkpointOrigin = position
        case VersionEdit.OriginChange.none?: checkpointOrigin = nil
        case nil: break
        }
        for name in edit.removedSlots { slots[name] = nil }
        for slot in edit.slots { slots[slot.name] = slot }
        guard slots.count <= Self.slotLimit else {
            throw EditConflict(description: "more than \(Self.slotLimit) slots")
        }
        for number in edit.added.lazy.map(\.number) where number >= nextFileNumber {
            throw EditConflict(description: "table \(number) is numbered above the next file number")
        }
    }

    /// One edit that says all of this and the tables of `version`: what a new manifest begins with.
    func snapshot(of version: Version) -> VersionEdit {
        var edit = VersionEdit()
        edit.identity = identity
        edit.options = options
        edit.timelines = timelines.origins
        edit.nextFileNumber = nextFileNumber
        edit.flushed = flushed
        edit.lastCommitTime = lastCommitTime
        edit.clock = clock
        edit.origin = checkpointOrigin.map { .checkpoint(of: $0) }
        edit.slots = slots.values.sorted { $0.name < $1.name }
        edit.floors = version.floors.raised
        for (level, content) in version.levels.enumerated() {
            for table in content.tables { edit.add(table.number, table.properties, level: level) }
        }
        return edit
    }

    private static func lift(_ error: DecodeError) -> EditConflict {
        switch error {
        case .malformed(let detail), .outOfRange(let detail), .unknown(let detail):
            return EditConflict(description: detail)
        case .truncated, .badVarint: return EditConflict(description: "\(error)")
        }
    }
}
