internal import VarveIO

/// Which segments may go: those that tables hold and that nobody who registered still needs, up to a stated cap.
struct LogRetention: Equatable {
    /// Somebody who reads the log (an archive, a follower, a feed) and has got so far.
    struct Slot: Hashable, Sendable {
        let name: String
        /// Everything up to here has been taken.
        let lsn: LSN
        /// Log that is kept for it at most; beyond that it is passed over.
        let capBytes: UInt64
    }

    struct Held: Equatable, Sendable {
        let firstLSN: LSN
        let bytes: UInt64
    }

    /// Oldest first; the last is being written.
    var segments: [Held]
    /// Tables hold everything up to here.
    var flushed: LSN
    var slots: [Slot] = []

    struct Decision: Equatable {
        /// How many of the oldest segments may go.
        let removable: Int
        /// Slots that held back more than their cap and lose log with this decision.
        let lost: [String]
        /// The log that stays.
        let keptBytes: UInt64
    }

    var decision: Decision {
        let flushedCount = obsolete(through: flushed)
        var removable = flushedCount
        var lost: [String] = []
        // From the slot that is furthest behind: one within its cap holds back for all that are further ahead.
        for slot in slots.sorted(by: { ($0.lsn, $0.name) < ($1.lsn, $1.name) }) {
            let wanted = obsolete(through: slot.lsn)
            guard wanted < removable else { continue }
            let keptForIt = bytes(from: wanted)
            if keptForIt <= slot.capBytes { removable = wanted } else { lost.append(slot.name) }
        }
        // A slot whose log stays for another's sake has not lost any.
        let kept = removable
        lost.removeAll { name in
            slots.contains { $0.name == name && obsolete(through: $0.lsn) >= kept }
        }
        return Decision(removable: removable, lost: lost, keptBytes: bytes(from: removable))
    }

    /// How many segments lie wholly at or before `lsn`; never the last.
    private func obsolete(through lsn: LSN) -> Int {
        var count = 0
        while count + 1 < segments.count, segments[count + 1].firstLSN <= lsn.next { count += 1 }
        return count
    }

    private func bytes(from index: Int) -> UInt64 {
        segments[index...].reduce(0) { $0 &+ $1.bytes }
    }
}

extension LogWriter {
    /// Lets segments go as decided, except those that a reader pins: their files are used again or removed. Any thread,
    /// one at a time.
    func removeObsoleteSegments(flushed: LSN, slots: [LogRetention.Slot]) throws(VarveError) -> LogRetention.Decision {
        let fileSystem = catalog.fileSystem
        var held: [LogRetention.Held] = []
        let segments = catalog.segments
        for segment in segments {
            let bytes = try segment.bytes(fileSystem, isSealed: segment !== segments.last)
            held.append(LogRetention.Held(firstLSN: segment.firstLSN, bytes: bytes))
        }
        let decision = LogRetention(segments: held, flushed: flushed, slots: slots).decision
        do throws(IOError) {
            var unnamed: [String] = []
            for segment in catalog.removeOldest(decision.removable) {
                if try fileSystem.linkCount(segment.path) == 1, preparer.hasRoomForRecycled {
                    let temporary = FileName.log(segment.number).temporaryPath(in: catalog.directory)
                    try fileSystem.rename(segment.path, to: temporary)
                    unnamed.append(temporary)
                } else {
                    try fileSystem.remove(segment.path)
                }
            }
            // The old names must be gone for good before another segment's header goes into these files: one that came
            // back after a power cut would name a file that is no longer its own.
            if !unnamed.isEmpty { try fileSystem.syncDirectory(catalog.directory) }
            for path in unnamed {
                if !preparer.offer(path) { try fileSystem.remove(path) }
            }
        } catch {
            throw VarveError(error)
        }
        return decision
    }
}
