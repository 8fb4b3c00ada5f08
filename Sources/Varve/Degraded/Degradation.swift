/// What a store does while its disk is full, failing or damaged.
public enum Degradation: Hashable, Sendable {
    /// A write that the disk does not take throws; so does a read of what is damaged. What memory holds is served.
    case throwing
    /// It goes on in memory. A change is acknowledged once a mark on disk is durable that has the next opening drop
    /// everything, so that no old value comes back after a crash; where even that fails it throws. What was changed in
    /// memory is taken back to the disk as soon as it takes writes again. A damaged entry counts as a miss.
    ///
    /// See <doc:Degrading>.
    case memoryOnly
}
