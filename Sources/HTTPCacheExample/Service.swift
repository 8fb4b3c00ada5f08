import Foundation
import Hummingbird
import Logging
import NIOCore

/// What both services have in common: they listen on this machine alone, and say where.
enum Service {
    static func run(_ router: Router<BasicRequestContext>, on port: Int) async throws {
        var logger = Logger(label: "HTTPCacheExample")
        logger.logLevel = .error
        let application = Application(
            router: router, configuration: .init(address: .hostname("127.0.0.1", port: port)),
            onServerRunning: { channel in
                let port = channel.localAddress?.port ?? 0
                // Whoever started the service waits for this line, so it must not stay in a buffer.
                try? FileHandle.standardOutput.write(contentsOf: Data("listening on 127.0.0.1:\(port)\n".utf8))
            }, logger: logger)
        try await application.runService()
    }
}
