public import VarveEngine

/// How a store is, for who looks after it at 3 a.m.: its description says what is wrong and what to do.
public struct CacheHealth: Sendable, CustomStringConvertible {
    /// How the disk is.
    public enum State: Sendable {
        /// The disk takes writes; or there is none.
        case healthy
        /// Work on disk failed and is tried again, and writes may throw meanwhile; or a table cannot be read, and compactions
        /// go round it until the store is opened anew, while writes go on.
        case hindered(VarveError)
        /// The store goes on in memory.
        case degraded(Episode)
        /// The disk takes no more writes until the store is opened anew, and they throw.
        case failed(VarveError)
    }

    /// A time during which the store goes on in memory.
    public struct Episode: Sendable {
        /// What the disk refused first.
        public var cause: VarveError
        /// How long it has lasted so far.
        public var duration: Duration
        /// How many keys, ranges and tags were changed meanwhile, as far as they are remembered one by one.
        public var changes: Int
        /// Whether it is durable that the next opening has to drop what is on disk. While it is not, changes throw.
        public var isMarkDurable: Bool
        /// Whether what the disk said when it was last tried may pass. It is tried again in any case.
        public var returnsByItself: Bool
        /// Whether the store could not be opened at all: then it is not read either, and stays so until it is opened anew.
        public var isWithoutStore = false
        /// Whether changes throw without it, as far as is known.
        var refusesChanges = false
    }

    /// Whether the disk takes writes, and why not.
    public var state: State = .healthy
    /// Reads that met damage and counted as misses, since the store was opened.
    public var damagedReads: UInt64 = 0
    /// The damage that was met last, since the store was opened.
    public var lastDamage: VarveError?
    /// How long ago that was; nil: never.
    public var sinceLastDamage: Duration?

    /// Whether nobody need look: the disk takes writes, or there is none, and no read has met damage for an hour. So what
    /// was damaged once and has been written over since alarms nobody for ever; `damagedReads` still tells of it. A table that
    /// compactions go round alarms until the store is opened anew.
    public var isHealthy: Bool {
        guard case .healthy = state else { return false }
        guard let sinceLastDamage else { return true }
        return sinceLastDamage >= CacheHealth.damageCounts
    }

    /// Whether sets and removals are taken now, on disk or in memory. True also where single ones may throw, since the disk
    /// is full off and on or does not keep up.
    public var isWritable: Bool {
        switch state {
        case .healthy, .hindered: true
        case .degraded(let episode): episode.isMarkDurable
        case .failed: false
        }
    }

    /// For how long a read that met damage makes a store unhealthy.
    private static let damageCounts = Duration.seconds(3600)

    /// For people: what is wrong, since when, and what to do.
    public var description: String {
        var text: String
        switch state {
        case .healthy: text = "healthy"
        case .hindered(let error):
            text =
                DegradedMode.isDamage(error)
                ? "a table is damaged: \(error)" : "work on disk fails and is tried again: \(error)"
        case .failed(let error): text = "writes are refused until the store is opened anew: \(error)"
        case .degraded(let episode): text = episode.description
        }
        if let lastDamage {
            let ago = sinceLastDamage.map { ", \($0.components.seconds) s ago" } ?? ""
            text += "; \(damagedReads) reads met damage and count as misses, the last\(ago): \(lastDamage)"
        }
        return text
    }
}

extension CacheHealth.Episode: CustomStringConvertible {
    /// For people: what the disk refused, and what that means for changes.
    public var description: String {
        if isWithoutStore { return textWithoutStore }
        var text = "going on in memory for \(duration.components.seconds) s: \(cause)"
        text +=
            isMarkDurable
            ? "; \(changes) changes are in memory alone, and a restart now begins cold"
            : "; the degraded mark cannot be made durable, so sets and removals throw"
        text += returnsByItself ? "; the disk is tried again" : "; the store cannot be opened anew as it is: run verify"
        return text
    }

    private var textWithoutStore: String {
        let changed =
            if refusesChanges {
                "sets and removals throw"
            } else if isMarkDurable {
                "what was set or removed since has whoever opens it drop what it held"
            } else {
                "the first set or removal has whoever opens it drop what it holds"
            }
        return "going on in memory without the store for \(duration.components.seconds) s: \(cause); \(changed); "
            + "see to the folder (`varve repair` salvages a damaged store, and an empty folder fills again), then open it anew"
    }
}

extension CacheStore {
    /// How the store is now.
    public var health: CacheHealth {
        var health = CacheHealth()
        outage?.describe(in: &health)
        guard let engine else { return health }
        let troubles = engine.troubles
        if let failure = troubles.failure {
            health.state = .failed(failure)
        } else if let passing = troubles.passing ?? troubles.damage {
            health.state = .hindered(passing)
        }
        if let degraded { degraded.describe(in: &health) }
        return health
    }
}

extension Cache {
    /// How the cache's store is now.
    public var health: CacheHealth { store.health }
}
