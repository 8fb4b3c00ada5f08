/// The number of a file of the store. One counter numbers tables, log segments and manifests, and no number is used
/// twice, so that a stale cache entry or a leftover can never be taken for another file.
typealias FileNumber = UInt64

/// The name of a file in a store's folder: built and parsed here and nowhere else.
///
/// One counter numbers all files. A name that ends in ".tmp" is unfinished and means nothing: whoever opens the store
/// removes it.
enum FileName: Hashable, Sendable, CustomStringConvertible {
    /// Names the live manifest.
    case current
    case manifest(UInt64)
    case log(UInt64)
    case table(UInt64)
    /// The advisory lock and the text of its holder.
    case lock
    /// The record of a clean close.
    case closed
    /// The degraded mark.
    case degraded

    /// The number of a numbered file.
    var number: UInt64? {
        switch self {
        case .manifest(let number), .log(let number), .table(let number): return number
        case .current, .lock, .closed, .degraded: return nil
        }
    }

    var text: String {
        switch self {
        case .current: return "CURRENT"
        case .manifest(let number): return "MANIFEST-" + FileName.digits(number)
        case .log(let number): return FileName.digits(number) + ".log"
        case .table(let number): return FileName.digits(number) + ".sst"
        case .lock: return "LOCK"
        case .closed: return "CLOSED"
        case .degraded: return "DEGRADED"
        }
    }

    var description: String { text }

    /// The name under which the file is written until it is whole.
    var temporaryText: String { text + FileName.temporarySuffix }

    static let temporarySuffix = ".tmp"

    /// Nil for a name that is not ours, unfinished files among them.
    init?(_ text: String) {
        switch text {
        case "CURRENT": self = .current
        case "LOCK": self = .lock
        case "CLOSED": self = .closed
        case "DEGRADED": self = .degraded
        default:
            if text.hasPrefix("MANIFEST-"), let number = FileName.parse(text.dropFirst(9)) {
                self = .manifest(number)
            } else if text.hasSuffix(".log"), let number = FileName.parse(text.dropLast(4)) {
                self = .log(number)
            } else if text.hasSuffix(".sst"), let number = FileName.parse(text.dropLast(4)) {
                self = .table(number)
            } else {
                return nil
            }
        }
    }

    /// Whether the name is that of an unfinished file of ours.
    static func isTemporary(_ text: String) -> Bool {
        text.hasSuffix(temporarySuffix) && FileName(String(text.dropLast(temporarySuffix.count))) != nil
    }

    /// The path of the file in a folder.
    func path(in directory: String) -> String { directory + "/" + text }
    func temporaryPath(in directory: String) -> String { directory + "/" + temporaryText }

    /// At least six digits, so that a listing sorts by age.
    private static func digits(_ number: UInt64) -> String {
        let plain = String(number)
        return String(repeating: "0", count: max(0, 6 - plain.count)) + plain
    }

    /// Only the one spelling that `digits` gives, so that two names never mean one file, and no number from which nobody
    /// could count on.
    private static func parse(_ text: Substring) -> UInt64? {
        guard text.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let number = UInt64(text), number < 1 << 62,
            digits(number) == text
        else { return nil }
        return number
    }
}
