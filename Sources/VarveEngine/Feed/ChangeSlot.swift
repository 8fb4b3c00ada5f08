internal import Synchronization
internal import VarveIO

/// A named place in the log: what lies after it is kept for a feed that comes back, up to a cap in bytes.
///
///     let slot = try await engine.changeSlot(named: "search index", capBytes: 1 << 30)
///     for try await change in try engine.changes(since: slot.cursor) {
///         try await index.apply(change)
///         if change.endsBatch { try await slot.acknowledge(change.cursor) }     // every so often is enough
///     }
///
/// It outlives the process. A reader that falls behind by more than the cap loses the log, and its feed throws `.logGap`:
/// a slow reader never fills the disk.
public struct ChangeSlot: Sendable {
    public let name: String
    /// The store's engine: another one may have taken the place of that which made the slot.
    private let present: @Sendable () -> Engine
    private var engine: Engine { present() }

    package init(name: String, _ engine: @escaping @Sendable () -> Engine) {
        self.name = name
        present = engine
    }

    /// Up to where changes were acknowledged: where a feed goes on.
    public var cursor: ChangeCursor { get throws(VarveError) { try engine.cursor(ofSlot: name) } }

    /// Lets the log go up to a place: everything before it was dealt with. Durable when it returns; one small write of its
    /// own, so once a second or once a megabyte is often enough. A place behind the slot's changes nothing.
    public func acknowledge(_ cursor: ChangeCursor) async throws(VarveError) {
        let engine = engine
        try await engine.context.feedThreads.run { [name] () throws(VarveError) in
            guard try engine.moveSlot(name, to: cursor) else {
                throw VarveError(.invalidArgument, "there is no slot \(name)")
            }
        }
    }

    /// Forgets the slot: no log is kept for it any more.
    public func remove() async throws(VarveError) {
        let engine = engine
        try await engine.context.feedThreads.run { [name] () throws(VarveError) in
            _ = try engine.removeSlot(name)
        }
    }
}

extension Engine {
    /// The slot of that name. Where there is none it is made, at a place or at the present, and is durable when this returns.
    /// - Parameter capBytes: the log that is kept for it at most; nil: as before, or the store's limit.
    /// - Throws: `.logGap` and `.notContinuing` for a place that cannot be kept; `.readOnly`.
    public func changeSlot(
        named name: String, since start: ChangeCursor? = nil, capBytes: UInt64? = nil
    ) async throws(VarveError) -> ChangeSlot {
        try await context.feedThreads.run { [self] () throws(VarveError) in try makeSlot(name, start, capBytes) }
        return ChangeSlot(name: name) { self }
    }

    private func makeSlot(_ name: String, _ start: ChangeCursor?, _ capBytes: UInt64?) throws(VarveError) {
        if try isKnown(name, setting: capBytes) { return }
        let start = start ?? changeCursor
        try checkHistory(of: start)
        // What is not durable may be written anew after a power cut, and a slot must not stand beyond it.
        try writing?.log.groupSync.wait(upTo: start.lsn)
        try slotTurn.withLock { (_) throws(VarveError) in
            // Somebody else may have made it meanwhile.
            if versions.state.slots[name] != nil { return }
            try setSlot(name, start.lsn, capBytes: capBytes)
            do throws(VarveError) { try checkHeld(start) } catch {
                _ = try dropSlot(name)
                throw error
            }
        }
    }

    /// Whether there is a slot of that name, which then gets a limit where one is given.
    private func isKnown(_ name: String, setting capBytes: UInt64?) throws(VarveError) -> Bool {
        try slotTurn.withLock { (_) throws(VarveError) in
            guard let known = versions.state.slots[name] else { return false }
            if let capBytes, capBytes != known.capBytes { try setSlot(name, known.lsn, capBytes: capBytes) }
            return true
        }
    }

    fileprivate func cursor(ofSlot name: String) throws(VarveError) -> ChangeCursor {
        guard let slot = versions.state.slots[name] else {
            throw VarveError(.invalidArgument, "there is no slot \(name)")
        }
        return cursor(at: slot.lsn)
    }
}
