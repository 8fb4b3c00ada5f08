import VarveIO

@testable import Varve

/// What a plain dictionary knows of a cache with one client: values, which write made each, what an entry has beside its
/// value, and the source versions that each key and its neighbours have had.
struct StepModel {
    struct Entry {
        var value: Int
        /// Which write of the course made it.
        var write: Int
        /// Nil: it has not been told since the history began.
        var version: EntryVersion?
        var tags: Set<String> = []
        var source: UInt64?
        /// By how much a read moves the deadline; 0: by nothing.
        var idle: Int64 = 0
        /// The deadline from the write.
        var limit = Int64.max
        var until = Int64.max

        init(_ value: Int, write: Int) { (self.value, self.write) = (value, write) }

        /// Its expiry begins.
        mutating func begin(_ expiry: Expiry, at now: Int64) {
            idle = expiry.idle?.clampedNanoseconds ?? 0
            limit = expiry.usable.map { now + $0.clampedNanoseconds } ?? .max
            until = limit
            noteRead(at: now)
        }

        mutating func noteRead(at now: Int64) { if idle > 0 { until = min(limit, now + idle) } }
    }

    struct Key {
        var entry: Entry?
        /// The highest source version that the key itself has had, or that a removal of it has named.
        var known: UInt64 = 0
        /// Until when an entry may lie somewhere, served or not: a tag's drop leaves it where it is.
        var lying = Int64.min
        /// Versions that it had and has no more.
        var olds: [EntryVersion] = []
    }

    private(set) var keys: [Key]
    /// By key, where its floor is.
    let places: [UInt64]
    /// Versions of earlier histories.
    private(set) var former: [EntryVersion] = []
    private(set) var writes = 0
    private var tellers: [EntryVersion: Int] = [:]

    init(places: [UInt64]) {
        self.places = places
        keys = Array(repeating: Key(), count: places.count)
    }

    // MARK: What is right

    func live(_ key: Int, at now: Int64) -> Entry? { keys[key].entry.flatMap { $0.until > now ? $0 : nil } }

    /// The highest source version that any key at the same place has had.
    func floor(_ key: Int) -> UInt64 {
        keys.indices.filter { places[$0] == places[key] }.reduce(0) { max($0, keys[$1].known) }
    }

    /// How many entries may lie in memory or on disk with a deadline after this.
    func lying(after time: Int64) -> Int { keys.count { $0.lying > time } }

    /// The moments at which entries end.
    func deadlines(after now: Int64) -> [Int64] { keys.compactMap { $0.entry?.until }.filter { $0 > now && $0 < .max } }

    // MARK: What happens

    mutating func nextWrite() -> Int {
        writes += 1
        return writes
    }

    mutating func put(_ key: Int, _ entry: Entry) {
        retire(key)
        keys[key].entry = entry
        keys[key].lying = entry.until
        keys[key].known = max(keys[key].known, entry.source ?? 0)
    }

    mutating func remove(_ key: Int) {
        retire(key)
        keys[key].entry = nil
        keys[key].lying = .min
    }

    /// A source version was named for the key.
    mutating func name(_ source: UInt64, of key: Int) { keys[key].known = max(keys[key].known, source) }

    mutating func drop(_ tag: String) {
        for key in keys.indices where keys[key].entry?.tags.contains(tag) == true {
            retire(key)
            keys[key].entry = nil
        }
    }

    mutating func noteRead(_ key: Int, at now: Int64) {
        keys[key].entry?.noteRead(at: now)
        if let entry = keys[key].entry { keys[key].lying = max(keys[key].lying, entry.until) }
    }

    /// The cache tells an entry's version: false where it is not this write's, or some other write's as well.
    mutating func tell(_ key: Int, _ version: EntryVersion) -> Bool {
        guard let entry = keys[key].entry else { return false }
        if let known = entry.version { return known == version }
        keys[key].entry?.version = version
        if former.contains(version) || keys[key].olds.contains(version) { return false }
        return tellers.updateValue(entry.write, forKey: version) == nil
    }

    /// From here on the writes are places in another history.
    mutating func beginHistory() {
        for key in keys.indices {
            retire(key)
            former += keys[key].olds
            keys[key].olds = []
            keys[key].entry?.version = nil
        }
        tellers = [:]
    }

    private mutating func retire(_ key: Int) {
        if let version = keys[key].entry?.version { keys[key].olds.append(version) }
    }
}
