internal import VarveIO

/// The content of the file DEGRADED: whether the mark is set, why, and the floors of source versions that were
/// acknowledged while it was.
///
/// Every sector of 512 bytes stands for itself, with its own checksum, because an overwrite that the power cuts short
/// leaves each sector old or new. The first one is the mark; where it cannot be read the mark counts as set. The others
/// hold 63 floors each. See docs/formats/degraded.md.
struct DegradedMarkFile: Sendable {
    /// Since when, and why.
    struct Mark: Hashable, Sendable {
        var time: Timestamp
        var cause: String
    }

    /// Nil: not set.
    var mark: Mark?
    var floors = FloorTable()
    /// Sectors of floors that could not be read.
    private(set) var damagedSectors: [Int] = []
    let storeID: UniqueID

    static let sectorBytes = 512
    static let floorsPerSector = 63
    private static let floorSectors = (FloorTable.slotCount + floorsPerSector - 1) / floorsPerSector
    /// Whole pages of 4 KiB.
    static let bytes = (sectorBytes * (1 + floorSectors) + 4095) / 4096 * 4096

    /// "VARVEDGR", little-endian.
    private static let magic: UInt64 = 0x5247_4445_5652_4156
    private static let version: UInt32 = 0
    private static let causeBytes = 256
    private static let checksumOffset = sectorBytes - 8

    init(storeID: UniqueID) { self.storeID = storeID }

    /// The sector that holds a slot's floor.
    static func sector(ofSlot slot: UInt16) -> Int { 1 + Int(slot) / floorsPerSector }

    // MARK: Encoding

    func encoded() -> [UInt8] {
        var all: [UInt8] = []
        all.reserveCapacity(DegradedMarkFile.bytes)
        for sector in 0...DegradedMarkFile.floorSectors { all += encoded(sector: sector) }
        all += [UInt8](repeating: 0, count: DegradedMarkFile.bytes - all.count)
        return all
    }

    func encoded(sector: Int) -> [UInt8] {
        var buffer = ByteBuffer(capacity: DegradedMarkFile.sectorBytes)
        if sector == 0 {
            encodeMark(into: &buffer)
        } else {
            let first = (sector - 1) * DegradedMarkFile.floorsPerSector
            for slot in first..<min(first + DegradedMarkFile.floorsPerSector, FloorTable.slotCount) {
                buffer.appendFixed(floors.floor(ofSlot: UInt16(slot)))
            }
        }
        while buffer.count < DegradedMarkFile.checksumOffset { buffer.append(0 as UInt8) }
        buffer.appendFixed(unsafe XXH3.hash64(buffer.bytes, seed: UInt64(sector)))
        return buffer.array()
    }

    private func encodeMark(into buffer: inout ByteBuffer) {
        buffer.appendFixed(DegradedMarkFile.magic)
        buffer.appendFixed(DegradedMarkFile.version)
        buffer.appendFixed(UInt32(mark == nil ? 0 : 1))
        buffer.appendFixed(storeID.high)
        buffer.appendFixed(storeID.low)
        buffer.appendFixed(mark?.time ?? 0)
        // Cut between characters, so that what is read back is text.
        var cause = mark?.cause ?? ""
        while cause.utf8.count > DegradedMarkFile.causeBytes { cause.removeLast() }
        buffer.appendFixed(UInt16(cause.utf8.count))
        buffer.append(Array(cause.utf8))
    }

    // MARK: Decoding

    /// Reads a file's bytes. Throws where the mark itself cannot be read; floors that cannot be are left out and named.
    init(reading bytes: [UInt8], path: String) throws(VarveError) {
        let outcome: Result<DegradedMarkFile, DecodeError> = unsafe bytes.withBytes { bytes in
            do throws(DecodeError) { return .success(unsafe try DegradedMarkFile(decoding: bytes)) } catch {
                return .failure(error)
            }
        }
        do { self = try outcome.get() } catch { throw .corruption(error, in: "the degraded mark", path: path) }
    }

    init(decoding bytes: UnsafeRawBufferPointer) throws(DecodeError) {
        guard let first = unsafe DegradedMarkFile.verified(bytes, sector: 0) else {
            throw .malformed("its checksum does not match")
        }
        var reader = unsafe ByteReader(first)
        guard try reader.fixed(UInt64.self) == DegradedMarkFile.magic else { throw .malformed("it has another magic") }
        let version = try reader.fixed(UInt32.self)
        guard version == DegradedMarkFile.version else { throw .unknown("format version \(version)") }
        let state = try reader.fixed(UInt32.self)
        guard state <= 1 else { throw .unknown("state \(state)") }
        storeID = UniqueID(high: try reader.fixed(), low: try reader.fixed())
        let time = try reader.fixed(Int64.self)
        let length = Int(try reader.fixed(UInt16.self))
        guard length <= DegradedMarkFile.causeBytes else { throw .outOfRange("a cause of \(length) bytes") }
        let cause = unsafe String(decoding: try reader.bytes(length), as: UTF8.self)
        mark = state == 1 ? Mark(time: time, cause: cause) : nil
        for sector in 1...DegradedMarkFile.floorSectors { unsafe readFloors(bytes, sector) }
    }

    /// Throws where floors could not be read.
    func checkFloors(path: String) throws(VarveError) {
        guard let sector = damagedSectors.first else { return }
        throw .corruption(
            "sector \(sector), which holds floors", path: path, offset: UInt64(sector * DegradedMarkFile.sectorBytes))
    }

    private mutating func readFloors(_ bytes: UnsafeRawBufferPointer, _ sector: Int) {
        guard let content = unsafe DegradedMarkFile.verified(bytes, sector: sector) else {
            damagedSectors.append(sector)
            return
        }
        var reader = unsafe ByteReader(content)
        let first = (sector - 1) * DegradedMarkFile.floorsPerSector
        for slot in first..<min(first + DegradedMarkFile.floorsPerSector, FloorTable.slotCount) {
            guard let version = try? reader.fixed(UInt64.self) else { return }
            floors.raise(FloorTable.Floor(slot: UInt16(slot), version: version))
        }
    }

    /// A sector without its checksum; nil where that does not match, or the sector is not there.
    private static func verified(_ bytes: UnsafeRawBufferPointer, sector: Int) -> UnsafeRawBufferPointer? {
        let start = sector * sectorBytes
        guard bytes.count >= start + sectorBytes else { return nil }
        let content = unsafe UnsafeRawBufferPointer(rebasing: bytes[start..<(start + checksumOffset)])
        let sum = unsafe XXH3.hash64(content, seed: UInt64(sector))
        var tail = unsafe ByteReader(UnsafeRawBufferPointer(rebasing: bytes[(start + checksumOffset)...]))
        guard let stated = try? tail.fixed(UInt64.self), stated == sum else { return nil }
        return unsafe content
    }
}
