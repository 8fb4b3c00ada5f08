public import VarvePolicy

/// A part of the memory tier: entries, the table that finds them, the policy that says which goes next, and the
/// operations under way. Everything happens under the shard's lock, briefly: no I/O, no wait and no user's code but the
/// key's own: `==`, `hash(into:)` (flights and loads are found by it) and `withKeyBytes`.
///
/// What keeps it true beside a disk that changes under it:
/// - An entry carries the version that made it, and only a newer one takes its place.
/// - Whoever reads or writes a key beyond this lock (a *flight*: a disk read, a load, a write) says so first. While a
///   flight is out, the newest version that anybody made or removed is remembered, and the flight brings nothing older
///   home.
/// - While a removal of many keys is under way nothing is brought home at all.
/// - A read that does not wait needs no flight: it remembers how many changes there were (`changes`), and comes home only
///   where there was none since.
@usableFromInline
struct MemoryShard<Key: CacheKey, Value: Sendable>: ~Copyable, Sendable {
    /// Operations on one key that have left the lock and will come back.
    @usableFromInline
    struct Flight: Sendable {
        @usableFromInline var holders = 0
        /// How many of them are writing or removing the key.
        @usableFromInline var writers = 0
        /// How many of them are writing its origin: what loads bring meanwhile is not kept.
        @usableFromInline var originWriters = 0
        /// The newest change that was made meanwhile.
        @usableFromInline var newest = ChangePoint.at(0)
        /// Keys that Swift calls equal share a flight. Whether some of its holders spell theirs in other bytes than the one
        /// by which it is found.
        @usableFromInline var isSpelledTwice = false

        @usableFromInline init() {}

        /// Takes in another holder and tells how many there are then.
        @inlinable
        mutating func join() -> Int {
            holders += 1
            return holders
        }
    }

    @usableFromInline var table = SlotTable()
    @usableFromInline let entries = SlotStorage<Key, Value>()
    @usableFromInline var policy: MemoryPolicy
    @usableFromInline var counts = MemoryCounts()
    /// All slots that are free, and some that are not (any more).
    @usableFromInline var free: [UInt32] = []
    @usableFromInline var wheel: TimerWheel
    @usableFromInline var ledger: RemovalLedger
    @usableFromInline var flights: [Key: Flight] = [:]
    @usableFromInline var loads = KeyTable<Key, Load<Value>>()
    @usableFromInline var massRemovals = 0
    /// Removals of many keys of which memory is the authority, while they go through the slots.
    var passingRemovals: [PassingRemoval<Key>] = []
    /// Below which source versions nothing is taken, by prefix. Empty where the disk remembers.
    var prefixFloors = PrefixFloors()
    var touched = TouchedKeys<Key>()
    let tags: TagRegistry
    /// Whether the last entry that was found needed care: the next one most likely does.
    @usableFromInline var wasCareful = false
    /// Whether there may be a load's result that memory holds alone and the disk may take: a pass that met none says no.
    var hasLone = false
    /// Slots of entries that were found to carry a dropped tag (`isDropped`): they leave before what is worth something.
    /// Some may hold others since.
    @usableFromInline var dropped: [UInt32] = []
    /// Grows with all that a flight would be told of, and with every one that writes.
    @usableFromInline var changes: UInt64 = 0
    /// By hash, the highest source version that was dropped or removed there. Keys share places: a floor may be too high
    /// for a key, which costs a miss, never too low: no removal is refused by it, and a value that is takes what was there
    /// with it. Empty where the disk remembers.
    @usableFromInline var floors: [UInt64]

    /// What an entry takes beside its own record: its place in the table at three quarters full, the policy's and the
    /// wheel's records.
    @inlinable static var bytesBesideEntry: Int { 22 + 36 + 24 }
    /// All that an entry takes, what key and value hold outside of themselves aside.
    @inlinable
    static var bytesOfEntry: Int {
        MemoryLayout<MemoryEntry<Key, Value>.Front>.stride + MemoryLayout<EntryRecord>.stride + bytesBesideEntry
    }

    /// `isAuthority`: there is no disk, so that what must not be forgotten is remembered here.
    init(
        policy: MemoryPolicy, expectedEntries: Int, isAuthority: Bool, tags: TagRegistry = TagRegistry(), now: Int64
    ) {
        self.policy = policy
        self.tags = tags
        floors = isAuthority ? [UInt64](repeating: 0, count: 1024) : []
        wheel = TimerWheel(now: now)
        ledger = RemovalLedger(capacity: expectedEntries)
    }

    var entryCount: Int { table.count }
    var weight: Int { policy.weight }

    // MARK: Reading

    /// What memory says of a key.
    @inlinable @inline(__always)
    mutating func lookUp(_ key: Key, _ hash: UInt64, _ context: MemoryContext) -> MemoryAnswer<Value> {
        let found = table.find(hash) { slot in
            // Both parts of the entry are fetched at once then, not one after the other.
            if wasCareful { entries.prefetchBack(slot) }
            return entries[taken: slot].key == key
        }
        guard let slot = found else { return .miss }
        let carefree = entries[taken: slot].carefreeUntil
        if carefree == .max || (carefree != .min && context.latest() < carefree), let value = entries[taken: slot].value
        {
            if wasCareful { wasCareful = false }
            policy.hit(slot)
            counts.hits &+= 1
            return .hit(value)
        }
        return lookUpWithCare(slot, context)
    }

    /// The same for entries with deadlines that draw near or that reads move, tags, or nothing in them. What can be told
    /// without their types is told by the record, where it lies: here stands what is compiled for them.
    @inlinable
    mutating func lookUpWithCare(_ slot: Int, _ context: MemoryContext) -> MemoryAnswer<Value> {
        if !wasCareful { wasCareful = true }
        let found = entries[backOfTaken: slot].read(context)
        if found.isGone { return noteGone(slot, found) }
        if found.isToBeTold { touch(slot) }
        policy.hit(slot)
        counts.hits &+= 1
        guard let value = entries[taken: slot].value else { return .absent }
        return switch found.standing {
        case .stale: .stale(value)
        case .due: .due(value)
        default: .hit(value)
        }
    }

    /// A read found an entry that may no longer be served. It stays for the wheel or a pass to fetch, or for what takes its
    /// place.
    @usableFromInline
    mutating func noteGone(_ slot: Int, _ found: Reading) -> MemoryAnswer<Value> {
        let isDropped = found.standing == .dropped
        ledger.note(entries[backOfTaken: slot].hash, isDropped ? .invalidated : .expired)
        if isDropped { noteDropped(slot) }
        return .miss
    }

    /// A read moved an entry's deadline so far that the disk should be told. The wheel learns of it when it comes to the
    /// entry.
    @usableFromInline
    mutating func touch(_ slot: Int) {
        // A copy of the reference: the entry lies elsewhere, which not every build of the compiler's sees.
        let entries = entries
        touched.add(entries[taken: slot].key, &entries[backOfTaken: slot])
    }

    /// The entry of a key as it lies there, good or not; no read is counted.
    func peek(_ key: Key, _ hash: UInt64) -> MemoryEntry<Key, Value>? {
        table.find(hash) { entries[taken: $0].key == key }.flatMap { entries[$0] }
    }

    /// When the entry of a key may no longer be served; `.max` also where there is none.
    @inlinable
    func usableUntil(_ key: Key, _ hash: UInt64) -> Int64 {
        table.find(hash) { entries[taken: $0].key == key }.map { entries[backOfTaken: $0].deadlines.usableUntil }
            ?? .max
    }

    /// Whether a key, given by its bytes, is held and was hit since this was asked last, or the time before.
    mutating func takeUse(of key: RawSpan, _ hash: UInt64) -> Bool {
        let slot = table.find(hash) { slot in entries[taken: slot].key.withKeyBytes { $0.isSame(as: key) } }
        return slot.map { policy.takeUse($0) } ?? false
    }

    /// Counts a miss of memory and disk under the cause that the disk knows (`told`), or else the one that is remembered
    /// here, or else by what the disk's eviction remembers of the key.
    @usableFromInline
    mutating func noteMiss(_ hash: UInt64, _ told: MissCause? = nil, wasEvicted: Bool = false) {
        var cause = told ?? ledger.cause(hash)
        if cause == .cold, wasEvicted { cause = .evicted }
        counts.causes[cause.rawValue] &+= 1
    }

    // MARK: Flights

    /// Whether a removal of many keys is under way.
    var isRemovingMany: Bool { massRemovals > 0 }

    @inlinable
    mutating func beginFlight(_ key: Key, writes: Bool = false) {
        if flights[key, default: Flight()].join() > 1 { noteSpelling(key) }
        guard writes else { return }
        flights[key]?.writers += 1
        changes &+= 1
    }

    /// A flight that others hold has another holder.
    @usableFromInline
    mutating func noteSpelling(_ key: Key) {
        guard let index = flights.index(forKey: key) else { return }
        let isSame = key.withKeyBytes { own in flights[index].key.withKeyBytes { own.isSame(as: $0) } }
        if !isSame { flights.values[index].isSpelledTwice = true }
    }

    /// For a read that does not wait: what it has to show when it comes home. Nil where it needs a flight.
    @inlinable
    func changesBeforeRead(of key: Key, _ hash: UInt64) -> UInt64? {
        if massRemovals > 0 || (!flights.isEmpty && (flights[key]?.writers ?? 0) > 0) { return nil }
        prefetch(hash)
        return changes
    }

    /// Has the processor fetch, while the disk is asked, what will be looked at next: it lies all over memory.
    @usableFromInline
    func prefetch(_ hash: UInt64) {
        policy.prefetch(hash: hash)
        ledger.prefetch(hash)
    }

    @inlinable
    mutating func endFlight(_ key: Key, wrote: Bool = false) {
        guard var flight = flights[key] else { return }
        flight.holders -= 1
        if wrote { flight.writers -= 1 }
        flights[key] = flight.holders > 0 ? flight : nil
    }

    /// The key's origin is about to be written, or has been: a flight of its own.
    mutating func beginOriginWrite(_ key: Key) {
        beginFlight(key)
        flights[key]?.originWriters += 1
    }

    mutating func endOriginWrite(_ key: Key) {
        flights[key]?.originWriters -= 1
        endFlight(key)
    }

    /// Tells every flight of the key that a version was made or removed. A load that began before is left to those who
    /// wait for it already: who comes later must not get what is older than this.
    @inlinable
    mutating func note(_ key: Key, _ point: ChangePoint) {
        changes &+= 1
        guard !flights.isEmpty, let flight = flights[key] else { return }
        // Whatever told of something newer has parted the loads of its own spelling, not those of the other.
        guard flight.newest < point || flight.isSpelledTwice else { return }
        flights[key]?.newest = max(flight.newest, point)
        loads[key] = nil
    }

    /// Tells the flights of the key that a version was seen on disk: none of them may bring an older one home, though the
    /// write that made it has not come back yet.
    @inlinable
    mutating func noteSeen(_ key: Key, _ version: UInt64) {
        changes &+= 1
        let point = ChangePoint.at(version)
        guard !flights.isEmpty, let flight = flights[key] else { return }
        guard flight.newest < point || flight.isSpelledTwice else { return }
        if flight.writers > 0 { note(key, point) } else { flights[key]?.newest = max(flight.newest, point) }
    }

    /// A reader saw that the disk, as of `seen` or earlier, has nothing of the key that may be served. Where that is the
    /// work of a change still under way, what was there before it is served no more and no flight brings it home, and a
    /// load that began before it is no longer for those who come later.
    mutating func noteAbsent(
        _ key: Key, _ hash: UInt64, upTo seen: UInt64, _ discarded: inout Discarded<Key, Value>
    ) {
        guard massRemovals > 0 || (flights[key]?.writers ?? 0) > 0 else { return }
        note(key, .at(seen))
        discard(key, hash, olderThan: seen, &discarded)
    }

    /// A writer was refused for what the disk, as of `seen` or earlier, knows of the key. Where another writer is still under
    /// way that may be its work: then what was there before it is served no more.
    mutating func noteRefused(
        _ key: Key, _ hash: UInt64, upTo seen: UInt64, _ discarded: inout Discarded<Key, Value>
    ) {
        guard (flights[key]?.writers ?? 0) > 1 else { return }
        note(key, .at(seen))
        discard(key, hash, olderThan: seen, &discarded)
    }

    /// A drop of a tag is about to end, and covers what carries it and was written before `dropped`. A write still under way
    /// may be among that, and nobody will see then what it brought: what was there before it must not show for that.
    mutating func noteTagDropped(
        at dropped: UInt64, _ hash: (Key) -> UInt64, _ discarded: inout Discarded<Key, Value>
    ) {
        if flights.isEmpty { return }
        let written = flights.compactMap { $1.writers > 0 ? ($0, $1.isSpelledTwice) : nil }
        for (key, isSpelledTwice) in written {
            noteAbsent(key, hash(key), upTo: dropped, &discarded)
            guard isSpelledTwice else { continue }
            // Which of the two spellings is being written the flight does not say, and loads and entries go by their bytes.
            loads = KeyTable()
            for slot in entries.indices {
                guard let entry = entries[slot], entry.key == key, entry.version < dropped else { continue }
                discarded.add(remove(slot))
            }
        }
    }

    /// The source is about to be asked, and changes up to `began` do not outdate its answer. One that is still under way
    /// may be among them: then nobody may see from here on what was before it, nor join another load that may have begun
    /// before it.
    mutating func beginLoad(
        _ key: Key, _ hash: UInt64, of load: Load<Value>, at began: UInt64, _ discarded: inout Discarded<Key, Value>
    ) {
        guard let flight = flights[key], flight.writers > 0 else { return }
        flights[key]?.newest = max(flight.newest, .at(began))
        // What somebody looks for on disk beside this one may have been read before it too.
        if loads[key] !== load || load.isBesideLook { loads[key] = nil }
        changes &+= 1
        discard(key, hash, olderThan: began, &discarded)
    }

    private mutating func discard(
        _ key: Key, _ hash: UInt64, olderThan version: UInt64, _ discarded: inout Discarded<Key, Value>
    ) {
        guard let slot = table.find(hash, { entries[taken: $0].key == key }),
            entries[backOfTaken: slot].version < version
        else { return }
        discarded.add(remove(slot))
    }

    /// Whether somebody wrote or removed the key after `version` while a flight was out.
    @inlinable
    func isOutdated(_ key: Key, since version: UInt64) -> Bool {
        !flights.isEmpty && (flights[key]?.newest ?? .at(0)) > .at(version)
    }

    /// Whether the key was, or is just being, written or removed after `version`, as far as a flight that was out all the
    /// while can tell. What a load brings is so as well while the key's origin is being written.
    func mayBeOutdated(_ key: Key, since version: UInt64, isLoaded: Bool = true) -> Bool {
        guard massRemovals == 0 else { return true }
        guard let flight = flights[key] else { return false }
        return flight.writers > 0 || (isLoaded && flight.originWriters > 0) || flight.newest > .at(version)
    }

    // MARK: Changing

    /// How an entry came to be.
    @usableFromInline
    enum Origin: Sendable {
        /// By an acknowledged write of its version.
        case write
        /// Found on disk.
        case read
        /// Loaded since its version was the newest.
        case load
    }

    /// A read without a flight found an entry on disk: false where anything changed since it began. Where memory is full
    /// the policy says whether the entry comes in: the disk has it anyway, and what is not read again soon would only push
    /// others out. Never a pinned one, which has extensions and takes the way with a flight.
    @inlinable
    mutating func comeHome(
        _ entry: MemoryEntry<Key, Value>, ifStill before: UInt64, _ discarded: inout Discarded<Key, Value>
    ) -> Bool {
        guard changes == before else { return false }
        if policy.admitsRead(hash: entry.back.hash, weight: entry.back.weight) {
            _ = publish(entry, .read, &discarded)
        } else {
            noteSeen(entry.front.key, entry.back.version)
        }
        return true
    }

    /// A read without a flight found nothing on disk: false where anything changed since it began. Else the miss is counted.
    mutating func missesBoth(
        _ key: Key, _ hash: UInt64, ifStill before: UInt64, _ told: MissCause?, wasEvicted: Bool
    ) -> Bool {
        // What came between the look at memory and the beginning, and what lies there though it may not be served, is left to
        // a closer look.
        guard changes == before, table.find(hash, { entries[taken: $0].key == key }) == nil else { return false }
        noteMiss(hash, told, wasEvicted: wasEvicted)
        return true
    }

    /// Takes an entry in, unless something newer is known; false then.
    @inlinable
    mutating func publish(
        _ entry: MemoryEntry<Key, Value>, _ origin: Origin, _ discarded: inout Discarded<Key, Value>
    ) -> Bool {
        let (key, hash, version) = (entry.front.key, entry.back.hash, entry.back.version)
        let isOutdated = isOutdated(key, since: version)
        if origin == .write { note(key, .at(version)) }
        if origin == .read { noteSeen(key, version) }
        let slot = table.find(hash) { entries[taken: $0].key == key }
        if let slot {
            let present = entries[backOfTaken: slot].version
            if present > version { return false }
            if present == version, origin == .read { return true }
        }
        if isOutdated || massRemovals > 0 {
            // Whether it is newer than a removal under way only the disk can tell. But who saw it must not see next what
            // is older.
            if origin != .load, let slot { discarded.add(remove(slot)) }
            return origin == .write && !isOutdated
        }
        if let slot {
            discarded.add(entries[slot])
            replace(slot, entry)
        } else {
            insert(entry)
        }
        evict(&discarded)
        return true
    }

    /// Takes in an entry that was read from disk because an earlier process held it in memory, if there is room without an
    /// eviction. `isHot`: it counts as hit once, since it comes in before those that are worth less.
    mutating func warm(
        _ entry: MemoryEntry<Key, Value>, isHot: Bool, _ discarded: inout Discarded<Key, Value>
    ) -> Bool {
        let isNew = table.find(entry.hash) { entries[taken: $0].key == entry.key } == nil
        if isNew, entry.weight > policy.capacity - policy.weight { return false }
        guard publish(entry, .read, &discarded) else { return false }
        if isNew, isHot, let slot = table.find(entry.hash, { entries[taken: $0].key == entry.key }) { policy.hit(slot) }
        return true
    }

    /// Removes what of a key is not newer than `version`: it was deleted or invalidated there.
    mutating func erase(
        _ key: Key, _ hash: UInt64, at version: UInt64, _ discarded: inout Discarded<Key, Value>
    ) {
        erase(key, hash, .at(version), &discarded)
    }

    /// Removes what of a key is not newer than a change that took it away.
    mutating func erase(
        _ key: Key, _ hash: UInt64, _ point: ChangePoint, _ discarded: inout Discarded<Key, Value>
    ) {
        note(key, point)
        ledger.note(hash, .invalidated)
        if let slot = table.find(hash, { entries[taken: $0].key == key }), let entry = entries[slot],
            .at(entry.version) <= point
        {
            discarded.add(remove(slot))
        }
    }

    /// Gives back the memory of what has expired, looking at so many entries at a time. Exactness is not its business:
    /// reads look at the clock. True where there may be more.
    mutating func removeExpired(_ now: Int64, atMost limit: Int, _ discarded: inout Discarded<Key, Value>) -> Bool {
        var steps = limit
        while let slot = wheel.nextExpired(at: now, steps: &steps) {
            guard entries.holds(Int(slot)), let entry = entries[Int(slot)] else { continue }
            if entry.deadlines.usableUntil > now {
                // Reads have moved it since.
                wheel.schedule(slot, at: entry.deadlines.usableUntil)
                continue
            }
            ledger.note(entry.hash, .expired)
            counts.expired &+= 1
            discarded.add(remove(Int(slot), isScheduled: false))
        }
        return steps == 0
    }

    mutating func setCapacity(_ capacity: Int, _ discarded: inout Discarded<Key, Value>) {
        policy.capacity = capacity
        evict(&discarded)
    }

    /// The entries in the order of their worth to the policy, most wanted first.
    func hottest(_ limit: Int) -> [MemoryEntry<Key, Value>] {
        policy.hottest(limit).compactMap { entries[$0] }
    }

    func hottestKeys(_ limit: Int) -> [Key] { policy.hottest(limit).compactMap { entries[$0]?.key } }

    /// Changes with everything that may change which entries are worth most.
    var activity: UInt64 {
        counts.hits &+ counts.insertions &+ counts.evictions &+ counts.expired &+ UInt64(entryCount) << 48
    }

    func forEach(_ body: (MemoryEntry<Key, Value>) -> Void) {
        for slot in entries.indices { if let entry = entries[slot] { body(entry) } }
    }

    // MARK: Source versions, where there is no disk

    /// The highest source version that went, of a key or of others that share its place.
    func floor(_ hash: UInt64) -> UInt64 {
        floors.isEmpty ? 0 : floors[Int(truncatingIfNeeded: hash) & (floors.count - 1)]
    }

    @usableFromInline
    mutating func raiseFloor(_ hash: UInt64, _ version: UInt64) {
        guard !floors.isEmpty, version > 0 else { return }
        let place = Int(truncatingIfNeeded: hash) & (floors.count - 1)
        floors[place] = max(floors[place], version)
    }

    // MARK: Slots

    @inlinable
    mutating func insert(_ entry: MemoryEntry<Key, Value>) {
        let slot: Int
        if let reused = takeFree() {
            slot = reused
            entries[slot] = entry
        } else {
            slot = entries.count
            entries.append(entry)
        }
        register(slot, entry.back)
    }

    /// A free slot. Some of those that are said to be were given back, and may have been taken anew since.
    @inlinable
    mutating func takeFree() -> Int? {
        while let slot = free.popLast() {
            if slot < entries.count, !entries.isTaken[Int(slot)] { return Int(slot) }
        }
        return nil
    }

    /// Tells table, policy and wheel of an entry that has its slot.
    @usableFromInline
    mutating func register(_ slot: Int, _ record: EntryRecord) {
        table.insert(record.hash, slot: slot, object: entries.object(slot))
        policy.admit(slot, hash: record.hash, weight: record.weight, isPinned: record.traits.contains(.pinned))
        if record.deadlines.usableUntil != .max { wheel.schedule(UInt32(slot), at: record.deadlines.usableUntil) }
        ledger.forget(record.hash)
        counts.insertions &+= 1
        // A drop may have come while it was on its way. What is found alive here the sweep after a later drop finds.
        // Where there never was one, nobody waits for the others who ask.
        if record.hasTags, tags.generation > 0, !tags.keeps(record.tags, version: record.version) { noteDropped(slot) }
    }

    @usableFromInline
    mutating func replace(_ slot: Int, _ entry: MemoryEntry<Key, Value>) {
        // A write without a source version does not make older ones welcome again.
        let old = entries[backOfTaken: slot].sourceVersion
        if old > entry.sourceVersion { raiseFloor(entry.hash, old) }
        entries[slot] = entry
        table.move(entry.hash, slot: slot, object: entries.object(slot))
        policy.update(slot, weight: entry.weight, isPinned: entry.traits.contains(.pinned))
        if entry.deadlines.usableUntil != .max {
            wheel.schedule(UInt32(slot), at: entry.deadlines.usableUntil)
        } else {
            wheel.cancel(UInt32(slot))
        }
        if entry.back.hasTags, tags.generation > 0, !tags.keeps(entry.tags, version: entry.version) {
            noteDropped(slot)
        }
    }

    @usableFromInline
    mutating func remove(_ slot: Int, isScheduled: Bool = true) -> MemoryEntry<Key, Value>? {
        guard entries.isTaken[slot] else { return nil }
        policy.remove(slot)
        unregister(slot, isScheduled: isScheduled)
        return entries.take(slot)
    }

    /// The policy has let the slot go: so do table and wheel, and another entry may have it.
    @usableFromInline
    mutating func unregister(_ slot: Int, isScheduled: Bool) {
        let hash = entries[backOfTaken: slot].hash
        raiseFloor(hash, entries[backOfTaken: slot].sourceVersion)
        table.remove(hash, slot: slot)
        // Also one without a deadline: reads may have moved it so far.
        if isScheduled { wheel.cancel(UInt32(slot)) }
        free.append(UInt32(slot))
    }

    @inlinable
    mutating func evict(_ discarded: inout Discarded<Key, Value>) {
        if !dropped.isEmpty { evictDropped(&discarded) }
        while let slot = victim() { discarded.add(entries.takeFront(slot)) }
        prefetchVictim()
    }

    /// Has the next one to leave at hand.
    @inlinable
    func prefetchVictim() { if let next = policy.nextVictim { entries.prefetch(next) } }

    /// The slot that leaves for want of room, of which nothing but the entry is left.
    @usableFromInline
    mutating func victim() -> Int? {
        while let slot = policy.victim() {
            guard entries.isTaken[slot] else { continue }
            ledger.note(entries[backOfTaken: slot].hash, .evicted)
            counts.evictions &+= 1
            unregister(slot, isScheduled: true)
            return slot
        }
        return nil
    }
}
