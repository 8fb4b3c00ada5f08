import ArgumentParser
import Foundation
internal import Varve

/// A policy by the name that it has in the cache's options.
struct PolicyArgument: ExpressibleByArgument, Sendable {
    let kind: EvictionPolicyKind
    static let allValueStrings = EvictionPolicyKind.allCases.map(\.rawValue)
    var defaultValueDescription: String { kind.rawValue }

    init(_ kind: EvictionPolicyKind) { self.kind = kind }

    /// Also as the papers write it: `LRU`, `S3FIFO`, `W-TinyLFU`.
    init?(argument: String) {
        func letters(_ name: String) -> String { name.lowercased().filter { $0 != "-" } }
        guard let kind = EvictionPolicyKind.allCases.first(where: { letters($0.rawValue) == letters(argument) }) else {
            return nil
        }
        self.kind = kind
    }
}

/// `varve replay`.
struct ReplayCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay", abstract: "Measure the cache's hit ratio on a trace of requests.",
        discussion: """
            The file holds one little-endian unsigned 64-bit id a request. Each is asked of a new cache, which loads what \
            it has not; every value counts as one. Prints how many requests were answered from memory and from disk, \
            their share of all (hitRatio, a fraction), and how many entries were appended to the log or rewritten by \
            compaction (diskWrites). Without --disk-entries there is no disk tier.
            """)

    @Option(help: ArgumentHelp("Entries that memory may hold.", valueName: "count"))
    var memoryEntries: Int
    @Option(help: ArgumentHelp("Entries that the disk may hold besides, at least 32.", valueName: "count"))
    var diskEntries: Int?
    @Option(help: "Which entries leave memory first.")
    var policy = PolicyArgument(.adaptive)
    @Option(help: ArgumentHelp("Where the disk tier lies while this runs.", valueName: "folder"))
    var dir: String?
    @Flag(help: "Print JSON instead of text.")
    var json = false
    @Argument(help: "A file, or - for standard input.")
    var file: String

    func validate() throws {
        if memoryEntries < 1 { throw ValidationError("--memory-entries is a number of entries, at least 1.") }
        if let diskEntries, diskEntries < 32 {
            throw ValidationError(
                "--disk-entries is a number of entries, at least 32: the disk lets entries go by tables, and fewer entries"
                    + " are too few tables to choose among. Without it there is memory alone.")
        }
        if dir != nil, diskEntries == nil { throw ValidationError("--dir is for a disk tier: give --disk-entries.") }
    }

    func run() async throws {
        let source = try Input.open(file)
        var ids = try IDReader(source)
        var options = CacheOptions(
            memory: .entries(memoryEntries), disk: diskEntries.map { .entries($0) }, policy: policy.kind)
        // The notes for a warm restart are records too, and would count among the disk's writes.
        options.warmRestart = nil
        guard diskEntries != nil else { return try await replay(&ids, try .inMemory(options)) }
        let folder = try ReplayFolder(in: dir)
        let signals = StopSignals()
        signals.listen { number in
            folder.removeUnderWay()
            StopSignals.end(by: number)
        }
        defer {
            signals.giveWay()
            folder.remove()
        }
        try await replay(&ids, try await .open(at: folder.path, options))
    }

    private func replay(_ ids: inout IDReader, _ cache: Cache<UInt64, UInt64>) async throws {
        let bar = ProgressBar("replay")
        let total = ids.byteCount
        let outcome: Replay.Outcome
        do {
            outcome = try await Replay(cache: cache).run(&ids) { requests in
                let perSecond = UInt64(Double(requests) / max(bar.seconds, 0.001))
                bar.update(requests * 8, of: total, "\(requests) requests, \(perSecond) requests/s")
            }
        } catch {
            bar.finish()
            // The failure of the replay is what the user must see, not that of closing after it.
            try? await cache.close()
            throw error
        }
        bar.finish()
        try await cache.close()
        try report(outcome)
    }

    private func report(_ outcome: Replay.Outcome) throws {
        let members: [JSONValue.Member] = [
            .init("requests", .unsigned(outcome.requests)), .init("hits", .unsigned(outcome.hits)),
            .init("hitRatio", .number(outcome.hitRatio)), .init("memoryHits", .unsigned(outcome.memoryHits)),
            .init("diskHits", .unsigned(outcome.diskHits)), .init("diskWrites", .unsigned(outcome.diskWrites)),
        ]
        if json { return try StandardOutput.print(JSONValue.object(members).text) }
        for member in members { try StandardOutput.print("\(member.name) \(member.value.text)") }
    }
}

/// The folder of the disk tier: new, so that the cache begins empty, and gone afterwards.
private struct ReplayFolder: Sendable {
    let path: String
    /// What is removed in the end: more than the store where its parent was made for it.
    private let made: String

    /// In the system's temporary folder where none is named.
    init(in parent: String?) throws {
        let files = FileManager.default
        let parent = parent ?? NSTemporaryDirectory()
        let isNew = !files.fileExists(atPath: parent)
        path = parent + "/varve-replay-\(UUID().uuidString)"
        made = isNew ? parent : path
        try files.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    /// What cannot be removed is named; the replay stands.
    func remove() {
        do { try FileManager.default.removeItem(atPath: made) } catch {
            guard FileManager.default.fileExists(atPath: made) else { return }
            StandardError.print("varve: cannot remove \(made): \(error.localizedDescription)")
        }
    }

    /// While the store is open: what it makes meanwhile is in the way of a removal, until there is no folder to make it in.
    func removeUnderWay() {
        for _ in 0..<10 where (try? FileManager.default.removeItem(atPath: made)) != nil { return }
        remove()
    }
}
