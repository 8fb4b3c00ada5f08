internal import Synchronization
internal import VarveEngine

/// Lets operations in until it is closed, and closes when those that are in have left: nobody uses what is being taken
/// apart. Two atomic steps an operation. Any thread.
@usableFromInline
final class OperationGate: Sendable {
    /// Twice the number of operations within; odd once it is closed.
    private let word = Atomic<Int>(0)
    private let waiting = Mutex<[CheckedContinuation<Void, Never>]>([])

    var isClosed: Bool { word.load(ordering: .acquiring) & 1 == 1 }

    static var refusal: VarveError { VarveError(.closed, "the cache was closed") }

    /// Throws `.closed` once it is closed; else `leave` must follow.
    @usableFromInline
    func enter() throws(VarveError) {
        if word.add(2, ordering: .acquiring).newValue & 1 == 1 {
            leave()
            throw OperationGate.refusal
        }
    }

    @usableFromInline
    func leave() {
        if word.subtract(2, ordering: .acquiringAndReleasing).newValue == 1 { wake() }
    }

    /// Lets nobody in any more.
    func shut() { _ = word.bitwiseOr(1, ordering: .acquiringAndReleasing) }

    /// Lets nobody in any more and returns when all have left.
    func close() async {
        shut()
        await withCheckedContinuation { continuation in
            waiting.withLock { $0.append(continuation) }
            // The last one may have left before there was anybody to wake.
            if word.load(ordering: .acquiring) == 1 { wake() }
        }
    }

    private func wake() {
        let waiting = waiting.withLock { waiting in
            defer { waiting = [] }
            return waiting
        }
        for continuation in waiting { continuation.resume() }
    }
}
