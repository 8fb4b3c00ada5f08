internal import Synchronization

/// Everything that a reader needs at one moment: the memtables, newest first, and the version of the tables below them.
/// Immutable; who holds it keeps its memtables and tables alive.
final class ReadState: Sendable {
    let active: Memtable
    /// Newest first.
    let sealed: [Memtable]
    let version: Version

    init(active: Memtable, sealed: [Memtable], version: Version) {
        self.active = active
        self.sealed = sealed
        self.version = version
    }
}

/// The current read state. Changing it is rare; pinning it is the first step of every read, so there are several pins,
/// each with its own lock and its own reference count, and a thread uses the one that its stack's address picks: two
/// readers then share no cache line.
final class ReadStateCell: Sendable {
    /// One thread's door to the state: retaining the pin instead of the state keeps reference counts apart.
    final class Pin: Sendable {
        let state: ReadState
        init(_ state: ReadState) { self.state = state }
    }

    private static let stripes = 8
    private let pins: [Stripe]

    private final class Stripe: Sendable {
        let pin: Mutex<Pin>
        init(_ state: ReadState) { pin = Mutex(Pin(state)) }
    }

    init(_ state: ReadState) {
        pins = (0..<ReadStateCell.stripes).map { _ in Stripe(state) }
    }

    /// The state as it is now.
    @inline(__always)
    func pin() -> Pin {
        pins[ReadStateCell.stripeOfThisThread()].pin.withLock { $0 }
    }

    /// Replaces the state. Calls must not overlap: the caller holds the lock under which states are made.
    func publish(_ state: ReadState) {
        for stripe in pins {
            let new = Pin(state)
            stripe.pin.withLock { $0 = new }
        }
    }

    @inline(__always)
    private static func stripeOfThisThread() -> Int {
        // Stacks of threads lie at least 64 KiB apart; Fibonacci hashing spreads their page numbers.
        var anchor = 0
        let address = unsafe withUnsafePointer(to: &anchor) { UInt(bitPattern: $0) }
        return Int((UInt64(address >> 16) &* 0x9E37_79B9_7F4A_7C15) >> 61)
    }
}
