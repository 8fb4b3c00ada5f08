internal import Glibc
internal import VarveIO

/// What the calls on names do.
extension SimulatedState {
    mutating func create(_ path: String) throws(IOError) -> SimulatedInode {
        let (directory, name) = try place(path, .create)
        if directory.names[name] != nil { throw Self.error(EEXIST, .create, path) }
        let inode = SimulatedInode(number: number())
        inode.linkCount = 1
        directory.record(.add(name, .file(inode)))
        return inode
    }

    mutating func createDirectory(_ path: String) throws(IOError) {
        if Self.components(path).isEmpty { return }
        let (directory, name) = try place(path, .createDirectory)
        switch directory.names[name] {
        case .directory: return
        case .file: throw Self.error(EEXIST, .createDirectory, path)
        case nil: directory.record(.add(name, .directory(SimulatedDirectory(number: number()))))
        }
    }

    mutating func remove(_ path: String) throws(IOError) {
        let inode = try findFile(path, .remove)
        let (directory, name) = try place(path, .remove)
        directory.record(.remove(name))
        unlink(inode)
    }

    mutating func removeDirectory(_ path: String) throws(IOError) {
        let (directory, name) = try place(path, .removeDirectory)
        guard try findDirectory(path, .removeDirectory).names.isEmpty else {
            throw Self.error(ENOTEMPTY, .removeDirectory, path)
        }
        directory.record(.remove(name))
    }

    mutating func link(_ source: String, to destination: String) throws(IOError) {
        guard case .file(let inode) = try find(source, .link) else { throw Self.error(EPERM, .link, source) }
        let (directory, name) = try place(destination, .link)
        if directory.names[name] != nil { throw Self.error(EEXIST, .link, source) }
        inode.linkCount += 1
        directory.record(.add(name, .file(inode)))
    }

    mutating func rename(_ source: String, to destination: String) throws(IOError) {
        let node = try find(source, .rename)
        let (from, oldName) = try place(source, .rename)
        let (to, newName) = try place(destination, .rename)
        if let old = to.names[newName] {
            if old.identity == node.identity { return }
            switch (node, old) {
            case (.file, .file(let inode)): unlink(inode)
            case (.file, .directory): throw Self.error(EISDIR, .rename, source)
            case (.directory, .file): throw Self.error(ENOTDIR, .rename, source)
            case (.directory, .directory(let directory)):
                if !directory.names.isEmpty { throw Self.error(ENOTEMPTY, .rename, source) }
            }
        }
        if case .directory(let moved) = node, to === moved || Self.contains(moved, to) {
            throw Self.error(EINVAL, .rename, source)
        }
        if from === to { return from.record(.move(oldName, to: newName, node)) }
        let pair = number()
        to.record(.add(newName, node), pair: pair)
        from.record(.remove(oldName), pair: pair)
    }

    private mutating func unlink(_ inode: SimulatedInode) {
        inode.linkCount -= 1
        releaseIfUnused(inode)
    }

    private static func contains(_ directory: SimulatedDirectory, _ other: SimulatedDirectory) -> Bool {
        directory.names.values.contains { node in
            guard case .directory(let child) = node else { return false }
            return child === other || contains(child, other)
        }
    }
}
