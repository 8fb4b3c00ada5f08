import Glibc
import VarveIO
import VarveTestSupport

/// The clock of a process that reads through an owner. Each read asks it once on the thread that serves it, so it knows on how
/// many threads they are, whatever other tests have.
final class ThreadsClock: SystemClock {
    private let clock = ManualClock()
    private let seen = Watched<Set<UInt64>>([])
    var threads: Int { seen.current.count }

    var wallNanoseconds: Int64 { clock.wallNanoseconds }
    var bootID: String { clock.bootID }
    var bootNanoseconds: Int64 {
        seen.update { _ = $0.insert(UInt64(pthread_self())) }
        return clock.bootNanoseconds
    }
}
