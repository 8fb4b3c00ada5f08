internal import Synchronization

/// A reference that is set once, by whoever comes first, and read by everybody: `AtomicLazyReference`, whose `load` is
/// generic code behind a call, which a point read would make several times. Any thread.
@safe
struct LazyReference<Instance: AnyObject & Sendable>: ~Copyable, Sendable {
    /// The address of a retained instance; 0: none yet.
    private let word = Atomic<UInt>(0)

    deinit {
        if let instance = unsafe LazyReference.instance(word.load(ordering: .acquiring)) { unsafe instance.release() }
    }

    @inline(__always)
    private static func instance(_ word: UInt) -> Unmanaged<Instance>? {
        unsafe UnsafeRawPointer(bitPattern: word).map { unsafe Unmanaged.fromOpaque($0) }
    }

    /// Acquiring: who sees the reference sees what it refers to.
    @inline(__always)
    func load() -> Instance? {
        unsafe LazyReference.instance(word.load(ordering: .acquiring))?.takeUnretainedValue()
    }

    /// Sets it where nobody has; returns what it is from now on.
    func storeIfNil(_ instance: Instance) -> Instance {
        let retained = unsafe Unmanaged.passRetained(instance)
        let own = unsafe UInt(bitPattern: retained.toOpaque())
        let (isStored, present) = word.compareExchange(expected: 0, desired: own, ordering: .acquiringAndReleasing)
        if isStored { return instance }
        unsafe retained.release()
        return unsafe LazyReference.instance(present)?.takeUnretainedValue() ?? instance
    }
}
