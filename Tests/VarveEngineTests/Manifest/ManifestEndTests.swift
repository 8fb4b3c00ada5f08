import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// The end of a manifest and what stands before it: an edit that was being written is not there, anything else that does
/// not read is damage, and its place is named. Proved byte by byte.
@Suite("The manifest's end") struct ManifestEndTests {
    /// The golden manifest, and where its edits end.
    private let bytes: [UInt8]
    private let ends: [Int]

    init() throws {
        bytes = try GoldenManifest.written()
        var ends = [LogFormat.headerBytes]
        while let start = ends.last, start < bytes.count {
            ends.append(start + Int(bytes[start + 8]) + Int(bytes[start + 9]) << 8)
        }
        self.ends = ends
        #expect(ends.last == bytes.count && ends.count == GoldenManifest.edits.count + 1)
    }

    private func read(_ bytes: [UInt8], closedAt end: Int? = nil) throws -> ManifestReader {
        let system = try Golden.folder([GoldenManifest.name.text: bytes])
        return try ManifestReader.read(5, in: Golden.directory, system, closedAt: end.map { UInt64($0) }) {
            TableFile(number: $0, properties: $1)
        }
    }

    /// What the first `count` edits say.
    private func fold(_ count: Int) throws -> (state: ManifestState, numbers: [[FileNumber]]) {
        var state = try ManifestState(snapshot: GoldenManifest.edits[0])
        var version = Version.empty(flushed: state.flushed)
        for (number, edit) in GoldenManifest.edits.prefix(count).enumerated() {
            if number > 0 { try state.apply(edit) }
            version = try version.applying(edit, number: UInt64(31 + number)) {
                TableFile(number: $0, properties: $1)
            }.version
        }
        return (state, version.levels.map { $0.tables.map(\.number) })
    }

    private func check(_ found: ManifestReader, says count: Int, _ place: Comment) throws {
        let expected = try fold(count)
        #expect(found.state == expected.state, place)
        #expect(found.version.levels.map { $0.tables.map(\.number) } == expected.numbers, place)
        #expect(found.editNumber == UInt64(30 + count) && found.end == UInt64(ends[count]), place)
    }

    /// What may stand where the bytes of an edit did not get to the disk.
    private enum Rest: CaseIterable { case nothing, zeros, noise }

    private func cut(_ length: Int, _ rest: Rest) -> [UInt8] {
        switch rest {
        case .nothing: Array(bytes[..<length])
        case .zeros: bytes[..<length] + [UInt8](repeating: 0, count: bytes.count - length)
        case .noise: bytes[..<length] + GoldenLog.noise(bytes.count - length, seed: UInt64(length))
        }
    }

    @Test("Cut at every byte: the whole edits count, the torn one does not", arguments: [0, 1, 2])
    func torn(rest: Int) throws {
        let rest = Rest.allCases[rest]
        // What is behind is searched for frames at every offset: not for every length, then.
        let step = rest == .nothing ? 1 : 11
        for length in stride(from: LogFormat.headerBytes, to: bytes.count, by: step) {
            let image = cut(length, rest)
            guard image != bytes else { continue }
            // Zeros may be what stood there.
            let same = zip(image, bytes).enumerated().first { $1.0 != $1.1 }?.offset ?? image.count
            let whole = ends.lastIndex { $0 <= same } ?? 0
            let place: Comment = "cut at \(length), then \(rest)"
            if whole == 0 {
                let error = #expect(throws: VarveError.self, place) { try read(image) }
                #expect(error?.code == .corruption && error?.offset == UInt64(ends[0]), place)
            } else {
                try check(try read(image), says: whole, place)
            }
            // Where the record of the close says that all of it was there, it is damage.
            let error = #expect(throws: VarveError.self, place) { try read(image, closedAt: bytes.count) }
            #expect(error?.code == .corruption && error?.offset == UInt64(ends[whole]), place)
        }
    }

    @Test("Cut within the header") func tornHeader() throws {
        for length in 0..<LogFormat.headerBytes {
            let error = #expect(throws: VarveError.self, "\(length)") { try read(cut(length, .nothing)) }
            #expect(error?.code == .corruption && error?.offset == 0, "\(length)")
        }
    }

    @Test("Every byte flipped: damage where something stands behind it, named with its edit's offset") func flipped()
        throws
    {
        for offset in LogFormat.headerBytes..<bytes.count {
            var image = bytes
            image[offset] ^= 1 << UInt8(offset % 8)
            let edit = (ends.firstIndex { $0 > offset } ?? 0) - 1
            let place: Comment = "byte \(offset) of edit \(edit)"
            if edit + 1 == GoldenManifest.edits.count {
                // Nothing proves that the last one had been synced...
                try check(try read(image), says: edit, place)
                // ...unless the store was closed.
                let error = #expect(throws: VarveError.self, place) { try read(image, closedAt: bytes.count) }
                #expect(error?.code == .corruption && error?.offset == UInt64(ends[edit]), place)
            } else {
                let error = #expect(throws: VarveError.self, place) { try read(image) }
                #expect(error?.code == .corruption && error?.offset == UInt64(ends[edit]), place)
                #expect(error?.path == GoldenManifest.name.path(in: Golden.directory), place)
            }
        }
    }

    /// An edit cut out of the middle, or one that stands twice: whole frames that do not continue one another.
    @Test("Edits out of order are damage") func order() throws {
        let edits = (0..<GoldenManifest.edits.count).map { Array(bytes[ends[$0]..<ends[$0 + 1]]) }
        let header = Array(bytes[..<LogFormat.headerBytes])
        for order in [[0, 2, 3], [0, 1, 3], [0, 2, 1, 3], [0, 1, 1, 2], [0, 1, 1], [1, 2, 3], [1, 0]] {
            let image = header + order.flatMap { edits[$0] }
            let error = #expect(throws: VarveError.self, "\(order)") { try read(image) }
            #expect(error?.code == .corruption, "\(order)")
        }
    }
}
