import Foundation
import Testing

@testable import VarveEngine

/// The seeds of the fuzzer are good inputs of their decoders, and stand in Fuzz/seeds. VARVE_REWRITE=1 writes them anew;
/// files there that no target makes are inputs that once broke a decoder, kept for ever.
@Suite struct FuzzSeedTests {
    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("seeds")

    @Test(arguments: FuzzTarget.all.map(\.name))
    func seedsDecode(_ name: String) throws {
        let target = try #require(FuzzTarget.named(name))
        for seed in try target.seeds() {
            #expect(target.decodes(seed.bytes), "\(name)/\(seed.name) does not decode")
            var mended = seed.bytes
            target.repair?(&mended)
            #expect(mended == seed.bytes, "repairing changes \(name)/\(seed.name), which is whole")
        }
    }

    @Test(arguments: FuzzTarget.all.map(\.name))
    func seedsStandInTheRepository(_ name: String) throws {
        let target = try #require(FuzzTarget.named(name))
        let folder = Self.folder.appendingPathComponent(name)
        for seed in try target.seeds() {
            let file = folder.appendingPathComponent(seed.name)
            if ProcessInfo.processInfo.environment["VARVE_REWRITE"] == "1" {
                try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
                try Data(seed.bytes).write(to: file)
            }
            let stored = try? Data(contentsOf: file)
            #expect(stored.map { Array($0) } == seed.bytes, "Fuzz/seeds/\(name)/\(seed.name) is another one")
        }
    }

    /// None of the inputs kept, nor one of them cut short or with a byte changed, may trap.
    @Test(arguments: FuzzTarget.all.map(\.name))
    func keptInputsDoNotTrap(_ name: String) throws {
        let target = try #require(FuzzTarget.named(name))
        let folder = Self.folder.appendingPathComponent(name)
        for file in try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil) {
            let bytes = Array(try Data(contentsOf: file))
            bytes.withUnsafeBytes { target.run($0) }
            for index in stride(from: 0, to: bytes.count, by: max(1, bytes.count / 32)) {
                Array(bytes[..<index]).withUnsafeBytes { target.run($0) }
                var changed = bytes
                changed[index] = ~changed[index]
                changed.withUnsafeBytes { target.run($0) }
            }
        }
    }
}
