import Glibc

/// A folder of this test's own with a name short enough for a socket; goes with the object, and what is in it.
public final class SocketFolder: Sendable {
    public let path: String

    public init() {
        var template = Array("/tmp/varve-test-XXXXXX".utf8CString)
        let made = unsafe template.withUnsafeMutableBufferPointer { buffer in
            guard let name = buffer.baseAddress else { return false }
            return unsafe mkdtemp(name) != nil
        }
        precondition(made, "a test needs a folder in /tmp")
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        guard let folder = unsafe opendir(path) else { return }
        var names: [String] = []
        while let entry = unsafe readdir(folder) {
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
                unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        unsafe closedir(folder)
        for name in names where unsafe unlink("\(path)/\(name)") != 0 { _ = unsafe rmdir("\(path)/\(name)") }
        _ = unsafe rmdir(path)
    }
}
