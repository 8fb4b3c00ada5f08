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
        var policies: [WarmNote] = []
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

    /// Reads what is there. Never fails: what cannot be read is not there, and counted.
    func read() -> Found {
        var found = Found()
        do throws(VarveError) {
            let iterator = try engine.makeIterator(in: .marks, prefix: prefix)
            try iterator.seekToFirst()
            while iterator.isValid {
                found.names.append(iterator.key)
                take(iterator.value, into: &found)
                try iterator.next()
            }
        } catch {
            found.damaged += 1
        }
        return found
    }

    private func take(_ bytes: [UInt8], into found: inout Found) {
        guard let note = WarmNote(bytes) else {
            found.damaged += 1
            return
        }
        switch note.kind {
        case .keys: if let keys = note.keys { found.lists.append(keys) } else { found.damaged += 1 }
        case .policy: found.policies.append(note)
        case .ratio: if let ratio = note.ratio { found.hitRatio = ratio } else { found.damaged += 1 }
        }
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

    func name(_ note: WarmNote) -> [UInt8] {
        prefix + [
            note.kind.rawValue, UInt8(truncatingIfNeeded: note.shard >> 8), UInt8(truncatingIfNeeded: note.shard),
        ]
    }

    private var prefix: [UInt8] { Array("warm/".utf8) + namespace.keyPrefix }
}
