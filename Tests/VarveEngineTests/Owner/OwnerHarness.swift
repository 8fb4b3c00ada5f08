@testable import VarveEngine
import VarveIO
import VarveTestSupport

/// A server with a fake store behind it, on a socket of its own.
final class OwnerHarness: Sendable {
    let service = FakeOwnerService()
    let server: OwnerServer
    private let folder: TemporaryDirectory

    init(_ bounds: OwnerServer.Bounds = .init()) throws {
        folder = try TemporaryDirectory()
        let listener = try UnixListener(path: folder.path + "/s")
        server = try OwnerServer(listener: listener, service: service, bounds: bounds)
    }

    deinit { server.stop() }

    var record: LockRecord {
        LockRecord(processID: 1, bootID: "b", started: 0, program: "test", socketPath: server.socketPath)
    }

    func client() throws(VarveError) -> OwnerClient { try OwnerClient(record) }

    /// A connection that has not been greeted.
    func connection() throws(IOError) -> UnixConnection { try UnixConnection.connect(to: server.socketPath) }
}

/// The error that `body` throws; nil where it throws none.
func thrown(_ body: () throws(VarveError) -> Void) -> VarveError? {
    do {
        try body()
        return nil
    } catch {
        return error
    }
}
