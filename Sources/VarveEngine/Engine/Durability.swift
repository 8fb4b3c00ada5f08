/// What an acknowledged write survives beyond the death of the process, which it always survives.
public enum Durability: Sendable, Hashable {
    /// On disk before the write is acknowledged, and only then visible: survives a power cut, always.
    case synced
    /// In the kernel's page cache when acknowledged, on disk within about the given time: a power cut may take the writes
    /// of the last interval and of the sync in flight. When a sync takes longer than the interval, writers wait.
    /// From 1 ms to 1 hour.
    case interval(Duration)

    /// The interval that is used where none is named: 100 ms.
    public static let interval = Durability.interval(.milliseconds(100))
}
