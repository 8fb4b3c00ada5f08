internal import Logging
internal import VarveEngine

extension StoreLog {
    func degraded(_ cause: VarveError, markRefusal: VarveError?) {
        var metadata: Logger.Metadata = ["error": "\(cause)"]
        guard let markRefusal else {
            return logger.warning("the disk takes no writes; going on in memory", metadata: metadata)
        }
        metadata["mark"] = "\(markRefusal)"
        logger.warning(
            "the disk takes no writes; loads go on in memory, all else throws: the degraded mark cannot be made durable",
            metadata: metadata)
    }

    func returned(after duration: Duration, changes: Int) {
        logger.notice(
            "back on disk: it has taken everything that was changed in memory",
            metadata: ["duration": "\(duration)", "changes": "\(changes)"])
    }

    func reopened(_ engine: Engine) {
        logger.notice(
            "the store was opened anew, since its log, or another part, took no more writes",
            metadata: ["lsn": "\(engine.visible)"])
    }

    func damaged(_ error: VarveError) {
        logger.error("a read met damage and counts as a miss; run verify", metadata: ["error": "\(error)"])
    }
}
