import Glibc
import Synchronization
import VarveIO

/// Files in memory, as small as a decoder needs them: no fault, no crash, no folder.
final class MemoryFiles: FileSystem {
    private let files = Mutex<[String: MemoryFile]>([:])

    init(_ path: String? = nil, _ bytes: [UInt8] = []) {
        guard let path else { return }
        files.withLock { $0[path] = MemoryFile(path, bytes) }
    }

    func open(_ path: String, _ mode: OpenMode) throws(IOError) -> any File {
        let file = files.withLock { files -> MemoryFile? in
            if mode == .createNew { files[path] = MemoryFile(path, []) }
            return files[path]
        }
        guard let file else { throw IOError(code: ENOENT, operation: "open", path: path) }
        return file
    }
    func exists(_ path: String) throws(IOError) -> Bool { files.withLock { $0[path] != nil } }
    func list(_ directory: String) throws(IOError) -> [String] { [] }
    func createDirectory(_ path: String) throws(IOError) {}
    func remove(_ path: String) throws(IOError) { files.withLock { $0[path] = nil } }
    func removeDirectory(_ path: String) throws(IOError) {}
    func rename(_ source: String, to destination: String) throws(IOError) {
        files.withLock { files in
            files[destination] = files[source]
            files[source] = nil
        }
    }
    func link(_ source: String, to destination: String) throws(IOError) {}
    func linkCount(_ path: String) throws(IOError) -> Int { 1 }
    func syncDirectory(_ path: String) throws(IOError) {}
    func lock(_ path: String, _ mode: LockMode) throws(IOError) -> (any FileLock)? { nil }
    func freeBytes(_ path: String) throws(IOError) -> UInt64 { 1 << 40 }

    func bytes(_ path: String) -> [UInt8] { files.withLock { $0[path]?.content ?? [] } }
}

final class MemoryFile: File {
    let path: String
    private let bytes: Mutex<[UInt8]>

    init(_ path: String, _ bytes: [UInt8]) {
        self.path = path
        self.bytes = Mutex(bytes)
    }

    var content: [UInt8] { bytes.withLock { $0 } }

    func size() throws(IOError) -> UInt64 { UInt64(content.count) }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(IOError) -> Int {
        let content = content
        guard offset < UInt64(content.count) else { return 0 }
        let part = content[Int(offset)...].prefix(buffer.count)
        buffer.copyBytes(from: part)
        return part.count
    }

    func write(_ source: UnsafeRawBufferPointer, at offset: UInt64) throws(IOError) {
        let source = Array(source)
        bytes.withLock { bytes in
            let end = Int(offset) + source.count
            if bytes.count < end { bytes += [UInt8](repeating: 0, count: end - bytes.count) }
            bytes.replaceSubrange(Int(offset)..<end, with: source)
        }
    }

    func allocate(_ length: UInt64) throws(IOError) {}
    func truncate(to length: UInt64) throws(IOError) {}
    func sync() throws(IOError) {}
    func map(length: UInt64, advice: MapAdvice) throws(IOError) -> any FileMap {
        MemoryMap(Array(content.prefix(Int(length))))
    }
    func mapForStores(length: UInt64) throws(IOError) -> (any StoreMap)? { nil }
    func close() {}
}

/// A copy of a file's bytes that ends where its allocation ends.
final class MemoryMap: FileMap, @unchecked Sendable {
    // Unchecked: nothing changes after init.
    private let bytes: UnsafeMutableRawBufferPointer

    init(_ content: [UInt8]) {
        bytes = .allocate(byteCount: max(1, content.count), alignment: 4096)
        bytes.copyBytes(from: content)
        count = content.count
    }
    deinit { bytes.deallocate() }

    let count: Int
    // An allocation of at least one byte has an address.
    var base: UnsafeRawPointer { UnsafeRawPointer(bytes.baseAddress.unsafelyUnwrapped) }
    var isDamaged: Bool { false }
    func isResident(offset: Int, length: Int) -> Bool { true }
    func willNeed(offset: Int, length: Int) {}
}
