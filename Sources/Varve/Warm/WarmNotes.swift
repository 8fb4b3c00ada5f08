internal import VarveEngine

/// Where a cache's notes for its next start lie: records of the store, so that they come and go with the data, to
/// checkpoints and replicas as well. Its members block.
struct WarmNotes: Sendable {
    let engines: EngineCell
    let namespace: Namespace

    var engine: Engine { engines.current }

    /// What an earlier process left.
    struct Found: Sendable {
        /// Lists by shard, each hottest first.
        var lists: [[[UInt8]]] = []
        /// The states that are whole.
        var states: [WarmStates.Found] = []
        var hitRatio: Double?
        var damaged = 0
        /// Under which the notes lie.
        var names: [[UInt8]] = []

        /// All keys, hottest first: the lists' in turn.
        var keys: [[UInt8]] {
            var merged: [[UInt8]] = []
            merged.reserveCapacity(lists.reduce(0) { $0 + $1.count })
            for rank in 0..<(lists.map(\.count).max() ?? 0) {
                for list in lists where rank < list.count { merged.append(list[rank]) }
            }
            return merged
        }
    }

    /// Reads what is there. Never fails: what cannot be read is not there, and counted. Pieces of a state that is not whole
    /// are no damage: a killed process leaves them.
    func read() -> Found {
        var found = Found()
        var states = WarmStates()
        do throws(VarveError) {
            let iterator = try engine.makeIterator(in: .marks, prefix: prefix)
            try iterator.seekToFirst()
            while iterator.isValid {
                found.names.append(iterator.key)
                if let note = WarmNote(iterator.value) { states.take(note) } else { found.damaged += 1 }
                try iterator.next()
            }
        } catch {
            found.damaged += 1
        }
        found.states = states.latest()
        for state in found.states.map(\.state) {
            switch state.kind {
            case .keys: if let keys = state.keys { found.lists.append(keys) } else { found.damaged += 1 }
            case .policy: break
            case .ratio: if let ratio = state.ratio { found.hitRatio = ratio } else { found.damaged += 1 }
            }
        }
        return found
    }

    /// It need not survive a power cut: an older note, or none, does no harm.
    func write(_ note: WarmNote) throws(VarveError) -> Int {
        let bytes = note.encoded()
        try engine.put(name(note), bytes, in: .marks, durability: .interval)
        return bytes.count
    }

    func remove(_ name: [UInt8]) throws(VarveError) {
        try engine.delete(name, in: .marks, durability: .interval)
    }

    func remove(_ piece: NoteRoom.Piece) throws(VarveError) {
        try remove(name(piece.place.subject, piece.place.number, piece.index))
    }

    /// Under which anything of this cache lies.
    func names() throws(VarveError) -> [[UInt8]] {
        let iterator = try engine.makeIterator(in: .marks, prefix: prefix)
        var names: [[UInt8]] = []
        try iterator.seekToFirst()
        while iterator.isValid {
            names.append(iterator.key)
            try iterator.next()
        }
        return names
    }

    /// What a shard's notes may take now (`NoteRoom`): limits change, and caches join. `caches`: so many share the store's
    /// bound; nil: nobody knows, and it is as many as have a name.
    func share(shards: Int, caches: Int?) -> Int? {
        let statistics = engine.statistics
        let quota = engine.statistics(of: namespace).limit?.bytes
        return NoteRoom.share(
            disk: statistics.diskBudgetBytes, caches: caches ?? max(1, statistics.namespaces.count), quota: quota,
            shards: shards)
    }

    /// How many caches of the store have notes, with this one. A name that was opened once, or notes nothing, counts for none.
    func cachesWithNotes() throws(VarveError) -> Int {
        let iterator = try engine.makeIterator(in: .marks, prefix: WarmNotes.allNotes)
        var caches = 1
        try iterator.seekToFirst()
        while iterator.isValid {
            let cache = Array(iterator.key.prefix(prefix.count))
            if cache != prefix { caches += 1 }
            // On to the next cache's: no name of a note begins so.
            try iterator.seek(to: cache + [UInt8.max])
        }
        return caches
    }

    /// Where a note lies.
    func name(_ note: WarmNote) -> [UInt8] { name(note.subject, note.number, note.piece.index) }

    /// Where a state's piece lies: states take turns at two places, so that one stays whole while the next is written.
    func name(_ subject: WarmState.Subject, _ number: UInt64, _ piece: UInt16) -> [UInt8] {
        var name = prefix + [subject.kind.rawValue]
        for value in [subject.shard, UInt16(number & 1), piece] {
            name += [UInt8(truncatingIfNeeded: value >> 8), UInt8(truncatingIfNeeded: value)]
        }
        return name
    }

    /// Under which a state lies that was found.
    func names(_ found: WarmStates.Found) -> [[UInt8]] {
        (0..<found.pieces).map { name(found.state.subject, found.number, $0) }
    }

    private static var allNotes: [UInt8] { Array("warm/".utf8) }
    private var prefix: [UInt8] { WarmNotes.allNotes + namespace.keyPrefix }
}
