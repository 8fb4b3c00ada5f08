import Testing
import VarveEngine
import VarveIO

@testable import VarveCLI

/// The exit codes that scripts rely on.
@Suite struct ExitStatusTests {
    @Test(
        arguments: [
            (VarveError.Code.conditionFailed, 1), (.notContinuing, 1), (.logGap, 1), (.cancelled, 1),
            (.invalidArgument, 64), (.limitExceeded, 64), (.notAStore, 64), (.storeExists, 64), (.readOnly, 64),
            (.corruption, 65), (.unsupportedFormat, 65), (.missingFile, 65),
            (.io, 74), (.diskFull, 74), (.failedStop, 74), (.stalled, 74), (.storeInUse, 75),
        ] as [(VarveError.Code, Int32)])
    func codes(_ code: VarveError.Code, _ status: Int32) {
        #expect(ExitStatus(VarveError(code, "text")).rawValue == status)
    }

    @Test func otherFailures() {
        #expect(ExitStatus(UsageFailure("")) == .usage)
        #expect(ExitStatus(InputFailure("")) == .usage)
        #expect(ExitStatus(NegativeResult()) == .negative)
        #expect(ExitStatus(OutputFailure("")) == .io)
        #expect(ExitStatus(IOError(code: 28, operation: "write", path: "/x")) == .io)
    }
}
