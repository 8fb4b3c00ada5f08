/// How large each level should be, from how large the levels are.
///
/// The last level is taken as it is, and each one above it gets a tenth (the multiplier) of the one beneath, up to the
/// base level, the one that takes level 0; levels between 0 and the base stay empty. So whatever the store's size, about
/// nine tenths of it lie in the last level, and overwritten data takes about a tenth. The base level is chosen such that
/// its target is at least `baseBytes`: a smaller one would be rewritten whole by each merge of level 0 for nothing.
/// (The idea is RocksDB's dynamic level sizes; Dong et al., CIDR 2017.)
struct LevelTargets: Hashable, Sendable {
    /// The level into which level 0 is merged.
    let baseLevel: Int
    /// By level; 0 for level 0 and for those above the base, `.max` for the last.
    let bytes: [UInt64]

    /// `outputLevels`: where running compactions will put tables.
    init(levelBytes: [UInt64], outputLevels: [Int], options: CompactionOptions) {
        let last = levelBytes.count - 1
        // What lies in level n is older than all that is above: a base beneath it would put newer data under older.
        let occupied = (1..<last).first { levelBytes[$0] > 0 } ?? last
        let ceiling = min(occupied, outputLevels.filter { $0 > 0 }.min() ?? last)
        var targets = [UInt64](repeating: 0, count: levelBytes.count)
        targets[last] = .max
        var base = last
        var target = levelBytes[1...].max() ?? 0
        while base > 1 {
            target /= max(2, options.levelMultiplier)
            guard target >= options.baseBytes || base > ceiling else { break }
            base -= 1
            targets[base] = max(target, options.baseBytes)
        }
        baseLevel = base
        bytes = targets
    }

    init(_ version: Version, running: [Compaction], options: CompactionOptions) {
        self.init(
            levelBytes: version.levels.map(\.bytes), outputLevels: running.map(\.outputLevel), options: options)
    }

    /// How far a level is above its target; 1: at it.
    func score(of level: Int, bytes present: UInt64) -> Double {
        guard level >= baseLevel, bytes[level] != .max, bytes[level] > 0 else { return 0 }
        return Double(present) / Double(bytes[level])
    }

    /// About how many bytes compaction must still write until every level is within its target.
    func debt(of version: Version, options: CompactionOptions) -> UInt64 {
        let last = version.levels.count - 1
        var debt: UInt64 = 0
        var arriving: UInt64 = 0
        if options.runs == 0, version.levels[0].tables.count >= options.levelZeroTrigger {
            arriving = version.levels[0].bytes
            debt = arriving &+ version.levels[baseLevel].bytes
        }
        for level in baseLevel..<max(baseLevel, last) {
            let present = version.levels[level].bytes &+ arriving
            arriving = present > bytes[level] ? present - bytes[level] : 0
            guard arriving > 0 else { continue }
            let ratio = Double(version.levels[level + 1].bytes) / Double(max(1, present))
            debt = debt &+ UInt64(Double(arriving) * (1 + min(ratio, 100)))
        }
        return debt
    }
}
