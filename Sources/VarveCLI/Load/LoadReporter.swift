import Foundation
import Synchronization

/// Tells of a load while it runs, from a thread of its own: `{"acknowledged": N}` every 50 ms under `--json`, a bar on
/// a terminal.
final class LoadReporter: Sendable {
    private let counters: LoadCounters
    private let total: UInt64?
    private let json: Bool
    private let bar = ProgressBar("load")
    private let isOver = Atomic<Bool>(false)
    private let ended = DispatchSemaphore(value: 0)

    init(_ counters: LoadCounters, totalBytes: UInt64?, json: Bool) {
        self.counters = counters
        total = totalBytes
        self.json = json
    }

    func start() {
        // Who reads the lines may go away: that is no reason to end the load.
        _ = signal(SIGPIPE, SIG_IGN)
        let thread = Thread { [self] in
            while !isOver.load(ordering: .acquiring) {
                report()
                usleep(50_000)
            }
            ended.signal()
        }
        thread.name = "varve-report"
        thread.start()
    }

    /// Reports for the last time.
    func finish() {
        isOver.store(true, ordering: .releasing)
        ended.wait()
        bar.finish()
        if json { report() }
    }

    private func report() {
        let records = counters.acknowledged
        if json {
            try? StandardOutput.print("{\"acknowledged\": \(records)}")
        } else {
            let perSecond = UInt64(Double(records) / max(bar.seconds, 0.001))
            bar.update(counters.bytesTaken, of: total, "\(records) records, \(perSecond) records/s")
        }
    }
}
