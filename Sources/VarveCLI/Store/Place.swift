import Foundation

/// What the paths of a command line name: a mistake there is the caller's, not the disk's.
///
/// A look only: what comes to be there later is met by whoever opens or makes it.
enum Place {
    static func isFolder(_ path: String) -> Bool { kind(path) == S_IFDIR }

    /// A store's folder, there or not yet.
    static func checkStore(_ path: String) throws {
        guard let kind = kind(path) else { return }
        guard kind == S_IFDIR else { throw UsageFailure("\(path) is no folder") }
    }

    /// A store's folder that is made where there is none.
    static func checkStoreToMake(_ path: String) throws {
        if kind(path) == nil { try checkParent(of: path) } else { try checkStore(path) }
    }

    /// The folder in which something is to be made must be there.
    static func checkParent(of path: String) throws {
        let parent = URL(fileURLWithPath: path).deletingLastPathComponent().path
        guard isFolder(parent) else { throw UsageFailure("there is no folder \(parent) to make \(path) in") }
    }

    /// A file that is to be written, there or not yet.
    static func checkFile(_ path: String) throws {
        guard !isFolder(path) else { throw UsageFailure("\(path) is a folder") }
        try checkParent(of: path)
    }

    /// Whether both name the same folder, whatever links lead there.
    static func areSame(_ one: String, _ other: String) -> Bool {
        guard let one = status(one), let other = status(other) else { return false }
        return one.st_dev == other.st_dev && one.st_ino == other.st_ino
    }

    private static func kind(_ path: String) -> mode_t? { status(path).map { $0.st_mode & S_IFMT } }

    /// Nil where there is nothing, or nothing that can be looked at: whoever opens it says why.
    private static func status(_ path: String) -> stat? {
        var found = stat()
        return unsafe stat(path, &found) == 0 ? found : nil
    }
}
