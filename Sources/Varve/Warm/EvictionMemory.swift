internal import Synchronization
internal import VarveEngine
internal import VarveIO

/// What a full disk's eviction has learnt (which entries were read, which keys were seen lately), kept across restarts in a
/// file of the store's folder. It belongs to this node and to no log; it is never needed, and what cannot be read of it is
/// as good as none. Its members block.
final class EvictionMemory: Sendable {
    private struct Saved: Sendable {
        var counts: S3FIFOEviction.Counts?
        var time = Int64.min
        var bytes = 0
    }

    /// The policy with the most entries that there can be takes less.
    private static let limit: UInt64 = 8 << 30
    private static let interval: Int64 = 60_000_000_000
    private static let nanosecondsPerByte: Int64 = 1_000_000_000 / (128 << 10)

    private let eviction: S3FIFOEviction
    private let files: any FileSystem
    private let path: String
    private let saved = Mutex(Saved())

    init(_ eviction: S3FIFOEviction, in directory: String, _ files: any FileSystem) {
        self.eviction = eviction
        self.files = files
        path = directory + "/eviction-state"
    }

    /// Takes up what an earlier process left, before the store is opened and anything is evicted.
    func restore() {
        // The checksum within says whether it is whole; why it could not be read matters to nobody.
        guard let file = try? files.open(path, .read) else { return }
        defer { file.close() }
        guard let size = try? file.size(), size <= Self.limit, let bytes = try? file.read(count: Int(size), at: 0)
        else {
            return
        }
        _ = eviction.restore(bytes)
    }

    /// Once a minute, where something was evicted or seen since; what is large less often, so that it takes no more of the
    /// disk's time than 128 KiB a second.
    func saveIfDue(at now: Int64) {
        let counts = eviction.counts
        let isDue = saved.withLock { saved in
            let pause = max(Self.interval, Int64(saved.bytes) * Self.nanosecondsPerByte)
            if saved.counts == counts || now < Deadlines.add(pause, to: saved.time) { return false }
            saved.counts = counts
            saved.time = now
            return true
        }
        if isDue { save() }
    }

    /// Puts the present state in the old one's place. Not synced: after a power cut an older one, or none, is fine. Nor is a
    /// failure told: a full disk has no room for what is not needed, and a failing one is noticed by those who need it.
    func save() {
        let unfinished = path + ".tmp"
        do throws(IOError) {
            if try files.exists(unfinished) { try files.remove(unfinished) }
            let file = try files.open(unfinished, .createNew)
            defer { file.close() }
            let state = eviction.encodedState()
            saved.withLock { $0.bytes = state.count }
            try file.write(state, at: 0)
            try files.rename(unfinished, to: path)
        } catch {
            try? files.remove(unfinished)
        }
    }
}
