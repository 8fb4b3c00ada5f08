/// The calls that a simulated file system numbers.
public enum SimulatedOperation: String, Sendable, CaseIterable {
    case open, create, read, size, map, mapForStores, exists, list, linkCount, freeBytes
    case write, store, allocate, truncate, sync
    case createDirectory, remove, removeDirectory, rename, link, syncDirectory, lock

    /// Whether the call changes what the disk holds or what it promises: only between two of these does it matter when
    /// the power goes.
    public var isChange: Bool {
        switch self {
        case .open, .read, .size, .map, .mapForStores, .exists, .list, .linkCount, .freeBytes: false
        default: true
        }
    }
}

/// One numbered call.
public struct SimulatedCall: Sendable, CustomStringConvertible {
    /// From 1, over all calls.
    public let number: Int
    /// From 1, over the calls that change something; that of the last change before, for another call.
    public let changeNumber: Int
    public let operation: SimulatedOperation
    public let path: String

    public var description: String { "#\(number) \(operation.rawValue) \(path)" }
}

/// Which calls fail, and how.
struct SimulatedFault: Sendable {
    let code: Int32
    /// Every matching call fails, and not only the first.
    let isSticky: Bool
    /// A write that fails has written half of its bytes.
    let isPartial: Bool
    let matches: @Sendable (SimulatedCall) -> Bool
}
