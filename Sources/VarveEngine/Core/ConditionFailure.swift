/// Which condition of a conditional write did not hold, and what stood instead. Nothing was written.
public struct ConditionFailure: Error, Hashable, Sendable {
    public enum Reason: Hashable, Sendable {
        /// The key has another version than the one that was required; nil: absent.
        case version(required: LSN?, found: LSN?)
        /// Something newer is known of the key than the write brings: `standing` is the source version that refused it.
        ///
        /// `isShared`: nothing that the store still holds of this key says so, only the floor that is left of entries
        /// which went. Floors stand in a table of fixed size, so another key's may have raised it: the value is not known
        /// to be old, but it may not be stored.
        case olderSourceVersion(given: UInt64, standing: UInt64, isShared: Bool)
        /// The key was written or removed after the given LSN, or memory can no longer tell.
        case changed(since: LSN)
    }

    /// The key, without its namespace.
    public let key: [UInt8]
    public let reason: Reason

    public init(key: [UInt8], reason: Reason) {
        self.key = key
        self.reason = reason
    }
}

extension VarveError {
    /// For `.conditionFailed`: which condition, and why.
    public var failedCondition: ConditionFailure? { underlying as? ConditionFailure }

    static func conditionFailed(_ failure: ConditionFailure) -> VarveError {
        let text: String
        switch failure.reason {
        case .version(let required, let found):
            func spelled(_ version: LSN?) -> String { version.map { "version \($0)" } ?? "absent" }
            text = "a key should be \(spelled(required)) and is \(spelled(found))"
        case .olderSourceVersion(let given, let standing, let isShared):
            text =
                "source version \(given) is older than \(standing), which "
                + (isShared ? "was dropped from the key's part of the store" : "the key has had")
        case .changed(let since):
            text = "a key may have been written after \(since)"
        }
        return VarveError(.conditionFailed, text + "; nothing was written", underlying: failure)
    }
}
