import VarveTestSupport

@testable import VarveEngine

/// A record as tests see it.
struct ModelRecord: Equatable, CustomStringConvertible {
    let key: [UInt8]
    let trailer: Trailer
    let entry: [UInt8]

    var description: String { "\(key)@\(trailer.lsn)/\(trailer.rawValue & 0xFF)=\(entry.count)B" }

    /// The order of internal keys.
    static func precedes(_ a: ModelRecord, _ key: [UInt8], _ trailer: Trailer) -> Bool {
        unsafe a.key.withUnsafeBytes { left in
            unsafe key.withUnsafeBytes { unsafe FullKey.compare(left, a.trailer, $0, trailer) < 0 }
        }
    }
}

/// A memtable beside a sorted array that holds the same.
final class ModelledMemtable {
    let memtable: Memtable
    private(set) var records: [ModelRecord] = []
    private(set) var lsn = LSN.zero

    init(capacity: Int = 64 << 20, expectedKeys: Int = 0) throws {
        memtable = try Memtable(capacity: capacity, expectedKeys: expectedKeys)
    }

    /// Inserts under the next LSN; false where there was no room.
    @discardableResult
    func insert(_ key: [UInt8], _ entry: [UInt8], _ kind: RecordKind = .put) -> Bool {
        let trailer = Trailer(lsn.next, kind)
        let done = unsafe key.withUnsafeBytes { key in
            unsafe entry.withUnsafeBytes { unsafe memtable.insert(key: key, trailer: trailer, entry: $0) }
        }
        guard done else { return false }
        lsn = lsn.next
        pending.append(ModelRecord(key: key, trailer: trailer, entry: entry))
        return true
    }

    private var pending: [ModelRecord] = []

    /// Brings the sorted array up to date.
    func settle() {
        records += pending
        pending = []
        records.sort { ModelRecord.precedes($0, $1.key, $1.trailer) }
    }

    func get(_ key: [UInt8], at lsn: LSN) -> ModelRecord? {
        let index = position(key, Trailer(seekingAt: lsn))
        return index < records.count && records[index].key == key ? records[index] : nil
    }

    /// How many records are before (key, trailer).
    func position(_ key: [UInt8], _ trailer: Trailer) -> Int {
        var low = 0
        var high = records.count
        while low < high {
            let middle = (low + high) / 2
            if ModelRecord.precedes(records[middle], key, trailer) { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

extension Memtable {
    func lookup(_ key: [UInt8], at lsn: LSN) -> ModelRecord? {
        unsafe key.withUnsafeBytes { bytes in
            unsafe get(key: bytes, at: lsn).map {
                unsafe ModelRecord(key: key, trailer: $0.trailer, entry: Array($0.entry))
            }
        }
    }
    func newest(_ key: [UInt8]) -> LSN? {
        unsafe key.withUnsafeBytes { unsafe newestLSN(of: $0) }
    }
}

extension MemtableCursor {
    /// What the cursor stands on.
    var record: ModelRecord? {
        guard isValid else { return nil }
        return unsafe ModelRecord(key: Array(key), trailer: trailer, entry: Array(entry))
    }
    func seek(_ key: [UInt8], _ trailer: Trailer) {
        unsafe key.withUnsafeBytes { unsafe seek(to: $0, trailer) }
    }
    func seekBefore(_ key: [UInt8], _ trailer: Trailer) {
        unsafe key.withUnsafeBytes { unsafe seek(before: $0, trailer) }
    }
    /// Everything from the first record on.
    func forward() -> [ModelRecord] {
        var all: [ModelRecord] = []
        seekToFirst()
        while let record {
            all.append(record)
            next()
        }
        return all
    }
    /// Everything from the last record back.
    func backward() -> [ModelRecord] {
        var all: [ModelRecord] = []
        seekToLast()
        while let record {
            all.append(record)
            previous()
        }
        return all
    }
}

/// Kinds of keys that stress different parts of the structure.
enum KeyShape: String, CaseIterable, Sendable {
    /// The benchmark's keys: 16 decimal digits, the first nine all zero, even numbers only.
    case decimal
    case ascending, descending
    /// Zero to six bytes of three letters: the empty key, keys that are prefixes of others, zero bytes.
    case tiny
    /// Two hundred equal bytes, then a little; some keys stop within the equal bytes.
    case longPrefix
    /// Four namespaces, counted keys, so that the upper nodes have short prefixes and equal chunks.
    case namespaces
    /// A prefix that counts, then a suffix that says nothing.
    case countedInside
    case random
    /// A few keys, written again and again.
    case hot
    /// Groups of keys that agree in more than a chunk beyond the node's prefix.
    case clustered
    /// Long runs of equal bytes of any length: every key is a prefix of the next.
    case nested

    func key(_ index: Int, _ random: inout SplitMix) -> [UInt8] {
        let pick = Int(random.next() % 4096)
        switch self {
        case .decimal: return FullKey.make(.default, KeyShape.digits(pick * 2))
        case .ascending: return FullKey.make(.default, KeyShape.digits(index))
        case .descending: return FullKey.make(.default, KeyShape.digits(1_000_000 - index))
        case .tiny: return (0..<Int(random.next() % 7)).map { _ in [0, 1, 255][Int(random.next() % 3)] }
        case .longPrefix:
            if pick % 50 == 0 { return [UInt8](repeating: 0x61, count: pick % 201) }
            return [UInt8](repeating: 0x61, count: 200) + KeyShape.digits(pick).suffix(1 + pick % 10)
        case .namespaces:
            return FullKey.make(NamespaceID(rawValue: UInt32([3, 16, 17, 70_000][pick % 4])), KeyShape.digits(pick))
        case .countedInside:
            return FullKey.make(
                .default, Array("user:".utf8) + KeyShape.digits(index).suffix(7) + Array(":profile:name".utf8))
        case .random: return (0..<Int(random.next() % 40)).map { _ in random.byte() }
        case .hot: return FullKey.make(.default, KeyShape.digits(pick % 5))
        case .clustered:
            return [UInt8(pick % 7)] + [UInt8](repeating: UInt8(pick % 3), count: 20) + KeyShape.digits(pick).suffix(4)
        case .nested: return [UInt8](repeating: 7, count: pick % 700)
        }
    }

    static func digits(_ number: Int) -> [UInt8] {
        let text = Array(String(number).utf8)
        return [UInt8](repeating: 0x30, count: 16 - text.count) + text
    }
}

/// Nil where two runs of records agree; else the first place where they do not, in few words.
func firstDifference(_ found: [ModelRecord], _ expected: some Collection<ModelRecord>) -> String? {
    let expected = Array(expected)
    for (index, pair) in zip(found, expected).enumerated() where pair.0 != pair.1 {
        return "at \(index) of \(expected.count): found \(pair.0), expected \(pair.1)"
    }
    return found.count == expected.count ? nil : "found \(found.count) records, expected \(expected.count)"
}
