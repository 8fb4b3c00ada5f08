/// What a store did for want of its disk, since it was opened.
struct DegradedCounts: Sendable {
    var isDegraded = false
    var episodes: UInt64 = 0
    var nanoseconds: Int64 = 0
    /// Changes that were refused because not even the mark could be made durable.
    var refusals: UInt64 = 0
    var damagedReads: UInt64 = 0
    /// How often it came back to the disk.
    var returns: UInt64 = 0
}
