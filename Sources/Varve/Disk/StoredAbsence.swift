/// For those who read a store beside its caches: entries that say that the source has no value. Their bytes are none, and
/// are no value.
package enum StoredAbsence {
    package static func isMarked(by valueType: UInt8) -> Bool { DiskTier.Kind(rawValue: valueType) == .absent }
}
