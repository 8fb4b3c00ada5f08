import VarvePolicy

/// A cache of keys without values: what a facade does with a policy, and no more.
struct Driver {
    var policy: MemoryPolicy
    private let weight: Int
    private var slotOf: [UInt64: Int] = [:]
    private var keyOf: [Int: UInt64] = [:]
    private var free: [Int] = []
    private(set) var hits = 0
    private(set) var requests = 0

    init(_ kind: PolicyKind, capacity: Int, weight: Int = 1) {
        self.init(MemoryPolicy(kind, capacity: capacity, expectedEntries: capacity / weight), weight: weight)
    }

    init(_ policy: MemoryPolicy, weight: Int = 1) {
        self.policy = policy
        self.weight = weight
    }

    static func hash(_ key: UInt64) -> UInt64 { (key &+ 1) &* 0x9E37_79B9_7F4A_7C15 }

    var ratio: Double { Double(hits) / Double(max(1, requests)) }
    var keys: Set<UInt64> { Set(slotOf.keys) }

    /// True if the key was there; it is afterwards, unless the policy lets it go at once.
    @discardableResult
    mutating func request(_ key: UInt64) -> Bool {
        if hit(key) { return true }
        bringIn(key)
        return false
    }

    /// A read of a key that a slower tier has. True if the policy let it in, or it was there.
    @discardableResult
    mutating func read(_ key: UInt64) -> Bool {
        if hit(key) { return true }
        guard policy.admitsRead(hash: Driver.hash(key), weight: weight) else { return false }
        bringIn(key)
        return true
    }

    private mutating func hit(_ key: UInt64) -> Bool {
        requests += 1
        guard let slot = slotOf[key] else { return false }
        hits += 1
        policy.hit(slot)
        return true
    }

    private mutating func bringIn(_ key: UInt64) {
        let slot = free.popLast() ?? keyOf.count
        slotOf[key] = slot
        keyOf[slot] = key
        policy.admit(slot, hash: Driver.hash(key), weight: weight)
        while let left = policy.victim() {
            if let gone = keyOf.removeValue(forKey: left) { slotOf[gone] = nil }
            free.append(left)
        }
    }
}
