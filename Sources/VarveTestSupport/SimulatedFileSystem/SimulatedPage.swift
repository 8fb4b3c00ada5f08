/// 4 KiB of a simulated file. Shared between files, their durable versions and crash images; whoever holds the only
/// reference may write into it, everybody else copies first.
@safe
final class SimulatedPage: @unchecked Sendable {
    // Unchecked: written only through the sole reference, under the lock of the file system that holds it.
    static let size = 4096
    /// What a disk writes as a whole, or not at all.
    static let sectorSize = 512
    /// Allocated, never written.
    static let zero = SimulatedPage()

    let bytes: UnsafeMutableRawBufferPointer

    init() {
        unsafe bytes = .allocate(byteCount: Self.size, alignment: 16)
        unsafe bytes.initializeMemory(as: UInt8.self, repeating: 0)
    }

    init(copying other: SimulatedPage?) {
        unsafe bytes = .allocate(byteCount: Self.size, alignment: 16)
        if let other {
            unsafe bytes.copyMemory(from: UnsafeRawBufferPointer(other.bytes))
        } else {
            unsafe bytes.initializeMemory(as: UInt8.self, repeating: 0)
        }
    }

    deinit { unsafe bytes.deallocate() }

    /// Copies the part of `source`, which lies at `offset` in the file, that falls into `range` of page `index`.
    func copy(_ source: UnsafeRawBufferPointer, at offset: Int, page index: Int, range: Range<Int>) {
        let start = index * Self.size
        let from = max(offset, start + range.lowerBound)
        let to = min(offset + source.count, start + range.upperBound)
        guard from < to else { return }
        let part = unsafe UnsafeRawBufferPointer(rebasing: source[(from - offset)..<(to - offset)])
        unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[(from - start)..<(to - start)]).copyMemory(from: part)
    }

    func clear(_ range: Range<Int>) {
        guard !range.isEmpty else { return }
        unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[range]).initializeMemory(as: UInt8.self, repeating: 0)
    }
}
