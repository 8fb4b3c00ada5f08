@testable import Varve

/// What an owner has under each key, and what those who copy from it may still be told until they have followed it: a plain
/// list beside the real caches.
struct CopyModel {
    /// What stands under a key, from its write on.
    struct Kept {
        /// Nil: its source is known to have none.
        var value: Int?
        /// In nanoseconds of the owner's store clock.
        var until = Int64.max
        var tags: Set<String> = []
        /// Whether reads at the owner move the deadline.
        var isIdle = false
    }

    private(set) var kept: [Kept?]
    /// What stood there since it was last followed for certain.
    private var before: [[Kept?]]
    /// Where the owner's log stood after the key's last change.
    private var changed: [UInt64]
    /// Every value that was ever set.
    private var all: [Int: Kept] = [:]

    init(keys: Int) {
        kept = Array(repeating: nil, count: keys)
        before = Array(repeating: [], count: keys)
        changed = Array(repeating: 0, count: keys)
    }

    /// What the owner may serve of a key.
    func alive(_ key: Int, at now: Int64) -> Kept? { kept[key].flatMap { $0.until > now ? $0 : nil } }

    func isFollowed(_ key: Int) -> Bool { before[key].isEmpty }

    /// The values that may be read beside the owner.
    func readable(_ key: Int, at now: Int64) -> [Int?] {
        ([kept[key]] + before[key]).map { kept in kept.flatMap { $0.until > now ? $0.value : nil } }
    }

    func tags(of value: Int) -> Set<String> { all[value]?.tags ?? [] }

    mutating func change(_ key: Int, to new: Kept?, endingAt place: UInt64) {
        before[key].append(kept[key])
        kept[key] = new
        changed[key] = place
        if let new, let value = new.value { all[value] = new }
    }

    mutating func drop(_ tag: String, endingAt place: UInt64) {
        for key in kept.indices where kept[key]?.tags.contains(tag) == true { change(key, to: nil, endingAt: place) }
    }

    /// Everything up to a place of the owner's log has taken effect.
    mutating func follow(upTo place: UInt64) {
        for key in kept.indices where changed[key] <= place { before[key] = [] }
    }

    /// A power cut took back what was not durable: this is what stands there now.
    mutating func findAgain(_ key: Int, _ found: Kept?) { kept[key] = found?.value.map { all[$0] } ?? found }
}
