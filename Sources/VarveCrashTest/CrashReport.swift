import Foundation
import Synchronization

/// Which part of the test a point belongs to.
enum CrashMode: String, Sendable, CaseIterable {
    case power, kill, recovery, fault, process
}

/// A broken promise, and how to see it again.
struct CrashFailure: Sendable, CustomStringConvertible {
    let mode: CrashMode
    let seed: UInt64
    let call: Int
    /// What was done there, in the harness's words.
    let what: String
    let message: String

    var description: String {
        "\(mode.rawValue) seed \(seed) call \(call) (\(what)): \(message)\n"
            + "    again: tools/crash-test --mode \(mode.rawValue) --seed \(seed) --call \(call)"
    }
}

/// Counts points and keeps failures, for any number of threads; shows progress once a second.
final class CrashReport: Sendable {
    private struct State {
        var points: [CrashMode: Int] = [:]
        var failures: [CrashFailure] = []
        var shown = ContinuousClock.now
        var workloads = 0
    }
    private let state = Mutex(State())
    private let showsProgress: Bool
    private let target: Int?
    /// Failures after which it is pointless to go on.
    static let enough = 5

    init(showsProgress: Bool = false, target: Int? = nil) {
        self.showsProgress = showsProgress
        self.target = target
    }

    var points: Int { state.withLock { $0.points.values.reduce(0, +) } }
    func points(_ mode: CrashMode) -> Int { state.withLock { $0.points[mode] ?? 0 } }
    var failures: [CrashFailure] { state.withLock { $0.failures } }
    var hasEnough: Bool { state.withLock { $0.failures.count >= CrashReport.enough } }

    func countWorkload() { state.withLock { $0.workloads += 1 } }

    func count(_ mode: CrashMode) {
        let line: String? = state.withLock { state in
            state.points[mode, default: 0] += 1
            guard showsProgress, state.shown.duration(to: .now) > .seconds(1) else { return nil }
            state.shown = .now
            let all = state.points.values.reduce(0, +)
            return "crash-test: \(all)\(target.map { " of \($0)" } ?? "") points, \(state.failures.count) failures"
        }
        if let line { CrashReport.say(line) }
    }

    func add(_ failure: CrashFailure) {
        state.withLock { $0.failures.append(failure) }
        if showsProgress { CrashReport.say("\(failure)") }
    }

    static func say(_ line: String) { FileHandle.standardError.write(Data((line + "\n").utf8)) }

    /// "12 power, 3 kill": only what was tried.
    var summary: String {
        state.withLock { state in
            CrashMode.allCases.compactMap { mode in state.points[mode].map { "\($0) \(mode.rawValue)" } }
                .joined(separator: ", ")
        }
    }

    /// One JSON object.
    var json: String {
        let (points, failures, workloads) = state.withLock { ($0.points, $0.failures, $0.workloads) }
        let object: [String: Any] = [
            "points": points.values.reduce(0, +), "workloads": workloads,
            "byMode": Dictionary(uniqueKeysWithValues: points.map { ($0.key.rawValue, $0.value) }),
            "failures": failures.map { failure in
                [
                    "mode": failure.mode.rawValue, "seed": failure.seed, "call": failure.call, "what": failure.what,
                    "message": failure.message,
                ] as [String: Any]
            },
        ]
        let data = (try? JSONSerialization.data(withJSONObject: object, options: [.sortedKeys])) ?? Data()
        return String(decoding: data, as: UTF8.self)
    }
}
