internal import Synchronization

/// How much of each table a rewrite would let go because tags were dropped, remembered as long as the judge says the same: a
/// look costs a few questions for each table, and the picker looks often. Any thread.
final class InvalidatedShares: Sendable {
    private struct Known {
        let generation: UInt64
        let share: Double
        /// Readers at or beyond this see more of it invalidated.
        let until: LSN
    }
    private let judge: any InvalidationJudge
    private let known = Mutex<[FileNumber: Known]>([:])

    init(_ judge: any InvalidationJudge) { self.judge = judge }

    /// Of each table that has some the share of its bytes, in 0...1, that goes when it is rewritten, as its sample knows it.
    /// `reader`: the oldest of all. What it still sees does not count, or tables would be rewritten for nothing.
    func shares(of version: Version, from reader: LSN) -> [FileNumber: Double] {
        // Before the questions: an answer that is newer than this is asked for again.
        let generation = judge.generation
        if generation == 0 { return [:] }
        return known.withLock { known in
            var present: [FileNumber: Known] = [:]
            for table in version.allTables where !table.properties.tagSample.isEmpty {
                if let found = known[table.number], found.generation == generation, reader < found.until {
                    present[table.number] = found
                } else {
                    let (share, until) = table.properties.tagSample.invalidated(by: judge, from: reader)
                    present[table.number] = Known(generation: generation, share: share, until: until)
                }
            }
            known = present
            return present.compactMapValues { $0.share > 0 ? $0.share : nil }
        }
    }

    /// A rewrite that began at this generation, with this oldest reader, has left nothing in its tables that it could let go:
    /// so whatever the samples say, they are not rewritten again before something is new.
    func note(_ tables: [WrittenTable], generation: UInt64, from reader: LSN) {
        if generation == 0 { return }
        known.withLock { known in
            for table in tables where !table.properties.tagSample.isEmpty {
                let until = table.properties.tagSample.invalidated(by: judge, from: reader).until
                known[table.number] = Known(generation: generation, share: 0, until: until)
            }
        }
    }
}
