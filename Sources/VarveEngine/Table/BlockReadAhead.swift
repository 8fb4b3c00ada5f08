/// Reads runs of neighbouring blocks with one large read each, past the block cache. The runs grow from 32 KiB to 256 KiB
/// while the walk goes on, so that a short one does not read what it will not use.
///
/// One thread at a time. What `pin` returned is valid until its next call.
@safe
final class BlockReadAhead {
    private let table: TableReader
    private var window: UnsafeMutableRawBufferPointer
    /// The blocks in the window, and the offset of its first byte in the file.
    private var blocks = 0..<0
    private var windowOffset = 0
    private var runBytes = 32 << 10
    private var raw: UnsafeMutableRawBufferPointer

    private static let largestRun = 256 << 10

    init(_ table: TableReader) {
        self.table = table
        unsafe window = .allocate(byteCount: 0, alignment: 16)
        unsafe raw = .allocate(byteCount: 8192, alignment: 16)
    }

    deinit {
        unsafe window.deallocate()
        unsafe raw.deallocate()
    }

    func pin(_ number: Int, backward: Bool) throws(VarveError) -> PinnedBlock {
        if !blocks.contains(number) { try fill(from: number, backward: backward) }
        let extent = try table.extent(of: number)
        let place = extent.lowerBound - windowOffset
        guard place >= 0, unsafe place + extent.count <= window.count else {
            throw .corruption("the index contradicts itself", path: table.path, offset: UInt64(extent.lowerBound))
        }
        let stored = unsafe UnsafeRawBufferPointer(rebasing: window[place..<place + extent.count])
        let offset = UInt64(extent.lowerBound)
        let (codec, payload) = unsafe try StoredBlock.open(
            stored, fileID: table.footer.fileID, offset: offset, path: table.path)
        guard codec == .lz4 else { return unsafe PinnedBlock(bytes: payload, owner: nil) }
        do throws(DecodeError) {
            let length = unsafe try StoredBlock.rawLength(ofLZ4: payload)
            if unsafe raw.count < length {
                unsafe raw.deallocate()
                unsafe raw = .allocate(byteCount: length + length / 4, alignment: 16)
            }
            let target = unsafe UnsafeMutableRawBufferPointer(rebasing: raw[..<length])
            unsafe try StoredBlock.decompress(lz4: payload, into: target)
            return unsafe PinnedBlock(bytes: UnsafeRawBufferPointer(target), owner: nil)
        } catch {
            throw .corruption(error, in: "block \(number)", path: table.path, offset: offset)
        }
    }

    /// Reads a run that holds `number`: from it on, or up to it.
    private func fill(from number: Int, backward: Bool) throws(VarveError) {
        var first = number
        var last = number
        let extent = try table.extent(of: number)
        var bytes = extent.lowerBound..<extent.upperBound
        while true {
            let candidate = backward ? first - 1 : last + 1
            guard candidate >= 0, candidate < table.index.count else { break }
            let more = try table.extent(of: candidate)
            guard bytes.count + more.count <= runBytes else { break }
            bytes = min(bytes.lowerBound, more.lowerBound)..<max(bytes.upperBound, more.upperBound)
            if backward { first = candidate } else { last = candidate }
        }
        runBytes = min(runBytes * 2, Self.largestRun)
        blocks = 0..<0
        if unsafe window.count < bytes.count {
            unsafe window.deallocate()
            unsafe window = .allocate(byteCount: max(bytes.count, runBytes), alignment: 16)
        }
        windowOffset = bytes.lowerBound
        let target = unsafe UnsafeMutableRawBufferPointer(rebasing: window[..<bytes.count])
        unsafe try table.read(into: target, at: UInt64(bytes.lowerBound))
        blocks = first..<last + 1
    }
}
