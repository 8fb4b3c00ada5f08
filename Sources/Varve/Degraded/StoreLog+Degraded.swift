internal import Logging
internal import VarveEngine

extension StoreLog {
    func tell(_ news: DegradedNews.Event) {
        switch news {
        case .degraded(let cause, let markRefusal): degraded(cause, markRefusal: markRefusal)
        case .reopened(let lsn): reopened(lsn)
        case .returned(let duration, let changes): returned(after: duration, changes: changes)
        }
    }

    private func degraded(_ cause: VarveError, markRefusal: VarveError?) {
        var metadata: Logger.Metadata = ["error": "\(cause)"]
        guard let markRefusal else {
            return logger.warning("the disk takes no writes; going on in memory", metadata: metadata)
        }
        metadata["mark"] = "\(markRefusal)"
        logger.warning(
            "the disk takes no writes; loads go on in memory, all else throws: the degraded mark cannot be made durable",
            metadata: metadata)
    }

    private func returned(after duration: Duration, changes: Int) {
        logger.notice(
            "back on disk: it has taken everything that was changed in memory",
            metadata: ["duration": "\(duration)", "changes": "\(changes)"])
    }

    private func reopened(_ lsn: LSN) {
        logger.notice(
            "the store was opened anew, since its log, or another part, took no more writes",
            metadata: ["lsn": "\(lsn)"])
    }

    func withoutStore(_ cause: VarveError) {
        logger.error(
            "the store cannot be opened as it is; going on in memory without it until it is opened anew",
            metadata: ["error": "\(cause)"])
    }

    /// `times`: since it was told before.
    func damaged(_ error: VarveError, times: UInt64) {
        logger.error(
            "a read met damage and counts as a miss; run verify",
            metadata: ["error": "\(error)", "times": "\(times)"])
    }
}
