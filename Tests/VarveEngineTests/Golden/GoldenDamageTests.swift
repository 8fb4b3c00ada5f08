import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// Damaged golden files, and files of a newer format: each gives a typed error that names the file and the place, or is
/// read up to where it is whole where that is right.
@Suite("Damaged golden files") struct GoldenDamageTests {
    @Test("What each damaged file gives") func script() throws {
        let cases = Dictionary(uniqueKeysWithValues: GoldenDamage.all.map { ($0.name, $0) })
        var seen: Set<String> = []
        if ScriptTest.isRewriting { try Golden.remove("damaged") }
        try ScriptTest.run("golden-damage") { command in
            guard let damage = cases[command.name] else { return "no such case" }
            seen.insert(damage.name)
            if ScriptTest.isRewriting {
                var bytes = try Self.good(damage.file)
                try damage.change(&bytes)
                try Golden.write(bytes, damage.path)
                return GoldenDamage.outcome(bytes, damage.file)
            }
            return GoldenDamage.outcome(try Golden.bytes(damage.path), damage.file)
        }
        #expect(seen == Set(cases.keys), "the script names every case")
        #expect(try Golden.names(in: "damaged") == cases.keys.sorted(), "every folder is a case")
    }

    /// The file of today: while rewriting, the stored one may be of before.
    private static func good(_ file: FileName) throws -> [UInt8] {
        switch file {
        case .log: try GoldenLog.written()
        case .manifest: try GoldenManifest.written()
        case .table(let number): try (GoldenTable.all.first { $0.number == number } ?? .mixed).written().bytes
        case .current: try GoldenManifest.writtenCurrent()
        case .closed: try GoldenManifest.writtenClose()
        case .lock: GoldenManifest.lock.encoded()
        case .degraded: GoldenManifest.mark.encoded()
        }
    }

    /// The stored files are what the list says: good files with one thing done to them.
    @Test("Each damaged file is the good one, changed", .enabled(if: !ScriptTest.isRewriting))
    func areWhatTheySay() throws {
        for damage in GoldenDamage.all {
            let good = try Golden.bytes(damage.file.text)
            var bytes = good
            try damage.change(&bytes)
            #expect(try Golden.bytes(damage.path) == bytes, "\(damage.name)")
            #expect(bytes != good, "\(damage.name)")
        }
    }

    /// A reader never traps, and never takes a changed byte for what was written: whatever byte is flipped.
    @Test(
        "Any byte flipped", .enabled(if: !ScriptTest.isRewriting),
        arguments: [
            GoldenLog.name, GoldenManifest.name, .table(12), .table(13), .table(14), .current, .closed, .lock,
        ]) func everyByte(_ file: FileName) throws
    {
        let good = try Golden.bytes(file.text)
        let whole = GoldenDamage.outcome(good, file)
        // Nothing seals the padding of tables, which holds nothing.
        let padding = try Self.padding(good, file)
        for offset in good.indices where !padding.contains(offset) {
            var bytes = good
            bytes[offset] ^= 1 << UInt8(offset % 8)
            #expect(GoldenDamage.outcome(bytes, file) != whole, "\(file) at \(offset)")
        }
    }

    private static func padding(_ bytes: [UInt8], _ file: FileName) throws -> Set<Int> {
        guard case .table(let number) = file else { return [] }
        let table = try GoldenTable.open(bytes, number)
        var padding = Set(bytes.indices.dropLast(TableFooter.byteCount))
        for block in 0..<table.index.count { padding.subtract(try table.extent(of: block)) }
        for handle in [\.filter, \.index, \.rangeTombstones, \TableFooter.properties]
            as [KeyPath<TableFooter, BlockHandle>]
        {
            let block = table.footer[keyPath: handle]
            padding.subtract(Int(block.offset)..<Int(block.offset + block.size))
        }
        return padding
    }
}
