/// Why an edit does not fit the version that it should change. From a manifest this is damage; from a running engine it
/// is a programmer's mistake that must not reach the disk.
struct EditConflict: Error, CustomStringConvertible {
    let description: String
}

extension Version {
    /// The version after `edit`. A table that moves keeps its `TableFile`; new ones come from `makeTable`. Also returns
    /// the tables that left for good.
    func applying(
        _ edit: VersionEdit, number: UInt64, makeTable: (FileNumber, TableProperties) -> TableFile
    ) throws(EditConflict) -> (version: Version, removed: [TableFile]) {
        var left: [FileNumber: TableFile] = [:]
        var tables = levels.map(\.tables)
        var changed: Set<Int> = []
        for removal in edit.removed {
            guard let index = tables[removal.level].firstIndex(where: { $0.number == removal.number }) else {
                throw EditConflict(description: "table \(removal.number) is not in level \(removal.level)")
            }
            left[removal.number] = tables[removal.level].remove(at: index)
            changed.insert(removal.level)
        }
        var present = Set(tables.joined().lazy.map(\.number))
        for addition in edit.added {
            guard present.insert(addition.number).inserted else {
                throw EditConflict(description: "table \(addition.number) is there already")
            }
            guard !addition.properties.isEmpty else {
                throw EditConflict(description: "table \(addition.number) is empty")
            }
            let moved = left.removeValue(forKey: addition.number)
            if let moved, moved.properties != addition.properties {
                throw EditConflict(description: "table \(addition.number) changed as it moved")
            }
            tables[addition.level].append(moved ?? makeTable(addition.number, addition.properties))
            changed.insert(addition.level)
        }
        let after = try levels.indices.map { level throws(EditConflict) in
            try changed.contains(level) ? Self.level(level, of: tables[level]) : levels[level]
        }
        var floors = floors
        for floor in edit.floors { floors.raise(floor) }
        let version = Version(
            editNumber: number, levels: after, floors: floors, flushed: edit.flushed ?? flushed)
        return (version, Array(left.values))
    }

    /// Sorts a level's tables and checks what must hold of them.
    private static func level(_ level: Int, of tables: [TableFile]) throws(EditConflict) -> Level {
        if level == 0 {
            let sorted = tables.sorted { $0.properties.largestLSN > $1.properties.largestLSN }
            for (newer, older) in zip(sorted, sorted.dropFirst())
            where older.properties.largestLSN >= newer.properties.smallestLSN {
                throw EditConflict(description: "tables \(older.number) and \(newer.number) of level 0 share LSNs")
            }
            return Level(sorted, isSorted: false)
        }
        let sorted = tables.sorted { $0.properties.smallestKey.lexicographicallyPrecedes($1.properties.smallestKey) }
        for (one, next) in zip(sorted, sorted.dropFirst())
        where !one.properties.isEntirely(before: next.properties.smallestKey) {
            throw EditConflict(description: "tables \(one.number) and \(next.number) of level \(level) overlap")
        }
        return Level(sorted, isSorted: true)
    }
}
