/// What a cache may answer while its disk fails it: a plain list of what was acknowledged.
struct DegradedModel {
    private struct Key {
        /// It is one of these.
        var values: [String?] = [nil]
        /// It may be gone: memory alone had it for a while, or nobody was told that it stands.
        var mayBeMissing = false
        /// What the disk may still have below what a load brought.
        var below: [String?] = []
    }

    private var keys: [String: Key] = [:]
    private var tags: [String: String] = [:]

    /// What may be read of a key.
    func readable(_ key: String) -> [String?] {
        let known = keys[key] ?? Key()
        return known.mayBeMissing ? known.values + [nil] : known.values
    }

    /// Whether nothing but damage excuses that a key is not there.
    func mustBeThere(_ key: String) -> Bool { !readable(key).contains(nil) }

    mutating func set(_ key: String, _ value: String, tag: String?, mayBeMissing: Bool) {
        tags[value] = tag
        keys[key] = Key(values: [value], mayBeMissing: mayBeMissing)
    }

    mutating func remove(_ isGone: (String) -> Bool) {
        for key in keys.keys where isGone(key) { keys[key] = Key() }
    }

    mutating func drop(_ tag: String) {
        for (key, known) in keys {
            let left = known.values.filter { $0.flatMap { tags[$0] } != tag }
            guard left.count < known.values.count else { continue }
            keys[key] = left.isEmpty ? Key() : Key(values: left, mayBeMissing: true)
        }
    }

    /// A change that threw: what was there stands, or is hidden with what may have become of the change.
    mutating func refuse(_ key: String, _ value: String?, tag: String?) {
        if let value { tags[value] = tag }
        keys[key, default: Key()].values.append(value)
        keys[key]?.mayBeMissing = true
    }

    /// A load's result stands, as a hint: it is promised to nobody.
    mutating func load(_ key: String, _ value: String) {
        let known = keys[key] ?? Key()
        keys[key] = Key(values: [value], mayBeMissing: true, below: known.below + known.values)
    }

    /// Only what is on disk is left; all of it, or nothing where the mark was set.
    mutating func restart(wasInMemory: Bool) {
        for key in Array(keys.keys) {
            guard var known = keys[key] else { continue }
            known.values += known.below
            if wasInMemory { known.mayBeMissing = true }
            keys[key] = known
        }
    }
}
