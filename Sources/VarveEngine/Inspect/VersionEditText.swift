/// A version edit as lines of text.
enum VersionEditText {
    static func lines(_ edit: VersionEdit) -> [String] {
        head(edit) + positions(edit) + files(edit)
    }

    private static func head(_ edit: VersionEdit) -> [String] {
        var lines: [String] = []
        if let identity = edit.identity { lines.append("store \(identity.storeID), node \(identity.nodeID)") }
        if let options = edit.options {
            lines.append(
                "features \(hexadecimal(options.requiredFeatures))/\(hexadecimal(options.optionalFeatures)),"
                    + " \(options.levelCount) levels, key order \(options.keyOrder)")
        }
        if let number = edit.nextFileNumber { lines.append("next file number \(number)") }
        return lines
    }

    private static func positions(_ edit: VersionEdit) -> [String] {
        var lines: [String] = []
        if let flushed = edit.flushed { lines.append("flushed \(flushed)") }
        if let time = edit.lastCommitTime { lines.append("last commit time \(time)") }
        if let clock = edit.clock {
            lines.append("store clock \(clock.reading), offset \(clock.offset)\(clock.isFrozen ? ", frozen" : "")")
        }
        for origin in edit.timelines {
            let parent = origin.parent.map { "from \($0)" } ?? "without parent"
            lines.append("timeline \(origin.timeline) \(parent) after LSN \(origin.forkLSN): \(origin.reason)")
        }
        switch edit.origin {
        case .checkpoint(let position): lines.append("a checkpoint of \(position)")
        case .some(.none): lines.append("a checkpoint no more")
        case nil: break
        }
        for slot in edit.slots { lines.append("slot \(slot.name) at LSN \(slot.lsn), up to \(slot.capBytes) bytes") }
        for name in edit.removedSlots { lines.append("slot \(name) removed") }
        if !edit.floors.isEmpty { lines.append("\(edit.floors.count) floors raised") }
        return lines
    }

    private static func files(_ edit: VersionEdit) -> [String] {
        edit.removed.map { "- level \($0.level) \(FileName.table($0.number))" }
            + edit.added.map { added in
                let properties = added.properties
                return "+ level \(added.level) \(FileName.table(added.number)) \(properties.fileBytes) bytes,"
                    + " \(properties.entryCount) entries, LSNs \(properties.smallestLSN)...\(properties.largestLSN),"
                    + " keys \(TableInspector.key(properties.smallestKey))...\(TableInspector.key(properties.largestKey))"
            }
    }
}
