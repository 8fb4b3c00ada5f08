internal import VarveEngine

/// Takes back to the disk what was changed in memory: deletes what it still has of it, drops the tags, makes all of that
/// durable, and only then takes the mark away. Whatever fails in between leaves the store in memory and the mark set; what
/// was written until then only hides what is hidden anyway, so the next attempt may begin anew. Blocks.
struct DiskReturn {
    let mode: DegradedMode
    private var engine: Engine { mode.engine }

    /// Throws where the disk takes no writes yet, at little cost and while changes go on in memory.
    func probe() throws(VarveError) {
        if let failure = engine.troubles.failure { throw failure }
        guard engine.hasRoomForWrites else { throw VarveError(.stalled, "background work has not caught up yet") }
        try engine.skipLSNs(upTo: .zero)
    }

    /// Nobody changes anything meanwhile.
    func run() throws(VarveError) {
        // No write gets a number that a change in memory had.
        if mode.versionsGiven > engine.appended.rawValue { try engine.skipLSNs(upTo: LSN(mode.versionsGiven)) }
        var hidesAll = false
        for shadow in mode.shadows {
            let changes = shadow.changes
            if changes.isEmpty { continue }
            hidesAll = hidesAll || changes.hidesAll
            try write(changes, in: shadow.namespace)
        }
        if hidesAll { try engine.adoptMarkedFloors() }
        try engine.sync()
        try mode.mark.clear()
    }

    private func write(_ changes: DiskShadow.Changes, in namespace: Namespace) throws(VarveError) {
        var batch = WriteBatch()
        if changes.hidesAll {
            try batch.deleteRange(from: [], to: nil, in: namespace)
        } else {
            for range in changes.ranges { try batch.deleteRange(from: range.begin, to: range.end, in: namespace) }
        }
        for (key, sourceVersion) in changes.keys {
            let fields = sourceVersion > 0 ? EntryFields(sourceVersion: sourceVersion) : .none
            try batch.delete(key, fields, in: namespace)
            try commit(&batch, atLeast: 256 << 10)
        }
        for tag in changes.tags.keys {
            try batch.put(TagStore.key(tag, in: namespace), [], in: .tagDrops)
            try commit(&batch, atLeast: 256 << 10)
        }
        try commit(&batch, atLeast: 1)
    }

    private func commit(_ batch: inout WriteBatch, atLeast bytes: Int) throws(VarveError) {
        guard batch.byteCount >= bytes else { return }
        try engine.write(batch, durability: .interval)
        batch.removeAll()
    }
}
