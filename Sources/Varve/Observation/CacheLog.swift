internal import Logging
internal import Synchronization
internal import VarveEngine

/// What a cache tells its logger, judged from its statistics once a second. Nothing on a request's path logs; what goes on
/// going wrong is told once a minute, with how often. One thread at a time.
final class CacheLog: Sendable {
    private struct State: Sendable {
        /// By what is warned of, what had been counted when it was told last, and when.
        var told: [String: (count: UInt64, time: Int64)] = [:]
        var toldWarmUp = false
    }

    private let logger: Logger
    private let state = Mutex(State())
    private static let quiet: Int64 = 60_000_000_000

    init(_ logger: Logger, cache: String) {
        var logger = logger
        logger[metadataKey: "cache"] = "\(cache)"
        self.logger = logger
    }

    /// `unstored`: why a load's result could not be stored last.
    func look(at statistics: CacheStatistics, unstored: (any Error)? = nil, now: Int64) {
        warn("values on disk cannot be decoded and count as misses", statistics.undecodable, now)
        warn(
            "loaded values cannot be stored; memory alone holds them where it may", statistics.loadsUnstored, now,
            unstored)
        warn("loads fail", statistics.loadFailures, now)
        warn("loads time out", statistics.loadTimeouts, now)
        guard let warmUp = statistics.warmUp else { return }
        warn("notes of the last start cannot be read; memory warms up without them", UInt64(warmUp.notesDamaged), now)
        warn("notes for the next start cannot be written", warmUp.notesFailed, now)
        let isNews = state.withLock { state in
            defer { state.toldWarmUp = state.toldWarmUp || warmUp.isDone }
            return warmUp.isDone && !state.toldWarmUp
        }
        guard isNews, warmUp.keysNoted > 0 else { return }
        logger.debug(
            "memory is warm",
            metadata: [
                "entries": "\(warmUp.entriesWarmed)", "noted": "\(warmUp.keysNoted)", "bytes": "\(warmUp.bytesRead)",
                "duration": "\(warmUp.duration)",
            ])
    }

    private func warn(_ message: Logger.Message, _ count: UInt64, _ now: Int64, _ error: (any Error)? = nil) {
        let added: UInt64? = state.withLock { state in
            let last = state.told[message.description]
            guard count > last?.count ?? 0 else { return nil }
            if let last, now &- last.time < CacheLog.quiet { return nil }
            state.told[message.description] = (count, now)
            return count - (last?.count ?? 0)
        }
        guard let added else { return }
        var metadata: Logger.Metadata = ["times": "\(added)"]
        if let error { metadata["error"] = "\(error)" }
        logger.warning(message, metadata: metadata)
    }
}

/// What a store tells its logger: that it was opened, and troubles with its disk as they come and go. One thread at a time.
final class StoreLog: Sendable {
    private struct State: Sendable {
        var isPassing = false
        var hasFailed = false
        var toldAt: Int64?
        /// The damaged table that was told last, and is still there.
        var damage: String?
    }

    let logger: Logger
    private let state = Mutex(State())
    private static let quiet: Int64 = 60_000_000_000

    init(_ logger: Logger, store: String) {
        var logger = logger
        logger[metadataKey: "store"] = "\(store)"
        self.logger = logger
    }

    func opened(_ engine: Engine, took: Int64) {
        logger.debug(
            "store opened", metadata: ["lsn": "\(engine.visible)", "duration": "\(Duration.nanoseconds(took))"])
        if let cause = engine.droppedAtOpening {
            logger.warning(
                "the degraded mark was set: what the store held was dropped, and it begins cold",
                metadata: ["cause": "\(cause)"])
        }
        guard let cut = engine.recoveryCut else { return }
        logger.notice(
            "the log's end was cut: it had not been synced, or was being written",
            metadata: [
                "file": "\(cut.path)", "offset": "\(cut.offset)", "bytes": "\(cut.bytes)", "reason": "\(cut.reason)",
            ])
    }

    func closed() { logger.debug("store closed") }

    func look(at troubles: Engine.Troubles, now: Int64) {
        lookForDamage(troubles.damage)
        enum News { case failed, passing, passed }
        let news: News? = state.withLock { state in
            if troubles.failure != nil {
                defer { state.hasFailed = true }
                return state.hasFailed ? nil : .failed
            }
            state.hasFailed = false
            guard (troubles.passing != nil) != state.isPassing else { return nil }
            // A disk that is full off and on is told once a minute.
            if let told = state.toldAt, !state.isPassing, now &- told < StoreLog.quiet { return nil }
            state.isPassing.toggle()
            if state.isPassing { state.toldAt = now }
            return state.isPassing ? .passing : .passed
        }
        switch news {
        case .failed:
            logger.error(
                "the store takes no more writes; reads go on; open it anew",
                metadata: ["error": "\(troubles.failure?.description ?? "")"])
        case .passing:
            logger.warning(
                "work on disk failed and will be tried again",
                metadata: ["error": "\(troubles.passing?.description ?? "")"])
        case .passed: logger.notice("the disk takes work again")
        case nil: break
        }
    }

    private func lookForDamage(_ damage: VarveError?) {
        let isNews = state.withLock { state in
            defer { state.damage = damage.map { $0.path ?? "" } }
            return damage != nil && state.damage != damage?.path ?? ""
        }
        guard isNews, let damage else { return }
        logger.error("a table is damaged; compactions go round it; run verify", metadata: ["error": "\(damage)"])
    }
}
