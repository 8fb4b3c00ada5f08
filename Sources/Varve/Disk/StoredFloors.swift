/// The floors of a cache as the disk has them, and some of those before: what compaction goes by. A value; bounded.
///
/// A floor that is raised anew takes the place of the one before, and what that one hid is hidden since then for readers, but
/// could be let go only for who reads at the new record or later. Where somebody always reads as of a while ago, and a floor
/// moves along with the clock, nothing would ever go. So it is remembered for a while what was hidden since when: by this process
/// alone, as its readers are.
struct StoredFloors: Hashable, Sendable {
    private(set) var floors = PrefixFloors()
    /// Those before, the oldest first.
    private(set) var former: [PrefixFloors] = []

    /// Of those before.
    static let mostFormer = 8

    mutating func note(_ next: PrefixFloors) {
        if next == floors { return }
        if !floors.isEmpty { former.append(floors) }
        floors = next
        if former.count > StoredFloors.mostFormer { thinOut() }
    }

    /// Leaves out the one that is missed least: the older they are the further apart they may be, since a reader as of long ago
    /// then has one that is not much older than itself.
    private mutating func thinOut() {
        let times = former.map { Double($0.latest ?? 0) }
        let now = Double(floors.latest ?? 0)
        func gap(_ index: Int) -> Double { (times[index + 1] - times[index - 1]) / max(1, now - times[index - 1]) }
        if let least = (1..<former.count - 1).min(by: { gap($0) < gap($1) }) { former.remove(at: least) }
    }

    /// Since when at the latest an entry is hidden; nil: it may be served. What was hidden once stays so.
    func earliest(hiding key: RawSpan, sourceVersion: UInt64, version: UInt64) -> UInt64? {
        // Most entries stand: these are asked about once.
        guard let present = floors.earliest(hiding: key, sourceVersion: sourceVersion, version: version) else {
            return nil
        }
        for floors in former {
            if let since = floors.earliest(hiding: key, sourceVersion: sourceVersion, version: version) { return since }
        }
        return present
    }
}
