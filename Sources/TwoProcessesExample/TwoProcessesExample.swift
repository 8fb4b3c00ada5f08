import Foundation
import Varve

/// Two processes and one cache: one owns the store and writes, the other keeps copies in memory that never grow old.
///
///     swift run TwoProcessesExample owner  /tmp/prices 5000
///     swift run TwoProcessesExample reader /tmp/prices          in another terminal, as often as you like
///
/// The owner sets eight keys to ever greater versions, up to the given number, and then stores the version of its last
/// write under "last". The reader reads all keys again and again, from memory as long as they have not changed. It ends
/// well once it has followed up to that write and reads each key's last version, and with a complaint if it ever sees a
/// key go back. Kill the owner and start it again: it goes on where its store ends, and the reader notices nothing but a
/// pause.
@main
struct TwoProcessesExample {
    static let keys = (0..<8).map { "key \($0)" }

    static func main() async throws {
        let arguments = CommandLine.arguments
        switch (arguments.dropFirst().first, arguments.count) {
        case ("owner", 4): try await own(at: arguments[2], upTo: Int(arguments[3]) ?? 0)
        case ("reader", 3): try await read(at: arguments[2])
        default: throw Complaint("usage: TwoProcessesExample owner FOLDER COUNT | TwoProcessesExample reader FOLDER")
        }
    }

    // MARK: The owner

    static func own(at folder: String, upTo last: Int) async throws {
        let cache = try await Cache<String, String>.open(at: folder)
        var version = 0
        for key in keys { version = max(version, try await number(cache.value(for: key))) }
        say("begins after \(version)")
        while version < last {
            version += 1
            let written = try await cache.set("\(version)", for: keys[version % keys.count])
            if version == last { try await cache.set("\(last) \(written)", for: "last") }
            if version % 100 == 0 { say("wrote \(version)") }
            try await Task.sleep(for: .microseconds(200))
        }
        // Until it is told to end: readers still ask.
        while readLine() != nil {}
        try await cache.close()
    }

    // MARK: The reader

    static func read(at folder: String) async throws {
        let owner = RemoteCache<String, String>(storeAt: folder)
        let mine = try Cache<String, String>.inMemory()
        let follower = try mine.follow(owner)
        var seen: [String: Int] = [:]
        while true {
            do {
                for key in keys {
                    let version = try await number(mine.value(for: key, loading: owner.loaded(for:)))
                    if version < seen[key] ?? 0 {
                        throw Complaint("\(key) went back from \(seen[key] ?? 0) to \(version)")
                    }
                    seen[key] = version
                }
                if try await hasEnded(mine, owner, follower) { break }
            } catch let error as Complaint {
                throw error
            } catch {
                // The owner is not there, or not any more: every read is a load, and there is nobody to load from.
                try await Task.sleep(for: .milliseconds(20))
            }
        }
        let counts = mine.statistics
        say("read \(counts.memoryHits + counts.loads) times, loaded \(counts.loads) times")
        try await mine.close()
    }

    /// Whether the owner has made its last write, and this process shows it.
    static func hasEnded(
        _ mine: Cache<String, String>, _ owner: RemoteCache<String, String>, _ follower: CacheFollower
    ) async throws -> Bool {
        let word = try await mine.value(for: "last", loading: owner.loaded(for:))?.split(separator: " ") ?? []
        guard word.count == 2, let last = Int(word[0]), let written = EntryVersion(String(word[1])) else {
            return false
        }
        try await follower.waitUntilFollowed(written)
        for (index, key) in keys.enumerated() {
            let expected = last - (last - index) % keys.count
            let version = try await number(mine.value(for: key, loading: owner.loaded(for:)))
            if version != expected { throw Complaint("\(key) ends at \(version) and not at \(expected)") }
        }
        return true
    }

    /// One line at once, also where the output is no terminal.
    static func say(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }

    static func number(_ text: String?) -> Int { text.flatMap { Int($0) } ?? 0 }
}

struct Complaint: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
