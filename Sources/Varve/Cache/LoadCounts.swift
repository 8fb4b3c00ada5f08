internal import Synchronization

/// What happens beyond memory, counted. Any thread.
final class LoadCounts: Sendable {
    enum Event: Int, CaseIterable {
        case diskHit, undecodable
        case load, loadFailure, loadRefused, loadTimeout
        /// A caller that found a load under way and waited for it: a stampede avoided.
        case joined
        /// A load's result that was not stored, because its key was written or removed meanwhile.
        case loadOutdated
        /// A load's result that a full disk was spared, because its key had not been seen lately.
        case diskWriteAvoided
        /// One of those that was written later, because it was used in memory.
        case keptForUse
        case staleServed
        /// A load's result that could not be stored, and lives in memory alone, if it does.
        case loadUnstored
        /// A value that was not stored, because keys which share its key's place had a newer source version.
        case refusedByFloor
        /// A change that threw for the disk's sake.
        case writeFailure
    }

    private let counts: [Counter] = Event.allCases.map { _ in Counter() }

    private let whyUnstored = Mutex<(any Error)?>(nil)

    private final class Counter: Sendable {
        let value = Atomic<UInt64>(0)
    }

    func add(_ event: Event) { counts[event.rawValue].value.add(1, ordering: .relaxed) }

    /// Counts a load whose result could not be stored, and keeps the reason for the log.
    func addUnstored(_ error: any Error) {
        // What was there goes after the lock is free: it may be the user's, and its end run his code.
        let former = whyUnstored.withLock { why in
            defer { why = error }
            return why
        }
        withExtendedLifetime(former) {}
        add(.loadUnstored)
    }

    /// Why a load's result could not be stored last.
    var lastUnstored: (any Error)? { whyUnstored.withLock { $0 } }

    subscript(_ event: Event) -> UInt64 { counts[event.rawValue].value.load(ordering: .relaxed) }
}
