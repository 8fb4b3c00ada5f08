/// The workloads by their names on the command line. Names that hold a hyphen or none at all (`ycsb-a`, `ycsba`) mean
/// the same as those with an underscore.
enum Workload: Hashable, Sendable, CustomStringConvertible {
    case fill(Fill)
    case read(Pick)
    case scan
    case seekRandom
    case readWhileWriting
    case open
    case recovery
    case ycsbLoad
    case ycsb(YCSBMix)
    /// Through the cache instead of the engine.
    case cache(CacheWork)

    enum CacheWork: String, Sendable, CaseIterable {
        case hit = "cache_hit"
        case zipf = "cache_readzipf"
        case restart = "cache_restart"
        case pool = "cache_pool"
        case soak = "cache_soak"
    }

    enum Fill: String, Sendable, CaseIterable {
        case fillseq, fillrandom, fillbatch, fillsync, overwrite, overwrite3

        /// Begins with an empty store; an overwrite needs a full one.
        var isFresh: Bool { self != .overwrite && self != .overwrite3 }
    }

    /// Which keys are read.
    enum Pick: String, Sendable, CaseIterable {
        case uniform = "readrandom"
        case missing = "readmissing"
        case zipf = "readzipf"
    }

    enum YCSBMix: String, Sendable, CaseIterable { case a, b, c, d, e, f }

    static let names: [(String, Workload)] =
        Fill.allCases.map { ($0.rawValue, .fill($0)) } + Pick.allCases.map { ($0.rawValue, .read($0)) } + [
            ("scan", .scan), ("seekrandom", .seekRandom), ("readwhilewriting", .readWhileWriting), ("open", .open),
            ("recovery", .recovery), ("ycsb_load", .ycsbLoad),
        ] + YCSBMix.allCases.map { ("ycsb_\($0.rawValue)", .ycsb($0)) }
        + CacheWork.allCases.map { ($0.rawValue, .cache($0)) }

    /// The workloads that a name stands for: one, or all of YCSB; empty for a name that is none.
    static func named(_ name: String) -> [Workload] {
        func plain(_ text: String) -> String { text.lowercased().filter { $0 != "_" && $0 != "-" } }
        if plain(name) == "ycsb" { return [.ycsbLoad] + YCSBMix.allCases.map { .ycsb($0) } }
        return names.filter { plain($0.0) == plain(name) }.map(\.1)
    }

    var description: String { Workload.names.first { $0.1 == self }?.0 ?? "" }

    /// What a workload must find in its folder.
    enum Needs: Sendable {
        case nothing, records, ycsbRecords
    }

    var needs: Needs {
        switch self {
        case .fill(let fill): return fill.isFresh ? .nothing : .records
        case .read, .scan, .seekRandom, .readWhileWriting, .open: return .records
        case .recovery, .ycsbLoad, .cache: return .nothing
        case .ycsb: return .ycsbRecords
        }
    }

    /// Whether readers warm the store up first: a full scan and 200,000 gets.
    var warmsUp: Bool {
        switch self {
        case .read, .scan, .seekRandom, .readWhileWriting: return true
        default: return false
        }
    }
}
