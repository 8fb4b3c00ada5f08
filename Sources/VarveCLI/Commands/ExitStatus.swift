import ArgumentParser
import Foundation
internal import VarveEngine
internal import VarveIO

/// The exit codes of `varve`, and the one place where failures become codes.
enum ExitStatus: Int32, Sendable {
    case fine = 0
    /// Not found, or a check that failed.
    case negative = 1
    /// The caller's mistake: flags, arguments, input, or a folder that is no store.
    case usage = 64
    /// Bytes on disk are not what was written, or cannot be understood.
    case corruption = 65
    /// The kernel refused, or the disk is full.
    case io = 74
    /// Another process has the store open.
    case inUse = 75

    init(_ error: any Error) {
        switch error {
        case let error as VarveError: self.init(error.code)
        case let error as IOError: self.init(VarveError(error).code)
        case is UsageFailure, is InputFailure: self = .usage
        case is NegativeResult, is BenchFailure: self = .negative
        default: self = .io
        }
    }

    init(_ code: VarveError.Code) {
        switch code {
        case .invalidArgument, .limitExceeded, .notAStore, .storeExists, .readOnly: self = .usage
        case .conditionFailed, .notContinuing, .logGap, .cancelled: self = .negative
        case .corruption, .unsupportedFormat, .missingFile: self = .corruption
        case .storeInUse: self = .inUse
        default: self = .io
        }
    }
}

/// The caller asked for something that cannot be.
struct UsageFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// An input file that cannot be understood, with the place.
struct InputFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// Standard output failed.
struct OutputFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// The command did its work and the answer is no. Nothing more is printed where the text is empty.
struct NegativeResult: Error, CustomStringConvertible {
    let description: String
    init(_ description: String = "") { self.description = description }
}

/// Ends the process for a failure: its text on standard error, its code to the caller.
enum Failure {
    static func exit(_ error: any Error) -> Never {
        // Help, version and mistakes in the command line are the parser's to print.
        let own: any Error
        switch error {
        case is VarveError, is IOError, is UsageFailure, is InputFailure, is OutputFailure, is NegativeResult,
            is BenchFailure:
            own = error
        case let error as NSError where error.domain == NSCocoaErrorDomain || error.domain == NSPOSIXErrorDomain:
            StandardError.print("varve: \(error.localizedDescription)")
            Foundation.exit(ExitStatus.io.rawValue)
        default: Varve.exit(withError: error)
        }
        let text = "\(own)"
        if !text.isEmpty { StandardError.print("varve: \(text)") }
        Foundation.exit(ExitStatus(own).rawValue)
    }
}
