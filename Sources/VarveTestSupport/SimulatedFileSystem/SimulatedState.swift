internal import Glibc
internal import VarveIO

/// Everything behind the lock of a simulated file system.
struct SimulatedState: Sendable {
    enum PowerCut: Sendable {
        case atCall(Int)
        case atChange(Int)
    }

    /// What becomes of a call.
    enum Verdict: Sendable {
        case proceed
        case fail(Int32, isPartial: Bool)
        /// The power goes during this call: it may have its effect, but nobody learns of it.
        case lastBreath
    }

    let root: SimulatedDirectory
    var nextNumber = 1
    var callCount = 0
    var changeCount = 0
    var isPowerCut = false
    var powerCut: PowerCut?
    var faults: [SimulatedFault] = []
    var observer: (@Sendable (SimulatedCall) -> Void)?
    var recordedCalls: [SimulatedCall]?
    var dropsFileSync: (@Sendable (String) -> Bool)?
    var dropsDirectorySync: (@Sendable (String) -> Bool)?
    var offersStoreMaps = true
    var capacity: UInt64?
    var usedPages = 0
    /// Who holds a file's lock: how many share it, or -1 for one alone.
    var locks: [ObjectIdentifier: Int] = [:]

    init(root: SimulatedDirectory) { self.root = root }

    /// Numbers a call and decides its fate.
    mutating func begin(_ operation: SimulatedOperation, _ path: String) -> (SimulatedCall, Verdict) {
        callCount += 1
        if operation.isChange { changeCount += 1 }
        let call = SimulatedCall(
            number: callCount, changeNumber: changeCount, operation: operation, path: path)
        recordedCalls?.append(call)
        if isPowerCut { return (call, .fail(EIO, isPartial: false)) }
        if cutsPower(at: call) {
            isPowerCut = true
            return (call, .lastBreath)
        }
        guard let index = faults.firstIndex(where: { $0.matches(call) }) else { return (call, .proceed) }
        let fault = faults[index]
        if !fault.isSticky { faults.remove(at: index) }
        return (call, .fail(fault.code, isPartial: fault.isPartial))
    }

    private func cutsPower(at call: SimulatedCall) -> Bool {
        switch powerCut {
        case .none: false
        case .atCall(let number): call.number >= number
        case .atChange(let number): call.operation.isChange && call.changeNumber >= number
        }
    }

    mutating func number() -> Int {
        nextNumber += 1
        return nextNumber
    }

    // MARK: Space

    /// New pages that the disk still has.
    var pageBudget: Int {
        guard let capacity else { return .max / 2 }
        return max(0, Int(clamping: capacity / UInt64(SimulatedPage.size)) - usedPages)
    }

    /// Changes a file's content and keeps the books of the space.
    mutating func change<Result>(
        _ inode: SimulatedInode, _ body: (inout SimulatedContent, Int) -> Result
    ) -> Result {
        let before = inode.content.allocatedPages
        let result = body(&inode.content, pageBudget)
        if !inode.isReleased { usedPages += inode.content.allocatedPages - before }
        return result
    }

    /// Takes a file's lock; false while somebody holds it against that.
    mutating func lock(_ inode: SimulatedInode, _ mode: LockMode) -> Bool {
        let holders = locks[ObjectIdentifier(inode), default: 0]
        guard mode == .shared ? holders >= 0 : holders == 0 else { return false }
        locks[ObjectIdentifier(inode)] = mode == .shared ? holders + 1 : -1
        return true
    }

    mutating func unlock(_ inode: SimulatedInode) {
        let holders = locks[ObjectIdentifier(inode), default: 0]
        locks[ObjectIdentifier(inode)] = holders > 1 ? holders - 1 : nil
    }

    mutating func dropUser(of inode: SimulatedInode) {
        inode.users -= 1
        releaseIfUnused(inode)
    }

    /// Like a kernel, which frees a file's blocks when its last name and its last user have gone.
    mutating func releaseIfUnused(_ inode: SimulatedInode) {
        guard inode.linkCount == 0, inode.users == 0, !inode.isReleased else { return }
        inode.isReleased = true
        usedPages -= inode.content.allocatedPages
    }

    // MARK: Names

    /// The parts of a path; "/a//b/./c" is a, b, c.
    static func components(_ path: String) -> [Substring] {
        path.split(separator: "/").filter { $0 != "." }
    }

    func find(_ path: String, _ operation: SimulatedOperation) throws(IOError) -> SimulatedNode {
        var node = SimulatedNode.directory(root)
        for part in Self.components(path) {
            guard case .directory(let directory) = node else { throw Self.error(ENOTDIR, operation, path) }
            guard let next = directory.names[String(part)] else { throw Self.error(ENOENT, operation, path) }
            node = next
        }
        return node
    }

    func findFile(_ path: String, _ operation: SimulatedOperation) throws(IOError) -> SimulatedInode {
        switch try find(path, operation) {
        case .file(let inode): return inode
        case .directory: throw Self.error(EISDIR, operation, path)
        }
    }

    func findDirectory(_ path: String, _ operation: SimulatedOperation) throws(IOError) -> SimulatedDirectory {
        switch try find(path, operation) {
        case .directory(let directory): return directory
        case .file: throw Self.error(ENOTDIR, operation, path)
        }
    }

    /// The folder that holds, or would hold, the last name of `path`.
    func place(
        _ path: String, _ operation: SimulatedOperation
    ) throws(IOError) -> (directory: SimulatedDirectory, name: String) {
        var parts = Self.components(path)
        guard let name = parts.popLast() else { throw Self.error(EBUSY, operation, path) }
        var directory = root
        for part in parts {
            switch directory.names[String(part)] {
            case .directory(let next): directory = next
            case .file: throw Self.error(ENOTDIR, operation, path)
            case nil: throw Self.error(ENOENT, operation, path)
            }
        }
        return (directory, String(name))
    }

    static func error(_ code: Int32, _ operation: SimulatedOperation, _ path: String) -> IOError {
        IOError(code: code, operation: operation.rawValue, path: path)
    }
}
