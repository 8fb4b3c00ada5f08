import VarveEngine
import VarveIO
import VarveTestSupport

/// Proves the harness: with one sync taken away at a time, the test must find a broken promise.
struct ProofRun {
    /// Something taken away.
    struct Sabotage: Sendable, CustomStringConvertible {
        let name: String
        let apply: @Sendable (SimulatedFileSystem) -> Void
        var description: String { name }

        static func file(_ name: String, _ matches: @escaping @Sendable (String) -> Bool) -> Sabotage {
            Sabotage(name: "file syncs of \(name)") { $0.dropFileSyncs(where: matches) }
        }

        static func folder(_ name: String, _ matches: @escaping @Sendable (String) -> Bool) -> Sabotage {
            Sabotage(name: "directory syncs of \(name)") { $0.dropDirectorySyncs(where: matches) }
        }

        static let all: [Sabotage] = [
            .file("the log") { $0.contains(".log") },
            .file("the manifest") { $0.contains("MANIFEST") },
            .file("tables") { $0.hasSuffix(".sst") },
            .file("CURRENT") { $0.contains("CURRENT") },
            .file("CLOSED") { $0.contains("CLOSED") },
            .folder("the store") { $0 == Workload.directory },
            .folder("the store's parent") { $0 == "/" },
            .folder("a checkpoint being built") { $0.hasPrefix("/checkpoint") },
        ]
    }

    /// Workloads that are tried before it counts as not found.
    var attempts: UInt64 = 12
    var steps = 60

    /// Whether the test finds this sabotage, and after how many points.
    func finds(_ sabotage: Sabotage) -> (found: CrashFailure?, points: Int) {
        var points = 0
        for seed in 1...attempts {
            let report = CrashReport()
            PowerCutRun(
                shape: WorkloadShape(seed: seed, steps: steps), report: report, modes: [.power], imagesPerCall: 2,
                sabotage: sabotage.apply, isOver: { !report.failures.isEmpty }
            ).run()
            points += report.points
            if let failure = report.failures.first { return (failure, points) }
        }
        return (nil, points)
    }

    /// Tries all of them; false where one was not found.
    func run(_ say: (String) -> Void) throws -> Bool {
        var isProved = true
        for sabotage in Sabotage.all {
            let (found, points) = finds(sabotage)
            if let found {
                say("without \(sabotage): found after \(points) points (\(found.message.prefix(100)))")
            } else {
                say("without \(sabotage): NOT FOUND in \(points) points")
                isProved = false
            }
        }
        return isProved
    }
}
