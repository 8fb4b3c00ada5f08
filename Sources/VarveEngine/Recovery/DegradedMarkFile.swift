internal import VarveIO

/// The content of the file DEGRADED: whether the mark is set, why, and the floors of source versions that were
/// acknowledged while it was.
///
/// Every sector of 512 bytes stands for itself, with its own checksum and generation, and there are two copies of each,
/// in the two halves of the file. A change is written over the copy that is not known to be durable, so that one which is
/// cut short at any byte leaves the other; of two that can be read the newer one counts. The first sector is the mark;
/// where neither copy of it can be read the mark counts as set. The others hold 62 floors each; where neither copy of one
/// can be read, and the mark may be set, its floors are as high as can be: what is lost must not let old data back in.
/// See docs/formats/degraded.md.
struct DegradedMarkFile: Sendable {
    /// Since when, and why.
    struct Mark: Hashable, Sendable {
        var time: Timestamp
        var cause: String
    }

    /// What is known of a sector's two copies.
    struct Copies: Hashable, Sendable {
        /// Which one is the newer.
        var newest = 0
        var generation: UInt64 = 1
        /// How many can be read.
        var readable = 2
    }

    /// Nil: not set.
    var mark: Mark?
    var floors = FloorTable()
    private(set) var copies = [Copies](repeating: Copies(), count: sectorCount)
    /// Whether the file has its full length and is the store's, so that it can be written in place.
    private(set) var isAllThere = true
    let storeID: UniqueID

    static let sectorBytes = 512
    static let floorsPerSector = 62
    static let sectorCount = 1 + (FloorTable.slotCount + floorsPerSector - 1) / floorsPerSector
    /// Whole pages of 4 KiB.
    static let copyBytes = (sectorBytes * sectorCount + 4095) / 4096 * 4096
    static let bytes = 2 * copyBytes

    /// "VARVEDGR", little-endian.
    private static let magic: UInt64 = 0x5247_4445_5652_4156
    private static let version: UInt32 = 0
    private static let causeBytes = 256
    private static let generationOffset = sectorBytes - 16
    private static let checksumOffset = sectorBytes - 8

    init(storeID: UniqueID) { self.storeID = storeID }

    /// The sector that holds a slot's floor.
    static func sector(ofSlot slot: UInt16) -> Int { 1 + Int(slot) / floorsPerSector }

    static func offset(ofSector sector: Int, copy: Int) -> Int { copy * copyBytes + sector * sectorBytes }

    private static func slots(ofSector sector: Int) -> Range<Int> {
        let first = (sector - 1) * floorsPerSector
        return first..<min(first + floorsPerSector, FloorTable.slotCount)
    }

    // MARK: Encoding

    /// The whole file, both copies alike.
    func encoded() -> [UInt8] {
        var all: [UInt8] = []
        all.reserveCapacity(DegradedMarkFile.bytes)
        for copy in 0...1 {
            for sector in copies.indices {
                all += encoded(sector: sector, copy: copy, generation: copies[sector].generation)
            }
            all += [UInt8](repeating: 0, count: (copy + 1) * DegradedMarkFile.copyBytes - all.count)
        }
        return all
    }

    func encoded(sector: Int, copy: Int, generation: UInt64) -> [UInt8] {
        var buffer = ByteBuffer(capacity: DegradedMarkFile.sectorBytes)
        if sector == 0 {
            encodeMark(into: &buffer)
        } else {
            for slot in DegradedMarkFile.slots(ofSector: sector) {
                buffer.appendFixed(floors.floor(ofSlot: UInt16(slot)))
            }
        }
        while buffer.count < DegradedMarkFile.generationOffset { buffer.append(0 as UInt8) }
        buffer.appendFixed(generation)
        buffer.appendFixed(unsafe XXH3.hash64(buffer.bytes, seed: DegradedMarkFile.seed(sector, copy)))
        return buffer.array()
    }

    private static func seed(_ sector: Int, _ copy: Int) -> UInt64 { UInt64(copy) << 32 | UInt64(sector) }

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

    /// Reads a file's bytes. Throws where neither copy of the mark can be read.
    init(reading bytes: [UInt8], path: String) throws(VarveError) {
        let outcome: Result<DegradedMarkFile, DecodeError> = unsafe bytes.withBytes { bytes in
            do throws(DecodeError) { return .success(unsafe try DegradedMarkFile(decoding: bytes)) } catch {
                return .failure(error)
            }
        }
        do { self = try outcome.get() } catch { throw .corruption(error, in: "the degraded mark", path: path) }
    }

    init(decoding bytes: UnsafeRawBufferPointer) throws(DecodeError) {
        var found: (content: MarkSector, copies: Copies)?
        var failure = DecodeError.malformed("its checksum does not match")
        var readable = 0
        for copy in 0...1 {
            guard let content = unsafe DegradedMarkFile.verified(bytes, sector: 0, copy: copy) else { continue }
            do throws(DecodeError) {
                let sector = unsafe try MarkSector(content.bytes)
                readable += 1
                if found.map({ content.isNewer(than: $0.copies.generation) }) ?? true {
                    found = (sector, Copies(newest: copy, generation: content.generation))
                }
            } catch {
                failure = error
            }
        }
        guard let found else { throw failure }
        self.init(storeID: found.content.storeID)
        mark = found.content.mark
        copies[0] = found.copies
        copies[0].readable = readable
        unsafe readFloors(bytes)
    }

    /// What can be told of a store's mark file that may be damaged: where the mark cannot be read, or is another store's,
    /// it counts as set.
    init(salvaging bytes: [UInt8], of storeID: UniqueID, path: String) {
        var reason: VarveError
        do throws(VarveError) {
            let file = try DegradedMarkFile(reading: bytes, path: path)
            if file.storeID == storeID {
                self = file
                return
            }
            reason = VarveError(.corruption, "\(path) is of another store", path: path)
            self.init(storeID: storeID)
            // Nothing of it is this store's: what is written beside it might count for less.
            isAllThere = false
            for sector in copies.indices { copies[sector].readable = 0 }
        } catch {
            reason = error
            self.init(storeID: storeID)
            copies[0].readable = 0
            mark = Mark(time: 0, cause: "")
            unsafe bytes.withBytes { bytes in unsafe readFloors(bytes) }
        }
        mark = Mark(time: 0, cause: "the mark cannot be read: \(reason.message)")
    }

    /// Sectors of which neither copy can be read.
    var lostSectors: [Int] { copies.indices.filter { copies[$0].readable == 0 } }

    /// Whether both copies of every sector can be read.
    var isWhole: Bool { copies.allSatisfy { $0.readable == 2 } }

    /// To be written anew, whole.
    mutating func renewCopies() { copies = [Copies](repeating: Copies(), count: DegradedMarkFile.sectorCount) }

    /// Throws where something is lost.
    func check(path: String) throws(VarveError) {
        guard let sector = lostSectors.first else { return }
        throw .corruption(
            "both copies of sector \(sector), which holds floors", path: path,
            offset: UInt64(DegradedMarkFile.offset(ofSector: sector, copy: 0)))
    }

    private struct MarkSector {
        let storeID: UniqueID
        let mark: Mark?

        init(_ bytes: UnsafeRawBufferPointer) throws(DecodeError) {
            var reader = unsafe ByteReader(bytes)
            guard try reader.fixed(UInt64.self) == magic else { throw .malformed("it has another magic") }
            let version = try reader.fixed(UInt32.self)
            guard version == DegradedMarkFile.version else { throw .unknown("format version \(version)") }
            let state = try reader.fixed(UInt32.self)
            guard state <= 1 else { throw .unknown("state \(state)") }
            storeID = UniqueID(high: try reader.fixed(), low: try reader.fixed())
            let time = try reader.fixed(Int64.self)
            let length = Int(try reader.fixed(UInt16.self))
            guard length <= causeBytes else { throw .outOfRange("a cause of \(length) bytes") }
            let cause = unsafe String(decoding: try reader.bytes(length), as: UTF8.self)
            mark = state == 1 ? Mark(time: time, cause: cause) : nil
        }
    }

    private mutating func readFloors(_ bytes: UnsafeRawBufferPointer) {
        isAllThere = bytes.count >= DegradedMarkFile.bytes
        for sector in 1..<DegradedMarkFile.sectorCount {
            copies[sector] = Copies(newest: 0, generation: 0, readable: 0)
            var newest: UnsafeRawBufferPointer?
            for copy in 0...1 {
                guard let content = unsafe DegradedMarkFile.verified(bytes, sector: sector, copy: copy) else {
                    continue
                }
                copies[sector].readable += 1
                if unsafe newest == nil || content.isNewer(than: copies[sector].generation) {
                    unsafe newest = content.bytes
                    copies[sector].newest = copy
                    copies[sector].generation = content.generation
                }
            }
            // Without a mark nothing was acknowledged that the store itself does not know.
            let unknown: UInt64 = mark == nil ? 0 : .max
            var reader = unsafe ByteReader(newest ?? UnsafeRawBufferPointer(start: nil, count: 0))
            for slot in DegradedMarkFile.slots(ofSector: sector) {
                let version = (try? reader.fixed(UInt64.self)) ?? unknown
                floors.raise(FloorTable.Floor(slot: UInt16(slot), version: version))
            }
        }
    }

    /// A sector whose checksum matches; good as long as the file's bytes.
    @safe
    private struct Content {
        let bytes: UnsafeRawBufferPointer
        let generation: UInt64

        /// Generations go round (RFC 1982), so that there is always a next one: of two it is the one a little ahead.
        func isNewer(than other: UInt64) -> Bool { Int64(bitPattern: generation &- other) > 0 }
    }

    /// A sector without generation and checksum; nil where that does not match, or the sector is not there.
    private static func verified(
        _ bytes: UnsafeRawBufferPointer, sector: Int, copy: Int
    ) -> Content? {
        let start = offset(ofSector: sector, copy: copy)
        guard bytes.count >= start + sectorBytes else { return nil }
        let content = unsafe UnsafeRawBufferPointer(rebasing: bytes[start..<(start + checksumOffset)])
        let sum = unsafe XXH3.hash64(content, seed: seed(sector, copy))
        var tail = unsafe ByteReader(
            UnsafeRawBufferPointer(rebasing: bytes[(start + generationOffset)..<(start + sectorBytes)]))
        guard let generation = try? tail.fixed(UInt64.self),
            let stated = try? tail.fixed(UInt64.self), stated == sum
        else { return nil }
        return unsafe Content(
            bytes: UnsafeRawBufferPointer(rebasing: content[..<generationOffset]), generation: generation)
    }
}
