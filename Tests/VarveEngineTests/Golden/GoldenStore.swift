import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// The golden store: tables in two levels, log beyond them, namespaces, a slot, a clean close. Written by the engine
/// itself, so its ids and salts are random: they are given names before anything is compared.
enum GoldenStore {
    static let path = "/golden/store"

    /// Reads as of an hour after the store was written, by the store clock.
    static func options(hoursLater hours: Int = 1) -> EngineOptions {
        let clock = ManualClock()
        clock.advance(by: .seconds(3600 * hours))
        return options(clock)
    }

    static func options(_ clock: ManualClock) -> EngineOptions {
        var options = EngineOptions()
        options.memtableBytes = 64 << 10
        options.logSegmentBytes = 64 << 10
        options.table.blockBytes = 512
        // As it was when the files were written.
        options.table.countsNamespaces = false
        options.table.samplesTags = false
        options.offersSocket = false
        options.usesThreads = false
        options.clock = clock
        return options
    }

    private static func key(_ number: Int) -> [UInt8] { Array("fruit/\(100 + number)".utf8) }
    private static func value(_ number: Int, _ round: Int) -> [UInt8] {
        Array("round \(round) of fruit number \(number), which is round".utf8)
    }

    /// Writes it anew. The files are all that counts.
    static func write(_ system: any FileSystem, at path: String = path) throws {
        let clock = ManualClock()
        let engine = try Engine.open(at: path, options(clock), fileSystem: system)
        let second: Int64 = 1_000_000_000
        let now = clock.wallNanoseconds
        for number in 0..<30 { try engine.put(key(number), value(number, 1)) }
        try engine.put(Array("noise".utf8), GoldenLog.noise(300))
        let orders = try engine.namespace(named: "orders")
        try engine.put(Array("42".utf8), Array("three pears".utf8), in: orders)
        try engine.put(Array("50".utf8), Array("nothing".utf8), in: orders)
        // To the last level.
        try engine.compact()
        try engine.runBackgroundWork()

        clock.advance(by: .seconds(60))
        for number in 5..<10 { try engine.put(key(number), value(number, 2)) }
        try engine.delete(key(11))
        try engine.deleteRange(from: key(20), to: key(24))
        try engine.put(
            Array("hours/half".utf8), Array("gone after 30 minutes".utf8), EntryFields(usableUntil: now + 1800 * second)
        )
        try engine.put(
            Array("hours/two".utf8), Array("gone after two hours".utf8),
            EntryFields(usableUntil: now + 7200 * second, freshUntil: now + 10 * second, sourceVersion: 8, tags: [3]))
        try engine.registerSlot("archive", at: .zero, capBytes: 1 << 20)
        // To level 0.
        try engine.flush()

        clock.advance(by: .seconds(60))
        var batch = WriteBatch()
        try batch.put(key(5), value(5, 3))
        try batch.put(key(21), value(21, 3))
        try batch.delete(key(6))
        try batch.put(Array("43".utf8), Array("a plum".utf8), in: orders)
        try engine.write(batch, durability: .synced)
        try engine.deleteRange(from: key(27), to: key(99))
        try engine.deleteRange(from: Array("5".utf8), to: nil, in: orders)
        try engine.put(Array("zz last".utf8), Array("the last write".utf8))
        // Stays in the log.
        try engine.close()
    }

    /// Every entry with its version, namespace by namespace.
    static func entries(_ engine: Engine) throws -> String {
        var text = ""
        for namespace in try [.default] + engine.namespaces().filter({ $0 != .default }) {
            text += "namespace \(namespace.name)\n"
            let iterator = try engine.makeIterator(in: namespace)
            try iterator.seekToFirst()
            while iterator.isValid {
                let value =
                    iterator.value.allSatisfy { $0 >= 0x20 && $0 < 0x7F }
                    ? String(decoding: iterator.value, as: UTF8.self)
                    : "\(iterator.value.count) bytes, hash \(hexadecimal(iterator.value.lend { unsafe XXH3.hash64($0) }))"
                let fields = try iterator.fields()
                text += "  \(String(decoding: iterator.key, as: UTF8.self)) @\(iterator.version) = \(value)"
                text += fields == .none ? "\n" : " \(describe(fields))\n"
                try iterator.next()
            }
        }
        return text
    }

    private static func describe(_ fields: EntryFields) -> String {
        "(usable until \(fields.usableUntil ?? 0), fresh until \(fields.freshUntil ?? 0), "
            + "source version \(fields.sourceVersion ?? 0), tags \(fields.tags))"
    }

    /// Every file as the inspector shows it, with names for what is random.
    static func files(_ system: any FileSystem, at path: String = path) throws -> String {
        var text = ""
        var names: [(String, String)] = []
        for name in try system.list(path).sorted() {
            guard let file = FileName(name) else { continue }
            text += "== \(name)\n\(try Golden.inspect(path + "/" + name, system))"
            guard let header = try header(file, system, path) else { continue }
            names.append(("\(header.storeID)", "STORE"))
            names.append(("\(header.nodeID)", "NODE"))
            names.append(("\(header.timeline.unique)", "TIMELINE"))
            names.append((hexadecimal(header.salt), "SALT"))
        }
        for (random, name) in names { text = replacing(random, by: name, in: text) }
        // The running hash of a manifest covers the ids.
        return text.split(separator: "\n").map { line in
            line.contains(": version-edit ") ? String(line.dropLast(16)) + "HASH" : String(line)
        }.joined(separator: "\n") + "\n"
    }

    private static func header(
        _ file: FileName, _ system: any FileSystem, _ path: String
    ) throws -> SegmentHeader? {
        let magic: UInt64
        switch file {
        case .log: magic = LogFormat.logMagic
        case .manifest: magic = LogFormat.manifestMagic
        default: return nil
        }
        let opened = try system.open(file.path(in: path), .read)
        defer { opened.close() }
        return try opened.read(count: LogFormat.headerBytes, at: 0).lend {
            unsafe try SegmentHeader(decoding: $0, magic: magic)
        }
    }

    private static func replacing(_ word: String, by name: String, in text: String) -> String {
        text.split(separator: word, omittingEmptySubsequences: false).joined(separator: name)
    }
}
