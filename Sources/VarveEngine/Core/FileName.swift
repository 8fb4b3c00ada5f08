/// The number of a file of the store. One counter numbers tables, log segments and manifests, and no number is used
/// twice, so that a stale cache entry or a leftover can never be taken for another file.
typealias FileNumber = UInt64

/// The names of the files in a store's folder: built and parsed here and nowhere else.
enum FileName: Hashable, Sendable, CustomStringConvertible {
    /// Names the manifest that is in force.
    case current
    /// The advisory lock, with the holder's text.
    case lock
    /// The record of a clean close.
    case closed
    case manifest(FileNumber)
    case log(FileNumber)
    case table(FileNumber)
    /// A file that was never finished; whoever finds it at open removes it.
    case temporary(String)

    /// Nil for a name that is none of ours.
    init?(_ name: String) {
        switch name {
        case "CURRENT": self = .current
        case "LOCK": self = .lock
        case "CLOSED": self = .closed
        default:
            if name.hasSuffix(".tmp") {
                self = .temporary(String(name.dropLast(4)))
            } else if name.hasPrefix("MANIFEST-"), let number = Self.number(name.dropFirst(9)) {
                self = .manifest(number)
            } else if name.hasSuffix(".log"), let number = Self.number(name.dropLast(4)) {
                self = .log(number)
            } else if name.hasSuffix(".sst"), let number = Self.number(name.dropLast(4)) {
                self = .table(number)
            } else {
                return nil
            }
        }
    }

    var description: String {
        switch self {
        case .current: return "CURRENT"
        case .lock: return "LOCK"
        case .closed: return "CLOSED"
        case .manifest(let number): return "MANIFEST-" + Self.digits(number)
        case .log(let number): return Self.digits(number) + ".log"
        case .table(let number): return Self.digits(number) + ".sst"
        case .temporary(let name): return name + ".tmp"
        }
    }

    /// The name under which this file is written before it is renamed into place.
    var unfinished: FileName { .temporary(description) }

    /// The number of a numbered file.
    var number: FileNumber? {
        switch self {
        case .manifest(let number), .log(let number), .table(let number): return number
        case .current, .lock, .closed, .temporary: return nil
        }
    }

    func path(in directory: String) -> String { directory + "/" + description }

    /// At least six digits, so that a listing sorts by age for the first million files.
    private static func digits(_ number: FileNumber) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, 6 - text.count)) + text
    }

    /// Only the spelling that `digits` writes, so that two names never mean one file.
    private static func number(_ text: Substring) -> FileNumber? {
        guard text.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let number = FileNumber(text) else { return nil }
        return digits(number) == text ? number : nil
    }
}
