import Glibc
import VarveEngine
import VarveIO

/// Fills a real, small file system with a store, frees space, and demands that writes go on without opening it anew and
/// that nothing acknowledged is missing.
struct FullDiskRun {
    /// A folder on a file system that may be filled to the last byte.
    let directory: String

    private static let ballastBytes = 6 << 20

    private func options() -> EngineOptions {
        var options = EngineOptions()
        options.offersSocket = false
        options.memtableBytes = 1 << 20
        options.logSegmentBytes = 1 << 20
        options.compressLog = false
        options.table.codec = .stored
        options.stallLimit = .seconds(3)
        return options
    }

    private func key(_ number: Int) -> [UInt8] { Array("key\(number)".utf8) }
    private func value(_ number: Int) -> [UInt8] { [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 4000) }

    /// Returns a sentence on what was done.
    func run() throws -> String {
        let system = PosixFileSystem()
        let ballast = directory + "/ballast"
        let file = try system.open(ballast, .createNew)
        try file.allocate(UInt64(FullDiskRun.ballastBytes))
        file.close()
        let path = directory + "/store"
        let engine = try Engine.open(at: path, options())
        let (full, refusal) = try fill(engine, from: 0)
        guard refusal.code == .diskFull else {
            throw Broken("a full disk is reported as: \(refusal) (\(refusal.code))")
        }
        try check(engine, upTo: full)
        try system.remove(ballast)
        // Background work tries again every second.
        let deadline = ContinuousClock.now.advanced(by: .seconds(20))
        var later = full
        while later < full + 100 {
            do throws(VarveError) {
                try engine.put(key(later), value(later), durability: .synced)
                later += 1
            } catch {
                guard error.code == .diskFull || error.code == .stalled, ContinuousClock.now < deadline else {
                    throw Broken("there is space again, but a write fails: \(error) (\(error.code))")
                }
                usleep(100_000)
            }
        }
        try check(engine, upTo: later)
        try engine.close()
        let again = try Engine.open(at: path, options())
        try check(again, upTo: later)
        if let damage = try again.verify().damage.first { throw Broken("the store is damaged: \(damage)") }
        try again.close()
        // The place is another run's.
        for name in try system.list(path) { try system.remove(path + "/" + name) }
        try system.removeDirectory(path)
        return "\(full) writes until the disk was full, \(later - full) after \(FullDiskRun.ballastBytes >> 20) MiB "
            + "were freed, nothing missing"
    }

    /// Writes until it is refused; a few more tries must be refused as well and change nothing.
    private func fill(_ engine: Engine, from first: Int) throws -> (next: Int, refusal: VarveError) {
        var number = first
        while true {
            do throws(VarveError) {
                try engine.put(key(number), value(number), durability: number % 16 == 0 ? .synced : .interval)
                number += 1
            } catch {
                return (number, error)
            }
        }
    }

    private func check(_ engine: Engine, upTo end: Int) throws {
        for number in 0..<end {
            guard try engine.get(key(number))?.bytes == value(number) else {
                throw Broken("write \(number) of \(end) was acknowledged and is missing")
            }
        }
        if try engine.get(key(end)) != nil { throw Broken("write \(end) was refused and is there") }
    }
}
