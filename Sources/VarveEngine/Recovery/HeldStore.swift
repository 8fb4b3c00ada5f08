internal import Synchronization
package import VarveIO

/// A folder whose store cannot be opened as it is, kept from others while a cache goes on in memory without it: its lock, and
/// its degraded mark, which needs neither manifest nor log. Any thread.
package final class HeldStore: Sendable {
    /// Whether the folder held no store, so that nothing of before can come back from it.
    package let isNew: Bool
    private let directory: String
    private let files: any FileSystem
    /// Nil where there is none that could be set in place.
    private let mark: DegradedMark?
    /// What the file system says, where it takes no writes at all: then there is none.
    private let lack: VarveError?
    /// Nil where the disk had no room for one. Held while the folder is looked at: by threads that may block only.
    private let lock: Mutex<StoreHold?>
    private let isLocked: Atomic<Bool>

    private init(_ directory: String, _ files: any FileSystem, _ look: Look) throws(VarveError) {
        self.directory = directory
        self.files = files
        isNew = look.isNew
        lack = look.readOnly
        mark = look.isNew || look.readOnly != nil ? nil : try DegradedMark.openInPlace(in: directory, files)
        lock = Mutex(look.lock.map { StoreHold($0) })
        isLocked = Atomic(look.lock != nil)
    }

    /// Writes nothing, but LOCK where there is none. Blocks.
    /// - Throws: `.storeInUse`, and what looking at the folder does.
    package static func hold(at directory: String, _ files: any FileSystem) throws(VarveError) -> HeldStore {
        let look = try Look.take(at: directory, files)
        do throws(VarveError) { return try HeldStore(directory, files, look) } catch {
            look.letGo()
            throw error
        }
    }

    /// Whether its file system takes no writes at all.
    package var isReadOnly: Bool { lack != nil }

    /// Whether nothing that the folder holds, now or later, comes back over what is changed elsewhere. Never on a file system
    /// that takes no writes: it cannot be locked against who may write to it from elsewhere.
    package var isCovered: Bool {
        if isReadOnly { return false }
        return isNew ? isLocked.load(ordering: .acquiring) : mark?.isSet == true
    }

    /// Returns once a change may be acknowledged: the mark is durable, or there is no store in the folder. That is looked at anew
    /// until the folder is locked: without a lock somebody else may have made one. Blocks.
    package func cover(cause: String, at time: Timestamp) throws(VarveError) {
        if let lack { throw lack }
        if let mark { return try mark.set(cause: cause, at: time) }
        guard isNew else { throw VarveError(.degraded, "there is no degraded mark in \(directory)", path: directory) }
        try lock.withLock { (lock) throws(VarveError) in
            guard lock == nil else { return }
            let look = try Look.take(at: directory, files)
            guard look.isNew else {
                look.letGo()
                throw VarveError(.storeInUse, "somebody else has made a store in \(directory) since", path: directory)
            }
            // It takes no writes since.
            if let lack = look.readOnly {
                look.letGo()
                throw lack
            }
            guard let taken = look.lock else { return }
            lock = StoreHold(taken)
            isLocked.store(true, ordering: .releasing)
        }
    }

    /// Lets others have the folder, as whoever had the store open last left it. Blocks.
    package func letGo() {
        mark?.close()
        lock.withLock { $0?.release(keepsRecord: true) }
    }

    /// A folder as it is once it is locked: what was seen before another may be at.
    private struct Look {
        let isNew: Bool
        /// Nil where the disk has no room for one, while there is no store to keep others from; and where a file system that
        /// takes no writes has no LOCK.
        let lock: StoreLock?
        /// What a file system says that takes no writes at all. Then the lock is shared with readers, which keeps writers out.
        let readOnly: VarveError?

        static func take(at directory: String, _ files: any FileSystem) throws(VarveError) -> Look {
            let path = FileName.lock.path(in: directory)
            var (taken, refusal): (StoreLock?, VarveError?)
            do throws(VarveError) { taken = try StoreLock.take(files, path: path) } catch {
                if error.code == .storeInUse { throw error }
                refusal = error
            }
            let isReadOnly = (refusal?.underlying as? IOError)?.isReadOnly == true
            if isReadOnly {
                let shared = try StoreLock.take(files, path: path, .shared)
                taken = shared.isHeld ? shared : nil
            }
            do throws(VarveError) {
                let isNew = try holdsNoStore(directory, files)
                if !isNew, taken == nil, !isReadOnly, let refusal { throw refusal }
                return Look(isNew: isNew, lock: taken, readOnly: isReadOnly ? refusal : nil)
            } catch {
                taken?.release(keepsRecord: true)
                throw error
            }
        }

        private static func holdsNoStore(_ directory: String, _ files: any FileSystem) throws(VarveError) -> Bool {
            let names = try lifted { () throws(IOError) in
                try files.exists(directory) ? try files.list(directory) : []
            }
            return !names.compactMap { FileName($0) }.contains(where: StoreOpener.provesStore)
                && !names.contains(FileName.current.text)
        }

        func letGo() { lock?.release(keepsRecord: true) }
    }
}
