import Dispatch
import Foundation
internal import Synchronization

/// SIGINT and SIGTERM, taken by who has something to put in order before the process ends.
final class StopSignals: Sendable {
    private struct Kept: @unchecked Sendable {
        // Unchecked: only kept alive; nobody calls it after it was resumed.
        let source: any DispatchSourceSignal
    }

    private let sources = Mutex<[Kept]>([])
    private let isRaised = Atomic<Bool>(false)

    /// From now on the signals end nothing by themselves: `body` is told of each, on some thread.
    func listen(_ body: @escaping @Sendable (_ number: Int32) -> Void) {
        for number in [SIGINT, SIGTERM] {
            _ = signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { [self] in
                isRaised.store(true, ordering: .sequentiallyConsistent)
                body(number)
            }
            source.resume()
            let kept = Kept(source: source)
            sources.withLock { $0.append(kept) }
        }
    }

    /// Does not return where a signal has come: who listens puts things in order, and ends the process. For who would end it
    /// otherwise, perhaps only because of what is being put in order.
    func giveWay() {
        while isRaised.load(ordering: .sequentiallyConsistent) { pause() }
    }

    /// Ends the process as the signal would have.
    static func end(by number: Int32) -> Never {
        _ = signal(number, SIG_DFL)
        // To this thread, which lets it through: where all threads block it, Dispatch would take one that is sent to the process.
        var own = sigset_t()
        unsafe sigemptyset(&own)
        unsafe sigaddset(&own, number)
        unsafe pthread_sigmask(SIG_UNBLOCK, &own, nil)
        raise(number)
        _exit(128 + number)
    }
}
