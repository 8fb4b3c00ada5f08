internal import VarveEngine

/// Below which source versions nothing is served any more, by the bytes that keys begin with. A value; bounded, since none is
/// ever forgotten: a late writer may come at any time.
///
/// What names a source version is judged by that alone. What names none is judged by when it was written.
struct PrefixFloors: Hashable, Sendable {
    struct Floor: Hashable, Sendable {
        var prefix: [UInt8]
        /// What is older goes.
        var version: UInt64
        /// What names no source version and was written up to here goes.
        var since: UInt64

        fileprivate func hides(_ key: RawSpan, _ sourceVersion: UInt64, _ version: UInt64) -> Bool {
            let isOlder = sourceVersion > 0 ? sourceVersion < self.version : version <= since
            return isOlder && key.starts(with: prefix)
        }
    }

    private(set) var floors: [Floor] = []

    /// Each read from disk looks at all of them.
    static let most = 256
    static let mostBytes = 64 << 10

    var isEmpty: Bool { floors.isEmpty }

    /// The same with one more. Those of longer prefixes that it covers are left out.
    /// - Throws: `.limitExceeded` where they are too many.
    func raised(_ prefix: [UInt8], to version: UInt64, since: UInt64) throws(VarveError) -> PrefixFloors {
        var next = self
        let former = floors.first { $0.prefix == prefix }?.version ?? 0
        let floor = Floor(prefix: prefix, version: max(former, version), since: since)
        next.floors.removeAll { $0.prefix.starts(with: prefix) && $0.version <= floor.version }
        next.floors.append(floor)
        guard next.floors.count <= PrefixFloors.most,
            next.floors.reduce(0, { $0 + $1.prefix.count }) <= PrefixFloors.mostBytes
        else {
            throw VarveError(
                .limitExceeded,
                "a cache remembers \(PrefixFloors.most) prefixes, of \(PrefixFloors.mostBytes) bytes together, below whose source "
                    + "versions nothing comes back; a shorter prefix takes the place of those that it covers")
        }
        return next
    }

    /// Whether what stands under a key may not be served. `sourceVersion`: 0 for none. `version`: which write made it.
    func hides(_ key: RawSpan, sourceVersion: UInt64, version: UInt64) -> Bool {
        floors.contains { $0.hides(key, sourceVersion, version) }
    }

    /// Since when at the latest that is so: of the floors that hide it the one that was raised first; nil: it may be served.
    func earliest(hiding key: RawSpan, sourceVersion: UInt64, version: UInt64) -> UInt64? {
        var earliest: UInt64?
        for floor in floors where floor.since < earliest ?? .max && floor.hides(key, sourceVersion, version) {
            earliest = floor.since
        }
        return earliest
    }

    /// When one was raised last; nil: there is none.
    var latest: UInt64? { floors.lazy.map(\.since).max() }

    /// The source version below which nothing of a key is taken; 0: there is none.
    func floor(over key: RawSpan) -> UInt64 {
        floors.reduce(0) { $1.version > $0 && key.starts(with: $1.prefix) ? $1.version : $0 }
    }

    /// When a floor over a key was raised last; 0: never.
    func raisedLast(over key: RawSpan) -> UInt64 {
        floors.reduce(0) { $1.since > $0 && key.starts(with: $1.prefix) ? $1.since : $0 }
    }

    // MARK: As bytes

    private static let format: UInt8 = 1

    /// For a record of the disk. A floor that is raised by that very record has `since` 0, and no other has: when that is the
    /// log says.
    var bytes: [UInt8] {
        floors.reduce(into: [PrefixFloors.format]) { bytes, floor in
            for number in [floor.version, floor.since, UInt64(floor.prefix.count)] {
                number.withKeyBytes { bytes += [UInt8](copying: $0) }
            }
            bytes += floor.prefix
        }
    }

    /// The same once the record that raises one was written.
    func written(at version: UInt64) -> PrefixFloors {
        var written = self
        for index in floors.indices where floors[index].since == 0 { written.floors[index].since = version }
        return written
    }

    /// Those that a record raised; where it says again what stood already, all of them.
    func raised(at version: UInt64) -> [Floor] {
        let raised = floors.filter { $0.since == version }
        return raised.isEmpty ? floors : raised
    }

    /// `version`: of the record.
    /// - Throws: `.corruption`; `.unsupportedFormat` for one that another version of the program wrote.
    init(reading bytes: [UInt8], writtenAt version: UInt64) throws(VarveError) {
        var left = bytes[...]
        func malformed() -> VarveError { VarveError(.corruption, "the record of a cache's floors is malformed") }
        func number() throws(VarveError) -> UInt64 {
            guard left.count >= 8, let number = UInt64(keyBytes: left.prefix(8)) else { throw malformed() }
            left.removeFirst(8)
            return number
        }
        guard let format = left.popFirst() else { throw malformed() }
        guard format == PrefixFloors.format else {
            throw VarveError(.unsupportedFormat, "the record of a cache's floors has format \(format)")
        }
        while !left.isEmpty {
            let (floor, since, count) = (try number(), try number(), try number())
            guard count <= UInt64(left.count), floors.count < PrefixFloors.most else { throw malformed() }
            floors.append(Floor(prefix: Array(left.prefix(Int(count))), version: floor, since: since))
            left.removeFirst(Int(count))
        }
        self = written(at: version)
    }

    init() {}
}

extension RawSpan {
    /// Whether a key's bytes begin with these.
    func starts(with prefix: [UInt8]) -> Bool { unsafe withUnsafeBytes { unsafe $0.starts(with: prefix) } }
}
