import Testing
import VarveTestSupport

@testable import VarveEngine

/// The dropping rule on small histories that people can follow: as a script.
@Suite struct RetentionScriptTests {
    @Test("Retention script") func script() throws {
        try ScriptTest.run("retention") { command in
            guard command.name == "merge" else { return "no such command" }
            return try merge(command)
        }
    }

    /// Forgets the keys it is told to.
    private final class Forgetter: EvictionPass {
        let hashes: Set<UInt64>
        init(_ keys: [[UInt8]]) { hashes = Set(keys.map { $0.lend { unsafe XXH3.hash64($0) } }) }
        func shouldEvict(_ candidate: EvictionCandidate) -> Bool { hashes.contains(candidate.keyHash) }
    }

    /// `merge snapshots=3,5 horizon=9 now=50 beneath=a-c,x-z evict=a,b`, and sources as for cursors. Prints what becomes of
    /// each version, the range tombstones that stay, and the floors that rise.
    private func merge(_ command: ScriptCommand) throws -> String {
        let sources = try DrawnSources(command.input)
        func list(_ name: String) -> [Substring] { command.value(name)?.split(separator: ",") ?? [] }
        let beneath: KeysBeneath =
            command.value("beneath") == "all"
            ? .everything
            : KeysBeneath(
                list("beneath").map { span in
                    let ends = span.split(separator: "-").map { DrawnSources.key($0) }
                    return (ends[0], ends[ends.count - 1], false)
                })
        let rules = RetentionRules(
            snapshots: list("snapshots").map { LSN(UInt64($0) ?? 0) },
            horizon: LSN(UInt64(try command.integer("horizon") ?? 100)),
            now: Timestamp(try command.integer("now") ?? 0), tombstones: RangeTombstones(union: sources.tombstones),
            beneath: beneath)
        let evicted = list("evict").map { DrawnSources.key($0) }
        var retention = EntryRetention(rules, eviction: evicted.isEmpty ? nil : Forgetter(evicted))
        var lines: [String] = []
        let cursor = try sources.cursor()
        try cursor.seekToFirst()
        while cursor.isValid {
            let version = TestVersion(cursor)
            let verdict = unsafe try retention.judge(
                cursor.key, cursor.trailer, cursor.entry, isFromAbove: cursor.sourceIndex == 0)
            let text: String
            switch verdict {
            case .keep: text = "keep"
            case .drop: text = "drop"
            case .tombstone(nil): text = "becomes a delete"
            case .tombstone(let source?): text = "becomes a delete ^\(source)"
            }
            lines.append("\(DrawnSources.describe(version)): \(text)")
            try cursor.next()
        }
        for tombstone in rules.survivingTombstones().tombstones() {
            lines.append(
                "[\(EditScript.key(tombstone.begin)),\(EditScript.key(tombstone.end)))@\(tombstone.lsn): keep")
        }
        for floor in retention.floors { lines.append("floor of \(keys(sources, floor.slot)): \(floor.version)") }
        let counts = retention.counts
        lines.append(
            "\(counts.read) read, \(counts.kept) kept, \(counts.hidden) hidden, \(counts.tombstones) tombstones, "
                + "\(counts.expired) expired, \(counts.evicted) evicted")
        return lines.joined(separator: "\n")
    }

    private func keys(_ sources: DrawnSources, _ slot: UInt16) -> String {
        let keys = Set(sources.sources.flatMap(\.versions).map(\.key)).filter { key in
            key.lend { unsafe FloorTable.slot(ofKeyHash: XXH3.hash64($0)) } == slot
        }
        return keys.map { EditScript.key($0) }.sorted().joined(separator: " and ")
    }
}
