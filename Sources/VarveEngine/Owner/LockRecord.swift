/// What the LOCK file says of the process that has the store open. Text, for people too:
///
///     varve-lock 1
///     process 1234
///     boot 7d7d1b0c-...
///     started 1763694033000000000
///     program varve
///     socket /run/user/1000/varve/0123456789abcdef.sock
///     check 89abcdef01234567
///
/// Bytes that would break a line, and the percent sign, stand as %XX. The last line holds the XXH3-64 of all before it.
/// `socket` is missing where none is offered. Fields that a later version adds are passed over.
///
/// Advice only: the advisory lock on the file decides who holds the store.
struct LockRecord: Equatable, Sendable {
    var processID: Int32
    /// The kernel's boot: a process id means nothing under another.
    var bootID: String
    /// When the store was opened.
    var started: Timestamp
    var program: String
    var socketPath: String?

    private static let firstLine = "varve-lock 1"

    /// For messages: "varve (process 1234)".
    var holder: String {
        let name = program.isEmpty ? "a process" : program
        return "\(name) (process \(processID))"
    }

    func encoded() -> [UInt8] {
        var text = "\(LockRecord.firstLine)\nprocess \(processID)\nboot \(LockRecord.escaped(bootID))\n"
        text += "started \(started)\nprogram \(LockRecord.escaped(program))\n"
        if let socketPath { text += "socket \(LockRecord.escaped(socketPath))\n" }
        var bytes = Array(text.utf8)
        let check = unsafe bytes.withUnsafeBytes { unsafe XXH3.hash64($0) }
        bytes += Array("check \(hexadecimal(check))\n".utf8)
        precondition(bytes.count <= Limits.lockRecordBytes, "a lock record's fields are short")
        return bytes
    }

    private static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            if scalar.value < 0x20 || scalar.value == 0x7F || scalar == "%" {
                let digits = String(scalar.value, radix: 16, uppercase: true)
                result += digits.utf8.count == 1 ? "%0\(digits)" : "%\(digits)"
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}

extension LockRecord {
    /// Reads a LOCK file's bytes.
    init(decoding bytes: [UInt8]) throws(DecodeError) {
        guard !bytes.isEmpty else { throw .truncated }
        guard bytes.count <= Limits.lockRecordBytes else { throw .outOfRange("a lock record of \(bytes.count) bytes") }
        var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        // The text ends with a line end, so an empty piece follows it.
        guard lines.popLast()?.isEmpty == true, let last = lines.popLast() else { throw .truncated }
        let covered = bytes.count - last.count - 1
        let check = unsafe bytes.withUnsafeBytes {
            unsafe XXH3.hash64(UnsafeRawBufferPointer(rebasing: $0[..<covered]))
        }
        guard last.elementsEqual("check \(hexadecimal(check))".utf8) else {
            throw .malformed("the lock record's check line does not match")
        }
        guard let first = lines.first, first.elementsEqual(LockRecord.firstLine.utf8) else {
            throw .unknown("a lock record of another version")
        }
        var fields: [String: String] = [:]
        for line in lines.dropFirst() {
            guard let gap = line.firstIndex(of: UInt8(ascii: " ")) else { throw .malformed("a line without a field") }
            let name = String(decoding: line[..<gap], as: UTF8.self)
            fields[name] = try LockRecord.unescaped(line[line.index(after: gap)...])
        }
        guard let process = fields["process"].flatMap({ Int32($0) }), process > 0,
            let started = fields["started"].flatMap({ Timestamp($0) }),
            let boot = fields["boot"], let program = fields["program"]
        else { throw .malformed("a field is missing or is no number") }
        self.init(
            processID: process, bootID: boot, started: started, program: program, socketPath: fields["socket"])
    }

    private static func unescaped(_ bytes: ArraySlice<UInt8>) throws(DecodeError) -> String {
        var result: [UInt8] = []
        var rest = bytes
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                result.append(byte)
                continue
            }
            guard let high = rest.popFirst(), let low = rest.popFirst(),
                let value = UInt8(String(decoding: [high, low], as: UTF8.self), radix: 16)
            else { throw .malformed("a broken escape") }
            result.append(value)
        }
        return String(decoding: result, as: UTF8.self)
    }
}
