import Foundation

/// Standard output, collected into large writes. A failed write (a full disk behind a redirection) is an error like any
/// other. Not thread-safe.
struct StandardOutput: ~Copyable {
    private var buffer: [UInt8] = []
    private static let bufferBytes = 64 << 10

    mutating func write(_ bytes: some Collection<UInt8>) throws {
        buffer.append(contentsOf: bytes)
        if buffer.count >= StandardOutput.bufferBytes { try flush() }
    }

    /// Lets `body` append to the buffer in place.
    mutating func append(_ body: (inout [UInt8]) -> Void) throws {
        body(&buffer)
        if buffer.count >= StandardOutput.bufferBytes { try flush() }
    }

    mutating func line(_ text: String) throws {
        buffer.append(contentsOf: text.utf8)
        buffer.append(0x0A)
        if buffer.count >= StandardOutput.bufferBytes { try flush() }
    }

    mutating func flush() throws {
        defer { buffer.removeAll(keepingCapacity: true) }
        try StandardOutput.writeAll(buffer, to: STDOUT_FILENO)
    }

    /// Writes bytes at once.
    static func write(_ bytes: [UInt8]) throws { try writeAll(bytes, to: STDOUT_FILENO) }

    /// Writes one line at once.
    static func print(_ text: String) throws { try writeAll(Array((text + "\n").utf8), to: STDOUT_FILENO) }

    private static func writeAll(_ bytes: [UInt8], to descriptor: Int32) throws {
        var done = 0
        while done < bytes.count {
            let written = unsafe bytes.withUnsafeBytes {
                unsafe Glibc.write(descriptor, $0.baseAddress.map { unsafe $0 + done }, bytes.count - done)
            }
            if written < 0 {
                if errno == EINTR { continue }
                throw OutputFailure("cannot write to standard output: \(unsafe String(cString: strerror(errno)))")
            }
            done += written
        }
    }
}

/// Standard error: remarks for people. Nothing can be done when it fails, so it does not throw.
enum StandardError {
    static let isTerminal = isatty(STDERR_FILENO) == 1

    static func print(_ text: String) { write(text + "\n") }

    static func write(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }
}
