internal import CVarveIO
internal import Glibc

/// A mapping under the SIGBUS guard; unmapped when the last reference goes.
@safe
final class GuardedMap: @unchecked Sendable {
    // Unchecked: constants; the bytes behind them are the kernel's, and each user says below who may touch them.
    let base: UnsafeMutableRawPointer
    let count: Int
    private let slot: Int32

    /// Maps [0, count) of the file, shared.
    init(_ descriptor: Int32, count: Int, isWritable: Bool, path: String) throws(IOError) {
        let protection = isWritable ? PROT_READ | PROT_WRITE : PROT_READ
        // An empty map is a page that nobody may touch: the kernel refuses to map no bytes, and a base is promised.
        let mapped = max(count, 1)
        let address = unsafe mmap(nil, mapped, protection, MAP_SHARED, descriptor, 0)
        guard let address = unsafe address, unsafe address != MAP_FAILED else {
            throw IOError(code: errno, operation: "map", path: path)
        }
        slot = unsafe varve_guard_add(address, mapped, isWritable)
        guard slot >= 0 else {
            unsafe munmap(address, mapped)
            throw IOError(code: ENOMEM, operation: "guard one more map of", path: path)
        }
        unsafe base = address
        self.count = count
    }

    deinit {
        varve_guard_remove(slot)
        unsafe munmap(base, max(count, 1))
    }

    var isDamaged: Bool { varve_guard_damaged(slot) }

    /// Copies to `offset`, which the caller has checked; false where the map is damaged.
    func store(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> Bool {
        guard let source = bytes.baseAddress else { return !isDamaged }
        return unsafe varve_guard_store(slot, base + offset, source, bytes.count)
    }

    /// Page-aligned advice; a refusal costs speed only and is not told.
    func advise(_ advice: Int32, offset: Int, length: Int) {
        let page = Int(getpagesize())
        let start = offset / page * page
        _ = unsafe madvise(base + start, offset + length - start, advice)
    }
}

/// A kernel's file, mapped to read.
@safe
final class PosixFileMap: FileMap {
    private let map: GuardedMap

    init(_ map: GuardedMap, advice: MapAdvice) {
        self.map = map
        switch advice {
        case .normal: break
        case .random: map.advise(MADV_RANDOM, offset: 0, length: map.count)
        case .sequential: map.advise(MADV_SEQUENTIAL, offset: 0, length: map.count)
        }
    }

    var base: UnsafeRawPointer { unsafe UnsafeRawPointer(map.base) }
    var count: Int { map.count }
    var isDamaged: Bool { map.isDamaged }

    /// The kernel tells the truth to who may write the file, and "resident" to everybody else.
    func isResident(offset: Int, length: Int) -> Bool {
        checkRange(offset, length)
        var resident = false
        return unsafe varve_is_resident(base + offset, length, &resident) == 0 && resident
    }

    func willNeed(offset: Int, length: Int) {
        checkRange(offset, length)
        map.advise(MADV_WILLNEED, offset: offset, length: length)
    }

    private func checkRange(_ offset: Int, _ length: Int) {
        precondition(offset >= 0 && length >= 0 && length <= count - offset, "outside the map")
    }
}

/// A kernel's file, mapped for stores.
final class PosixStoreMap: StoreMap {
    private let map: GuardedMap

    init(_ map: GuardedMap) { self.map = map }

    var count: Int { map.count }

    func store(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> Bool {
        precondition(offset >= 0 && offset <= count && bytes.count <= count - offset, "store outside the map")
        return unsafe map.store(bytes, at: offset)
    }
}
