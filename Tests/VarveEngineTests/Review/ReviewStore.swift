import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// A small store in memory without threads of its own: what a test does happens when it does it.
struct ReviewStore {
    static let path = "/store"
    let clock = ManualClock()

    func options(_ change: (inout EngineOptions) -> Void = { _ in }) -> EngineOptions {
        var options = EngineOptions()
        options.usesThreads = false
        options.offersSocket = false
        options.memtableBytes = 64 << 10
        options.logSegmentBytes = 64 << 10
        options.clock = clock
        change(&options)
        return options
    }

    func open(
        _ files: SimulatedFileSystem, at path: String = ReviewStore.path,
        _ change: (inout EngineOptions) -> Void = { _ in }
    ) throws -> Engine {
        try Engine.open(at: path, options(change), fileSystem: files)
    }

    static func key(_ number: Int) -> [UInt8] { Array("key \(number)".utf8) }

    /// Bytes that no compression shrinks.
    static func noise(_ count: Int, _ random: inout SplitMix) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }
}
