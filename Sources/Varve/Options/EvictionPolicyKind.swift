internal import VarvePolicy

/// Which entries leave memory first.
public enum EvictionPolicyKind: String, Sendable, CaseIterable {
    /// The one that was in longest.
    case fifo
    /// The one that was not used longest.
    case lru
    /// The one used least often, with aging.
    case lfu
    /// Three queues (Yang et al. 2023): quick demotion of what is seen once.
    case s3FIFO = "s3-fifo"
    /// A window and a segmented LRU behind a frequency sketch (Einziger, Friedman, Manes 2017).
    case wTinyLFU = "w-tinylfu"
    /// The one with the best hit ratio on the traces that we measured; see docs/design-decisions.md.
    case adaptive

    var kind: PolicyKind {
        switch self {
        case .fifo: .fifo
        case .lru: .lru
        case .lfu: .lfu
        case .s3FIFO: .s3FIFO
        case .wTinyLFU: .wTinyLFU
        case .adaptive: .adaptive
        }
    }
}
