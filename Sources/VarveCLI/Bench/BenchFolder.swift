import Foundation

/// The bench's own folder. It holds a marker beside the store, so that the bench never fills, overwrites or deletes a
/// store that somebody else made.
struct BenchFolder {
    /// What the store in the folder holds, as far as the bench put it there.
    struct Content: Codable, Equatable {
        enum Kind: String, Codable { case empty, records, ycsb }
        var kind = Kind.empty
        var records: UInt64 = 0
        var valueLength = 0
    }

    private static let markerName = "varve-bench.json"
    let directory: String
    var storeDirectory: String { directory + "/store" }
    private var markerPath: String { directory + "/" + BenchFolder.markerName }

    /// Takes the folder, and creates it where it is missing. A folder that holds anything and no marker is refused.
    init(_ directory: String) throws {
        self.directory = directory
        let files = FileManager.default
        guard !files.fileExists(atPath: markerPath) else { return }
        if let names = try? files.contentsOfDirectory(atPath: directory), !names.isEmpty {
            throw UsageFailure(
                "\(directory) holds files that `varve bench` did not make; name an empty or a new folder with --dir")
        }
        try files.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try note(Content())
    }

    /// Deletes the store, so that the next one begins empty.
    func removeStore() throws {
        try note(Content())
        guard FileManager.default.fileExists(atPath: storeDirectory) else { return }
        try FileManager.default.removeItem(atPath: storeDirectory)
    }

    /// What the marker says. A marker that cannot be read says nothing, so the store is filled anew.
    var content: Content {
        guard let data = FileManager.default.contents(atPath: markerPath) else { return Content() }
        return (try? JSONDecoder().decode(Content.self, from: data)) ?? Content()
    }

    func note(_ content: Content) throws {
        try JSONEncoder().encode(content).write(to: URL(fileURLWithPath: markerPath), options: .atomic)
    }
}
