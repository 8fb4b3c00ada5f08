package import VarveIO

/// A folder whose store cannot be opened as it is, kept from others while a cache goes on in memory without it: its lock, and
/// its degraded mark, which needs neither manifest nor log.
package final class HeldStore: Sendable {
    /// Nil where there is none that could be set in place.
    package let mark: DegradedMark?
    /// Whether the folder holds no store, so that nothing of before can come back from it.
    package let isNew: Bool
    private let lock: StoreHold?

    private init(mark: DegradedMark?, isNew: Bool, lock: StoreHold?) {
        self.mark = mark
        self.isNew = isNew
        self.lock = lock
    }

    /// Writes nothing. Blocks.
    /// - Throws: `.storeInUse`, and what looking at the folder does.
    package static func hold(at directory: String, _ files: any FileSystem) throws(VarveError) -> HeldStore {
        let hasFolder = try lifted { () throws(IOError) in try files.exists(directory) }
        let names = hasFolder ? try lifted { () throws(IOError) in try files.list(directory) } : []
        let isNew =
            !names.compactMap { FileName($0) }.contains(where: StoreOpener.provesStore)
            && !names.contains(FileName.current.text)
        let lock: StoreLock?
        do throws(VarveError) {
            lock = try StoreLock.take(files, path: FileName.lock.path(in: directory))
        } catch {
            // Where nobody has made a store yet there may be no room for a lock either, and nothing to keep others from.
            guard isNew, error.code != .storeInUse else { throw error }
            lock = nil
        }
        do throws(VarveError) {
            let mark = isNew ? nil : try DegradedMark.openInPlace(in: directory, files)
            return HeldStore(mark: mark, isNew: isNew, lock: lock.map { StoreHold($0) })
        } catch {
            lock?.release(keepsRecord: true)
            throw error
        }
    }

    /// Lets others have the folder, as whoever had the store open last left it. Blocks.
    package func letGo() {
        mark?.close()
        lock?.release(keepsRecord: true)
    }
}
