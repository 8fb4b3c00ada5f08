import Glibc
import Testing
import VarveIO
import VarveTestSupport

@Suite("Unix sockets", .serialized)
struct UnixSocketTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    private func pair() throws -> (UnixListener, client: UnixConnection, server: UnixConnection) {
        let listener = try UnixListener(path: folder.path + "/s")
        let client = try UnixConnection.connect(to: listener.path)
        let server = try #require(try listener.accept())
        return (listener, client, server)
    }

    private func send(_ bytes: [UInt8], _ connection: UnixConnection, limit: Duration? = nil) throws(IOError) {
        unsafe try bytes.span.bytes.withUnsafeBytes { (bytes) throws(IOError) in
            unsafe try connection.write(bytes, limit: limit)
        }
    }

    private func receive(_ count: Int, _ connection: UnixConnection, limit: Duration? = nil) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let got = unsafe try bytes.withUnsafeMutableBytes { unsafe try connection.readFully(into: $0, limit: limit) }
        return Array(bytes.prefix(got))
    }

    @Test("bytes go both ways, and the kernel names the peer")
    func bothWays() throws {
        let (_, client, server) = try pair()
        try send([1, 2, 3], client)
        #expect(try receive(3, server) == [1, 2, 3])
        try send([4], server)
        #expect(try receive(1, client) == [4])
        #expect(server.peer == UnixPeer(process: getpid(), user: geteuid(), group: getegid()))
        #expect(server.peer.isTrusted)
        #expect(!UnixPeer(process: 1, user: geteuid() + 1, group: 0).isTrusted)
    }

    @Test("a read that meets its limit says so, and the connection still works")
    func readLimit() throws {
        let (_, client, server) = try pair()
        do {
            _ = try receive(1, server, limit: .milliseconds(1))
            Issue.record("nothing was sent")
        } catch let error as IOError {
            #expect(error.code == ETIMEDOUT)
        }
        try send([9], client)
        #expect(try receive(1, server, limit: .seconds(60)) == [9])
    }

    @Test("closing wakes a thread that waits to read, here and at the other end")
    func closeWakesReaders() throws {
        let (_, client, server) = try pair()
        let ends = Watched(0)
        let threads = try [client, server].map { connection in
            try IOThread(name: "reader") {
                let count = (try? receive(1, connection))?.count
                if count == 0 { ends.update { $0 += 1 } }
            }
        }
        client.close()
        client.close()
        for thread in threads { thread.join() }
        #expect(ends.current == 2)
        #expect(client.isClosed && !server.isClosed)
    }

    @Test("closing wakes a thread that waits to write")
    func closeWakesWriters() throws {
        let (_, client, server) = try pair()
        let failure = Watched<Int32>(0)
        let thread = try IOThread(name: "writer") {
            do throws(IOError) { try send([UInt8](repeating: 1, count: 8 << 20), server) } catch {
                failure.update { $0 = error.code }
            }
        }
        // The writer has begun, and cannot end: nobody reads the rest.
        #expect(try receive(1, client).count == 1)
        server.close()
        thread.join()
        #expect(failure.current == EPIPE)
    }

    @Test("writing to a peer that has gone is an error and no signal")
    func brokenPipe() throws {
        let (_, client, server) = try pair()
        client.close()
        var failure: IOError?
        do { try send([1], server) } catch { failure = error }
        #expect(failure?.code == EPIPE)
    }

    @Test("a slow reader is waited for; one that takes nothing is given up")
    func backPressure() throws {
        let (_, client, server) = try pair()
        let large = [UInt8](repeating: 7, count: 4 << 20)
        let thread = try IOThread(name: "writer") { try? send(large, server, limit: .seconds(60)) }
        #expect(try receive(large.count, client) == large)
        thread.join()
        var failure: IOError?
        do { try send(large, server, limit: .milliseconds(5)) } catch { failure = error }
        #expect(failure?.code == ETIMEDOUT)
    }

    @Test("a half-closed peer can still be answered")
    func halfClosed() throws {
        let (_, client, server) = try pair()
        client.finishWriting()
        #expect(try receive(1, server).isEmpty)
        try send([5], server)
        #expect(try receive(1, client) == [5])
    }

    @Test("waiting ends for a caller, a watched hang-up, a word and the close")
    func waiting() throws {
        let (listener, client, server) = try pair()
        listener.wake()
        var wakeup = try listener.wait(watching: [server])
        #expect(!wakeup.hasCaller && wakeup.hungUp.isEmpty)

        let other = try UnixConnection.connect(to: listener.path)
        wakeup = try listener.wait(watching: [server])
        #expect(wakeup.hasCaller && wakeup.hungUp.isEmpty)
        let second = try #require(try listener.accept())
        #expect(try listener.accept() == nil)

        client.close()
        wakeup = try listener.wait(watching: [second, server])
        #expect(wakeup.hungUp == [1])

        let thread = try IOThread(name: "waiter") { _ = try? listener.wait(watching: []) }
        listener.close()
        thread.join()
        #expect(listener.isClosed && !other.isClosed)
    }

    @Test("a caller waits for room in the listener's queue, up to its limit")
    func fullQueue() throws {
        let listener = try UnixListener(path: folder.path + "/s", backlog: 0)
        let first = try UnixConnection.connect(to: listener.path)
        for limit in [Duration.zero, .milliseconds(2)] {
            var failure: IOError?
            do throws(IOError) { _ = try UnixConnection.connect(to: listener.path, limit: limit) } catch {
                failure = error
            }
            #expect(failure?.code == EAGAIN)
        }
        let connected = Watched(false)
        let thread = try IOThread(name: "caller") {
            let second = try? UnixConnection.connect(to: listener.path, limit: .seconds(60))
            connected.update { $0 = second != nil }
        }
        #expect(try listener.accept() != nil)
        thread.join()
        #expect(connected.current && !first.isClosed)
    }

    @Test("a closed listener leaves no name and takes no caller")
    func closedListener() throws {
        let listener = try UnixListener(path: folder.path + "/s")
        listener.close()
        var failure: IOError?
        do { _ = try UnixConnection.connect(to: listener.path) } catch { failure = error }
        #expect(failure?.isNotFound == true)
    }

    @Test("out of descriptors, a caller is hung up on and the next one is served")
    func outOfDescriptors() async {
        // In a process of its own, because the limit is the process's.
        await #expect(processExitsWith: .success) {
            let folder = try TemporaryDirectory()
            let listener = try UnixListener(path: folder.path + "/s")
            let client = try UnixConnection.connect(to: listener.path)
            var limit = rlimit()
            // Standard input, output and error only; poll wants no more than the limit either.
            var none = rlimit(rlim_cur: 3, rlim_max: 3)
            try #require(unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
            none.rlim_max = limit.rlim_max
            try #require(unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &none) == 0)
            // Not even the spare descriptor can be had: the caller stays in the queue, and nothing spins or fails.
            #expect(try listener.accept() == nil)
            #expect(try !listener.wait(watching: []).hasCaller)
            try #require(unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
            #expect(try listener.wait(watching: []).hasCaller)
            #expect(try listener.accept() != nil)
            _ = client
        }
    }
}

@Suite("Unix socket paths")
struct UnixSocketPathTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    @Test("a socket whose process is gone is replaced, a live one and a plain file are not")
    func staleSockets() throws {
        let path = folder.path + "/s"
        // Bound and never listened on: what a killed process leaves.
        let left = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8) }
        let bound = unsafe withUnsafePointer(to: &address) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe bind(left, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        #expect(bound == 0)
        _ = Glibc.close(left)

        let listener = try UnixListener(path: path)
        var failure: IOError?
        do { _ = try UnixListener(path: path) } catch { failure = error }
        #expect(failure?.code == EADDRINUSE && failure?.isAddressInUse == true)
        UnixListener.removeStale(path)
        _ = try UnixConnection.connect(to: path)
        listener.close()

        let plain = unsafe open(path, O_CREAT | O_RDWR, 0o600)
        _ = Glibc.close(plain)
        failure = nil
        do { _ = try UnixListener(path: path) } catch { failure = error }
        #expect(failure?.code == EADDRINUSE)
        #expect(unsafe access(path, F_OK) == 0)
    }

    @Test("a path that the kernel's field cannot hold is refused by name")
    func longPath() {
        let path = folder.path + "/" + String(repeating: "x", count: 100)
        var failure: IOError?
        do { _ = try UnixListener(path: path) } catch { failure = error }
        #expect(failure?.code == ENAMETOOLONG && failure?.path == path)
    }

    @Test("the folder is ours alone, under the runtime directory where that is usable")
    func socketFolder() throws {
        let user = geteuid()
        #expect(
            try UnixSocketFolder.prepare(runtimeDirectory: folder.path, fallback: "/nowhere", user: user)
                == folder.path + "/varve")
        var status = stat()
        #expect(unsafe lstat(folder.path + "/varve", &status) == 0 && status.st_mode & 0o777 == 0o700)
        let fallback = "\(folder.path)/varve-\(user)"
        for unusable in [nil, "relative", "", "/nowhere", folder.path + String(repeating: "/.", count: 40)] {
            let made = try UnixSocketFolder.prepare(runtimeDirectory: unusable, fallback: folder.path, user: user)
            #expect(made == fallback)
        }
    }

    @Test("a folder that others may enter, a link, a file and another's folder are refused")
    func untrustedFolders() throws {
        let user = geteuid()
        let path = "\(folder.path)/varve-\(user)"
        func refusal() -> Int32? {
            do {
                _ = try UnixSocketFolder.prepare(runtimeDirectory: nil, fallback: folder.path, user: user)
                return nil
            } catch {
                return error.code
            }
        }
        #expect(unsafe mkdir(path, 0o700) == 0 && chmod(path, 0o755) == 0)
        #expect(refusal() == EACCES)
        #expect(unsafe rmdir(path) == 0 && symlink("/tmp", path) == 0)
        #expect(refusal() == EACCES)
        #expect(unsafe unlink(path) == 0)
        _ = Glibc.close(unsafe open(path, O_CREAT | O_RDWR, 0o600))
        #expect(refusal() == EACCES)
        #expect(unsafe unlink(path) == 0)
        #expect(refusal() == nil)
        #expect(throws: IOError.self) {
            try UnixSocketFolder.prepare(runtimeDirectory: folder.path, fallback: "/nowhere", user: user + 1)
        }
    }
}
