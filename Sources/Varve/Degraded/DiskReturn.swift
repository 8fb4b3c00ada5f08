internal import VarveEngine

/// Takes back to the disk what was changed in memory: deletes what it still has of it, drops the tags, makes all of that
/// durable, and only then takes the mark away. Whatever fails in between leaves the store in memory and the mark set; what
/// was written until then only hides what is hidden anyway, so the next attempt may begin anew. Blocks.
struct DiskReturn {
    let mode: DegradedMode
    private var engine: Engine { mode.engine }

    /// An engine to go on with, and what of its content nobody must see.
    struct Replacement {
        let engine: Engine
        var hidden: [Hidden] = []
    }

    struct Hidden {
        enum What {
            case key([UInt8], sourceVersion: UInt64?)
            case range(begin: [UInt8], end: [UInt8]?)
            case tag(UInt64)
            /// Floors of source versions were raised, of which the new engine may lack some, or have some that were not.
            case floors
        }
        let namespace: Namespace
        let what: What
    }

    /// Throws where the disk takes no writes yet, at little cost and while changes go on in memory. Where the engine takes
    /// none any more the store is opened anew, which may take as long as its recovery.
    func probe() throws(VarveError) -> Replacement? {
        if engine.mustBeReopened { return try reopen() }
        guard engine.hasRoomForWrites else {
            throw VarveError(
                .stalled,
                "flushes and compactions have not caught up yet, so the store stays in memory; it tries again by itself, and "
                    + "`varve stats` says how far they are")
        }
        // Where the reserve is used up by tries the return itself has to do.
        if mode.logMayGoOn { try engine.skipLSNs(upTo: .zero) }
        return nil
    }

    /// The engine that failed may have shown what the disk then lost, and what it never showed, since it was acknowledged
    /// to nobody, may be on disk all the same. Neither is to be seen: it is hidden like what was changed in memory. From
    /// other processes the mark hides it, since the new engine answers them before it is.
    private func reopen() throws(VarveError) -> Replacement {
        try mode.makeMarkDurable()
        let old = engine
        let namespaces = try old.namespaces()
        var replacement = Replacement(engine: try old.reopened())
        if old.hidesEntries {
            for namespace in namespaces + [.loadProgress] {
                replacement.hidden.append(Hidden(namespace: namespace, what: .range(begin: [], end: nil)))
            }
        }
        old.forEachChange(beyond: min(old.visible, replacement.engine.foundEnd), in: namespaces) { namespace, change in
            switch change {
            case .key(let key, _) where namespace == .tagDrops:
                guard let tag = UInt64(keyBytes: key.suffix(8)),
                    let dropped = namespaces.first(where: { key.starts(with: $0.keyPrefix) })
                else { return }
                replacement.hidden.append(Hidden(namespace: dropped, what: .tag(tag)))
            case .key(let key, _) where namespace == .sourceFloors:
                guard let raised = namespaces.first(where: { key == $0.keyPrefix }) else { return }
                replacement.hidden.append(Hidden(namespace: raised, what: .floors))
            case .key(let key, let version):
                replacement.hidden.append(Hidden(namespace: namespace, what: .key(key, sourceVersion: version)))
            case .range(let begin, let end):
                replacement.hidden.append(Hidden(namespace: namespace, what: .range(begin: begin, end: end)))
            }
        }
        return replacement
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
        for (namespace, floors) in mode.unsavedFloors {
            try engine.put(namespace.keyPrefix, floors.bytes, in: .sourceFloors, durability: .interval)
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
        for (tag, version) in changes.tags {
            try batch.put(
                TagStore.key(tag, in: namespace), TagStore.value(ofDropAt: version), in: .tagDrops)
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
