/// A position in a table. Forward and backward cost the same.
///
/// One thread at a time. After an error it is invalid until the next seek.
@safe
final class TableCursor: InternalCursor {
    /// Where the blocks come from.
    enum Access: Sendable {
        /// Through the block cache, as a lookup does. A walk that keeps missing it turns to reading ahead, and leaves the
        /// cache alone from then on.
        case point
        /// Large reads past the cache from the start: compaction, verification, whole scans.
        case sequential
        /// Through the block cache, which it leaves as it is: what is there is used, what is not is read for this cursor
        /// alone. For who looks here and there at what nobody else is about to want.
        case aside
    }

    private let table: TableReader
    private let mode: ReadMode
    private let access: Access
    private var readAhead: BlockReadAhead?
    /// Blocks in a row that a walk did not find in the cache.
    private var missesInRow = 0
    private static let missesBeforeReadingAhead = 4

    /// The block shown, and what keeps it.
    private var block: Block?
    private var pinned: PinnedBlock?
    private(set) var blockNumber = -1
    private var entryNumber = 0
    /// The shared prefix, then the suffix of the entry shown.
    private var keyBytes: UnsafeMutableRawBufferPointer
    private var keyCount = 0
    private var prefixCount = 0

    private(set) var isValid = false
    private(set) var trailer = Trailer.oldest
    private(set) var entry = unsafe UnsafeRawBufferPointer(start: nil, count: 0)

    /// Room behind the key for copying by whole words.
    private static let slack = 16

    init(_ table: TableReader, mode: ReadMode, access: Access) {
        precondition(access != .aside || mode == .mayBlock, "who looks aside waits for the disk")
        self.table = table
        self.mode = mode
        self.access = access
        unsafe keyBytes = .allocate(byteCount: 256, alignment: 16)
    }

    deinit { unsafe keyBytes.deallocate() }

    @inline(__always)
    var key: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: keyBytes.baseAddress, count: keyCount)
    }

    func seekToFirst() throws(VarveError) { try seek(toBlock: 0) }

    func seekToLast() throws(VarveError) {
        try show(block: table.index.count - 1) { $0.count - 1 }
    }

    /// Moves to the first entry of a block.
    func seek(toBlock number: Int) throws(VarveError) {
        try show(block: number) { _ in 0 }
    }

    /// Whether `next` would leave the block.
    var isAtEndOfBlock: Bool { block.map { entryNumber &+ 1 >= $0.count } ?? true }

    func seek(to key: UnsafeRawBufferPointer, _ trailer: Trailer) throws(VarveError) {
        let number = unsafe table.index.firstBlock(atOrAfter: key, trailer)
        try show(block: number) { unsafe $0.lowerBound(key, trailer) }
        // The separator may lie above the block's last entry.
        if !isValid, block != nil, entryNumber == block?.count { try show(block: number + 1) { _ in 0 } }
    }

    func seek(before key: UnsafeRawBufferPointer, _ trailer: Trailer) throws(VarveError) {
        let number = unsafe table.index.firstBlock(atOrAfter: key, trailer)
        guard number < table.index.count else { return try seekToLast() }
        try show(block: number) { unsafe $0.lowerBound(key, trailer).map { $0 - 1 } }
        if !isValid, block != nil, entryNumber == -1 { try show(block: number - 1) { $0.count - 1 } }
    }

    @inline(__always)
    func next() throws(VarveError) {
        precondition(isValid, "only a valid cursor moves")
        entryNumber &+= 1
        if try showEntry() { return }
        try show(block: blockNumber + 1) { _ in 0 }
    }

    @inline(__always)
    func previous() throws(VarveError) {
        precondition(isValid, "only a valid cursor moves")
        entryNumber &-= 1
        if try showEntry() { return }
        try show(block: blockNumber - 1) { $0.count - 1 }
    }

    /// Shows the entry at `entryNumber`; false where the block has none there.
    @inline(__always)
    private func showEntry() throws(VarveError) -> Bool {
        guard let block, entryNumber >= 0, entryNumber < block.count else {
            isValid = false
            return false
        }
        guard let found = block.entry(entryNumber) else {
            isValid = false
            try table.confirmMap()
            throw table.contradiction(blockNumber)
        }
        let count = unsafe found.suffix.count
        if unsafe prefixCount &+ count &+ Self.slack > keyBytes.count { growKey(to: prefixCount + count) }
        let target = unsafe keyBytes.baseAddress.unsafelyUnwrapped + prefixCount
        if let source = unsafe found.suffix.baseAddress {
            if unsafe count <= 8 && block.hasWord(at: source) {
                unsafe target.storeBytes(of: source.loadUnaligned(as: UInt64.self), as: UInt64.self)
            } else {
                unsafe target.copyMemory(from: source, byteCount: count)
            }
        }
        keyCount = prefixCount &+ count
        trailer = found.trailer
        unsafe entry = found.bytes
        isValid = true
        return true
    }

    @inline(never)
    private func growKey(to count: Int) {
        let larger = UnsafeMutableRawBufferPointer.allocate(byteCount: count * 2 + Self.slack, alignment: 16)
        unsafe larger.copyMemory(
            from: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(keyBytes)[..<prefixCount]))
        unsafe keyBytes.deallocate()
        unsafe keyBytes = larger
    }

    /// Moves to a block and to the entry that `choose` names; invalid where either is outside. Nil from `choose`: damage.
    private func show(block number: Int, _ choose: (Block) -> Int?) throws(VarveError) {
        isValid = false
        guard number >= 0, number < table.index.count else {
            block = nil
            pinned = nil
            // The index of a map that has failed leads anywhere.
            return try table.confirmMap()
        }
        let loaded = try load(number)
        guard let chosen = choose(loaded) else {
            try table.confirmMap()
            throw table.contradiction(number)
        }
        entryNumber = chosen
        _ = try showEntry()
        // The bytes of this block's entries may lie in the map; so may the index that led here.
        try table.confirmMap()
    }

    private func load(_ number: Int) throws(VarveError) -> Block {
        if number == blockNumber, let block { return block }
        block = nil
        let bytes = try pin(number)
        pinned = bytes
        let loaded = try table.view(bytes, number)
        let prefix = unsafe loaded.prefix
        prefixCount = 0
        if unsafe prefix.count + Self.slack > keyBytes.count { growKey(to: prefix.count) }
        unsafe keyBytes.copyMemory(from: prefix)
        prefixCount = prefix.count
        block = loaded
        blockNumber = number
        return loaded
    }

    private func pin(_ number: Int) throws(VarveError) -> PinnedBlock {
        let step = number - blockNumber
        if access == .aside { return try table.pinAside(number) }
        if mode == .memoryOnly { return try table.pin(number, mode) }
        if access == .point {
            if let present = try table.pinPresent(number, mode) {
                missesInRow = 0
                return present
            }
            missesInRow = abs(step) == 1 ? missesInRow + 1 : 0
            if missesInRow < Self.missesBeforeReadingAhead { return try table.pin(number, mode) }
        }
        let reader = readAhead ?? BlockReadAhead(table)
        readAhead = reader
        return try reader.pin(number, backward: step < 0)
    }
}
