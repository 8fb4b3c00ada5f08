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
        case staleServed
        /// A load's result that lives in memory alone, because the disk could not take it.
        case loadUnstored
    }

    private let counts: [Counter] = Event.allCases.map { _ in Counter() }

    private final class Counter: Sendable {
        let value = Atomic<UInt64>(0)
    }

    func add(_ event: Event) { counts[event.rawValue].value.add(1, ordering: .relaxed) }
    subscript(_ event: Event) -> UInt64 { counts[event.rawValue].value.load(ordering: .relaxed) }
}
