import Foundation
import Synchronization
internal import VarveIO

/// A bar on standard error, drawn only on a terminal and at most ten times a second. Thread-safe.
final class ProgressBar: Sendable {
    private struct State {
        var lastDrawn: UInt64 = 0
        var isDrawn = false
    }

    private let label: String
    private let isShown: Bool
    private let start = BenchClock.now()
    private let state = Mutex(State())

    init(_ label: String, isShown: Bool = StandardError.isTerminal) {
        self.label = label
        self.isShown = isShown
    }

    /// Shows `done` of `total` (nil: unknown) and a remark such as a rate.
    func update(_ done: UInt64, of total: UInt64?, _ remark: @autoclosure () -> String = "") {
        guard isShown else { return }
        let now = BenchClock.now()
        let isDue = state.withLock { state in
            guard now &- state.lastDrawn >= 100_000_000 else { return false }
            state.lastDrawn = now
            state.isDrawn = true
            return true
        }
        guard isDue else { return }
        StandardError.write("\r\u{1B}[K" + ProgressBar.text(label, done, total, remark()))
    }

    /// Removes the bar.
    func finish() {
        guard isShown, state.withLock({ $0.isDrawn }) else { return }
        StandardError.write("\r\u{1B}[K")
    }

    /// Shows for how long `body` has been at work, where it cannot tell how far it is.
    func whileWorking<R>(_ body: () throws -> R) throws -> R {
        let isOver = Monitor(false)
        let ticker =
            isShown
            ? try? IOThread(name: "varve-bar") { [self] in
                while isOver.wait(atMost: .milliseconds(250), for: { $0 ? true : nil }) == nil {
                    update(0, of: nil, "\(Int(seconds)) s")
                }
            } : nil
        defer {
            isOver.withLock { $0 = true }
            isOver.notifyAll()
            ticker?.join()
            finish()
        }
        return try body()
    }

    var seconds: Double { Double(BenchClock.now() &- start) * 1e-9 }

    static func text(_ label: String, _ done: UInt64, _ total: UInt64?, _ remark: String) -> String {
        var text = label
        if let total, total > 0 {
            let share = min(1, Double(done) / Double(total))
            let filled = Int(share * 30)
            text += " [" + String(repeating: "#", count: filled) + String(repeating: ".", count: 30 - filled) + "]"
            text += " \(Int(share * 100))%"
        }
        return remark.isEmpty ? text : text + " " + remark
    }
}
