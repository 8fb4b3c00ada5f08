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

    /// From now on, and for as long as this is held, the signals end nothing by themselves: `body` is told of each, on some
    /// thread.
    func listen(_ body: @escaping @Sendable (_ number: Int32) -> Void) {
        for number in [SIGINT, SIGTERM] {
            _ = signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { body(number) }
            source.resume()
            let kept = Kept(source: source)
            sources.withLock { $0.append(kept) }
        }
    }

    /// Ends the process as the signal would have.
    static func end(by number: Int32) -> Never {
        _ = signal(number, SIG_DFL)
        kill(getpid(), number)
        // It comes to some thread; this one must not go on until then.
        while true { pause() }
    }
}
