internal import VarveIO

/// CURRENT: one line that names the manifest in force, with a checksum. Replaced by rename, so it is the old name or the
/// new one at any instant.
enum CurrentFile {
    /// Makes `manifest` the one in force. Durable when it returns.
    static func write(_ manifest: FileNumber, in directory: String, _ files: any FileSystem) throws(VarveError) {
        let name = FileName.manifest(manifest).text
        let text = "\(name) \(hexadecimal(check(name)))\n"
        try AtomicFile.replace(.current, with: Array(text.utf8), in: directory, files)
    }

    /// The number of the manifest in force; nil where there is no CURRENT.
    static func read(in directory: String, _ files: any FileSystem) throws(VarveError) -> FileNumber? {
        guard let bytes = try AtomicFile.read(.current, in: directory, files, limit: 256) else { return nil }
        return try decode(bytes, path: FileName.current.path(in: directory))
    }

    /// The same of a file by its path, which must be there.
    static func read(atPath path: String, _ files: any FileSystem) throws(VarveError) -> FileNumber {
        try decode(try AtomicFile.read(atPath: path, files, limit: 256), path: path)
    }

    private static func decode(_ bytes: [UInt8], path: String) throws(VarveError) -> FileNumber {
        let words = String(decoding: bytes, as: UTF8.self).split(separator: "\n").first?.split(separator: " ") ?? []
        guard words.count == 2, words[1] == hexadecimal(check(String(words[0]))) else {
            throw .corruption("it does not name a manifest", path: path)
        }
        guard case .manifest(let number)? = FileName(String(words[0])) else {
            throw .corruption("\(words[0]) is not the name of a manifest", path: path)
        }
        return number
    }

    private static func check(_ name: String) -> UInt64 { unsafe Array(name.utf8).withBytes { unsafe XXH3.hash64($0) } }
}

/// Small files that are replaced whole.
enum AtomicFile {
    /// Writes beside the name, syncs, renames, syncs the folder: the old content or the new at any instant, and the new
    /// for good when it returns. Where it throws `.diskFull` it is the old.
    static func replace(
        _ name: FileName, with bytes: [UInt8], in directory: String, _ files: any FileSystem
    ) throws(VarveError) {
        let path = name.path(in: directory)
        let unfinished = name.temporaryPath(in: directory)
        try lifted { () throws(IOError) in
            if try files.exists(unfinished) { try files.remove(unfinished) }
            let file = try files.open(unfinished, .createNew)
            defer { file.close() }
            try file.write(bytes, at: 0)
            try file.sync()
            try files.rename(unfinished, to: path)
        }
        do throws(IOError) { try files.syncDirectory(directory) } catch { throw VarveError(unknownOutcome: error) }
    }

    /// The content, up to `limit` bytes; nil where there is no such file.
    static func read(
        _ name: FileName, in directory: String, _ files: any FileSystem, limit: Int
    ) throws(VarveError) -> [UInt8]? {
        let path = name.path(in: directory)
        guard try lifted({ () throws(IOError) in try files.exists(path) }) else { return nil }
        return try read(atPath: path, files, limit: limit)
    }

    static func read(atPath path: String, _ files: any FileSystem, limit: Int) throws(VarveError) -> [UInt8] {
        try lifted { () throws(IOError) in
            let file = try files.open(path, .read)
            defer { file.close() }
            return try file.readAll(atMost: limit)
        }
    }
}
