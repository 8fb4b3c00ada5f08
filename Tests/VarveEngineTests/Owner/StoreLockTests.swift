import Testing
@testable import VarveEngine
import VarveIO
import VarveTestSupport

@Suite("The LOCK file's record")
struct LockRecordTests {
    private let record = LockRecord(
        processID: 4711, bootID: "7d7d1b0c-2b6f", started: 1_763_694_033_000_000_000, program: "varve",
        socketPath: "/run/user/0/varve/0123456789abcdef.sock")

    @Test("it is text, and reads back as what was written")
    func text() throws {
        let lines = String(decoding: record.encoded(), as: UTF8.self).split(separator: "\n")
        #expect(
            lines.dropLast() == [
                "varve-lock 1", "process 4711", "boot 7d7d1b0c-2b6f", "started 1763694033000000000", "program varve",
                "socket /run/user/0/varve/0123456789abcdef.sock",
            ])
        #expect(try LockRecord(decoding: record.encoded()) == record)
        #expect(record.holder == "varve (process 4711)")
    }

    @Test(
        "names with anything in them survive",
        arguments: ["", " ", "a b", "line\nbreak", "100%", "%0A", "tab\t\0", "späher 🐢", "\u{7F}"])
    func oddNames(name: String) throws {
        var odd = record
        odd.program = name
        odd.socketPath = nil
        #expect(try LockRecord(decoding: odd.encoded()) == odd)
        odd.socketPath = "/\(name)"
        odd.bootID = name
        #expect(try LockRecord(decoding: odd.encoded()) == odd)
    }

    @Test("cut anywhere, or with any one byte changed, it is refused")
    func damage() {
        let bytes = record.encoded()
        for length in bytes.indices {
            #expect(throws: DecodeError.self, "cut at \(length)") {
                try LockRecord(decoding: Array(bytes.prefix(length)))
            }
        }
        for index in bytes.indices {
            var changed = bytes
            changed[index] ^= 1
            #expect(throws: DecodeError.self, "byte \(index)") { try LockRecord(decoding: changed) }
        }
    }

    /// A record of these lines with a check line that fits.
    private func sealed(_ text: String) -> [UInt8] {
        let bytes = Array(text.utf8)
        let check = unsafe bytes.withUnsafeBytes { unsafe XXH3.hash64($0) }
        return bytes + Array("check \(hexadecimal(check))\n".utf8)
    }

    @Test("fields of later versions are passed over; missing and malformed ones are refused")
    func otherVersions() throws {
        let known = "process 1\nboot b\nstarted 2\nprogram p\n"
        let read = try LockRecord(decoding: sealed("varve-lock 1\ncolour blue\n\(known)"))
        #expect(read == LockRecord(processID: 1, bootID: "b", started: 2, program: "p", socketPath: nil))
        for text in [
            "", "varve-lock 2\n\(known)", "varve-lock 1\n", "varve-lock 1\nprocess 1\nboot b\nprogram p\n",
            "varve-lock 1\nprocess x\nboot b\nstarted 2\nprogram p\n",
            "varve-lock 1\nprocess -1\nboot b\nstarted 2\nprogram p\n", "varve-lock 1\nline\n\(known)",
            "varve-lock 1\n\(known)socket %\n", "varve-lock 1\n\(known)socket %0\n",
            "varve-lock 1\n\(known)socket %zz\n",
        ] {
            #expect(throws: DecodeError.self, "\(text)") { try LockRecord(decoding: sealed(text)) }
        }
        #expect(throws: DecodeError.self) {
            try LockRecord(decoding: sealed("varve-lock 1\n\(known)x \(String(repeating: "y", count: 5000))\n"))
        }
    }
}

@Suite("The lock on a store")
struct StoreLockTests {
    private let folder: TemporaryDirectory
    private let system = PosixFileSystem()
    private var path: String { folder.path + "/LOCK" }
    private let record = LockRecord(
        processID: 4711, bootID: "b", started: 5, program: "varve", socketPath: "/tmp/none/s.sock")

    init() throws { folder = try TemporaryDirectory() }

    @Test("a second opener is told who holds the store")
    func inUse() throws {
        let lock = try StoreLock.take(system, path: path)
        #expect(lock.previous == nil)
        var refusal = thrown { () throws(VarveError) in _ = try StoreLock.take(system, path: path) }
        #expect(refusal?.code == .storeInUse && refusal?.path == path)
        try lock.publish(record)
        refusal = thrown { () throws(VarveError) in _ = try StoreLock.take(system, path: path) }
        #expect(refusal?.code == .storeInUse && refusal?.message.contains("varve (process 4711)") == true)
        #expect(try StoreLock.record(system, path: path) == record)
    }

    @Test("released, it can be taken again and names nobody")
    func released() throws {
        let lock = try StoreLock.take(system, path: path)
        try lock.publish(record)
        lock.release()
        let next = try StoreLock.take(system, path: path)
        #expect(next.previous == nil)
        let nobody = thrown { () throws(VarveError) in _ = try StoreLock.record(system, path: path) }
        #expect(nobody?.code == .io && nobody?.path == path)
        #expect(nobody?.message.contains("nobody has the store open") == true)
        next.release()
    }

    @Test("a holder that died leaves its record, and a shorter one replaces all of it")
    func previous() throws {
        let file = try system.open(path, .createNew)
        try file.write(record.encoded(), at: 0)
        file.close()
        let lock = try StoreLock.take(system, path: path)
        #expect(lock.previous == record)
        var short = record
        short.socketPath = nil
        try lock.publish(short)
        #expect(try StoreLock.record(system, path: path) == short)
    }

    @Test("a store without a LOCK file says so")
    func missing() {
        let error = thrown { () throws(VarveError) in _ = try StoreLock.record(system, path: path) }
        #expect(error?.code == .io && error?.path == path)
    }
}

@Suite("The owner's socket finds its place")
struct OwnerSocketTests {
    @Test("one name a store, a live socket of that name is left alone, a dead holder's is removed")
    func names() throws {
        let folder = try TemporaryDirectory()
        let first = try OwnerSocket.listen(for: folder.path, stale: nil)
        #expect(first.path.hasSuffix("/\(OwnerSocket.name(for: folder.path, 0)).sock"))
        let second = try OwnerSocket.listen(for: folder.path, stale: nil)
        #expect(second.path.hasSuffix("/\(OwnerSocket.name(for: folder.path, 1)).sock"))
        #expect(OwnerSocket.name(for: folder.path, 0) != OwnerSocket.name(for: folder.path + "x", 0))

        // A path outside the socket folder is nobody's to remove, whatever a LOCK file says.
        let plain = try UnixListener(path: folder.path + "/s")
        let third = try OwnerSocket.listen(for: folder.path, stale: plain.path)
        _ = try UnixConnection.connect(to: plain.path)
        // A live one stays even if it is called stale.
        let fourth = try OwnerSocket.listen(for: folder.path, stale: first.path)
        _ = try UnixConnection.connect(to: first.path)
        for listener in [first, second, third, fourth, plain] { listener.close() }
        let again = try OwnerSocket.listen(for: folder.path, stale: nil)
        #expect(again.path == first.path)
        again.close()
    }
}
