public import VarveIO

/// What went wrong, and what to do. One type for every public operation; `code` tells the cases apart.
public struct VarveError: Error, Sendable, CustomStringConvertible {
    /// The kinds of failure. More may come: match with a default.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Kind: String {
            case invalidArgument, limitExceeded, conditionFailed
            case corruption, unsupportedFormat, missingFile
            case io, diskFull
            case storeInUse, notAStore, storeExists, closed, readOnly, failedStop
            case notContinuing, logGap, stalled, timedOut, wouldBlock, cancelled, degraded
        }
        private let kind: Kind
        private init(_ kind: Kind) { self.kind = kind }

        /// An argument or option that cannot be; nothing was done.
        public static let invalidArgument = Code(.invalidArgument)
        /// A key, value, batch or queue beyond its limit; nothing was done.
        public static let limitExceeded = Code(.limitExceeded)
        /// A condition of a conditional batch did not hold; nothing was written.
        public static let conditionFailed = Code(.conditionFailed)
        /// Bytes on disk are not what was written: file, offset, expected and found stand in the message.
        public static let corruption = Code(.corruption)
        /// A file of another format, or with a required feature that this version does not know.
        public static let unsupportedFormat = Code(.unsupportedFormat)
        /// A file that the manifest names is not there, or is another file.
        public static let missingFile = Code(.missingFile)
        /// The kernel refused; `underlying` says what.
        public static let io = Code(.io)
        /// No room on the device or in the disk budget. Nothing acknowledged is lost; freed space lets writes resume.
        public static let diskFull = Code(.diskFull)
        /// Another process, named in the message, has the store open.
        public static let storeInUse = Code(.storeInUse)
        /// The folder holds no store, or something else lies in it; nothing was done.
        public static let notAStore = Code(.notAStore)
        /// There is a store already where a new one was to be made; it is as it was.
        public static let storeExists = Code(.storeExists)
        /// What was called is closed, or is being closed: the call did nothing.
        public static let closed = Code(.closed)
        /// The store was opened to be read alone; nothing was written.
        public static let readOnly = Code(.readOnly)
        /// A sync or an append failed earlier: no more writes are accepted until the store is opened anew.
        public static let failedStop = Code(.failedStop)
        /// A log frame that does not continue the position of the store that should apply it.
        public static let notContinuing = Code(.notContinuing)
        /// The log no longer holds what was asked for.
        public static let logGap = Code(.logGap)
        /// Writes waited for background work longer than the limit.
        public static let stalled = Code(.stalled)
        /// The process that was asked did not answer within the caller's limit; whether it will, nobody knows.
        public static let timedOut = Code(.timedOut)
        /// Memory alone cannot answer, and the caller asked not to touch the disk.
        public static let wouldBlock = Code(.wouldBlock)
        /// The caller's task was cancelled while it waited. What it wrote stands if the log had it by then, as after a
        /// connection that was lost: read before writing again what must not be done twice.
        public static let cancelled = Code(.cancelled)
        /// The degraded mark is set: what the store holds may have been changed in memory alone, and must not be shown or
        /// copied. Opened to write, the store drops it.
        public static let degraded = Code(.degraded)

        public var description: String { kind.rawValue }

        /// The code of that name, as `description` gives it; nil for one that this version does not know.
        init?(named name: String) {
            guard let kind = Kind(rawValue: name) else { return nil }
            self.init(kind)
        }
    }

    /// How far a write had come that failed with nothing written, where the code alone does not tell.
    package enum Stage: Sendable {
        /// Its conditions could not be read, which says nothing of the log.
        case conditions
        /// It was refused before the log saw it.
        case admission
    }

    private final class Storage: Sendable {
        let code: Code
        let message: String
        let path: String?
        let offset: UInt64?
        let underlying: (any Error)?
        let stage: Stage?
        init(
            code: Code, message: String, path: String?, offset: UInt64?, underlying: (any Error)?, stage: Stage? = nil
        ) {
            self.code = code
            self.message = message
            self.path = path
            self.offset = offset
            self.underlying = underlying
            self.stage = stage
        }
    }

    // One reference, so that a function which throws pays one register.
    private let storage: Storage

    public init(
        _ code: Code, _ message: String, path: String? = nil, offset: UInt64? = nil, underlying: (any Error)? = nil
    ) {
        storage = Storage(code: code, message: message, path: path, offset: offset, underlying: underlying)
    }

    /// A refusal of the kernel.
    public init(_ error: IOError) {
        self.init(
            error.isDiskFull ? .diskFull : .io, error.description, path: error.path.isEmpty ? nil : error.path,
            underlying: error)
    }

    /// A failure after which what is on disk is unknown (a sync, a write into promised space), even where it was for want
    /// of room: trying again proves nothing, and room alone does not let the store go on.
    init(unknownOutcome error: IOError) {
        self.init(
            .io, error.reason + "; what is on disk is unknown until the store is opened anew",
            path: error.path.isEmpty ? nil : error.path, underlying: error)
    }

    /// The same error, of a write that came no further than this.
    func at(_ stage: Stage) -> VarveError {
        VarveError(
            Storage(
                code: code, message: message, path: path, offset: offset, underlying: underlying, stage: stage))
    }

    private init(_ storage: Storage) { self.storage = storage }

    public var code: Code { storage.code }
    /// What happened and what to do, in one or two sentences.
    public var message: String { storage.message }
    /// The file concerned.
    public var path: String? { storage.path }
    /// The place in that file, in bytes.
    public var offset: UInt64? { storage.offset }
    public var underlying: (any Error)? { storage.underlying }

    /// Nil: the code says what is known.
    package var stage: Stage? { storage.stage }

    public var description: String {
        var text = message
        if let path, !message.contains(path) { text += " [\(path)]" }
        if let offset { text += " [offset \(offset)]" }
        return text
    }

    /// Bytes that are not what was written.
    static func corruption(
        _ what: String, path: String, offset: UInt64? = nil, expected: UInt64? = nil, found: UInt64? = nil
    ) -> VarveError {
        var text = "\(path) is damaged: \(what)"
        if let expected, let found { text += " (expected \(hexadecimal(expected)), found \(hexadecimal(found)))" }
        return VarveError(.corruption, text, path: path, offset: offset)
    }

    static func corruption(_ error: DecodeError, in what: String, path: String, offset: UInt64? = nil) -> VarveError {
        switch error {
        case .truncated: return .corruption("\(what) ends too soon", path: path, offset: offset)
        case .badVarint: return .corruption("\(what) holds a malformed integer", path: path, offset: offset)
        case .outOfRange(let detail), .malformed(let detail):
            return .corruption("\(what): \(detail)", path: path, offset: offset)
        case .unknown(let detail):
            return VarveError(
                .unsupportedFormat, "\(path): \(what) holds \(detail), which this version of Varve does not know",
                path: path, offset: offset)
        }
    }
}

/// Runs a file operation and lifts its error.
@inline(__always)
func lifted<T>(_ body: () throws(IOError) -> T) throws(VarveError) -> T {
    do { return try body() } catch { throw VarveError(error) }
}
