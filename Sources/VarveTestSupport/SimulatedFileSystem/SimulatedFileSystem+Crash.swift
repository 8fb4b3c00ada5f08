internal import Synchronization

extension SimulatedFileSystem {
    /// The file system as the next boot would find it if the power went now. This one is left as it is; `cutPower` ends
    /// it. The same seed after the same calls gives the same image. Faults, observers and locks do not come along; the
    /// capacity does.
    public func crash(seed: UInt64, options: CrashOptions = CrashOptions()) -> SimulatedFileSystem {
        state.withLock { state in
            var crash = TreeCrash(seed: seed, options: options, root: state.root)
            return SimulatedFileSystem(state: state.successor(root: crash.directory(state.root)))
        }
    }

    /// The file system as another process finds it if this one is killed now: everything written is there, and what was
    /// not synced may still be lost by a later power cut. Files without a name are gone.
    public func killProcess() -> SimulatedFileSystem {
        state.withLock { state in
            var copy = TreeCopy()
            return SimulatedFileSystem(state: state.successor(root: copy.directory(state.root)))
        }
    }
}

extension SimulatedState {
    /// A fresh state over `root`, with the same disk size.
    fileprivate func successor(root: SimulatedDirectory) -> SimulatedState {
        var result = SimulatedState(root: root)
        result.capacity = capacity
        result.nextNumber = nextNumber
        result.offersStoreMaps = offersStoreMaps
        var counted: Set<ObjectIdentifier> = []
        root.forEachInode { inode in
            if counted.insert(ObjectIdentifier(inode)).inserted { result.usedPages += inode.content.allocatedPages }
        }
        return result
    }
}

/// Mixes a run's seed with a node's number.
private func seeded(_ seed: UInt64, _ number: Int) -> UInt64 {
    var random = SplitMix(seed ^ (UInt64(number) &* 0x9FB2_1C65_1E98_DF25))
    return random.next()
}

/// Builds the tree that a power cut leaves.
private struct TreeCrash {
    private let seed: UInt64
    private let options: CrashOptions
    /// How many unsynced changes of each folder have reached the disk.
    private var kept: [ObjectIdentifier: Int] = [:]
    private var inodes: [ObjectIdentifier: SimulatedInode] = [:]
    private var directories: [ObjectIdentifier: SimulatedDirectory] = [:]

    init(seed: UInt64, options: CrashOptions, root: SimulatedDirectory) {
        self.seed = seed
        self.options = options
        var all: [SimulatedDirectory] = []
        collect(root, into: &all)
        completeMoves(all)
    }

    /// Decides for every folder that some outcome could reach.
    private mutating func collect(_ directory: SimulatedDirectory, into all: inout [SimulatedDirectory]) {
        guard kept[ObjectIdentifier(directory)] == nil else { return }
        all.append(directory)
        let count = directory.journal.count
        var random = SplitMix(seeded(seed, directory.number))
        switch options.names {
        case .nothing: kept[ObjectIdentifier(directory)] = 0
        case .everything: kept[ObjectIdentifier(directory)] = count
        case .random:
            let choices = [0, count, Int(random.next() % UInt64(count + 1)), Int(random.next() % UInt64(count + 1))]
            kept[ObjectIdentifier(directory)] = choices[Int(random.next() % 4)]
        }
        for node in directory.durableNames.values { collect(node, into: &all) }
        for entry in directory.journal {
            switch entry.change {
            case .add(_, let node), .move(_, _, let node): collect(node, into: &all)
            case .remove: break
            }
        }
    }

    private mutating func collect(_ node: SimulatedNode, into all: inout [SimulatedDirectory]) {
        if case .directory(let directory) = node { collect(directory, into: &all) }
    }

    /// A move between folders may leave both names, never none: where the new name is lost, the old one's removal is.
    private mutating func completeMoves(_ all: [SimulatedDirectory]) {
        var isStable = false
        while !isStable {
            isStable = true
            var lostAdditions: Set<Int> = []
            for directory in all {
                for entry in directory.journal[(kept[ObjectIdentifier(directory)] ?? 0)...] {
                    if case .add = entry.change, let pair = entry.pair { lostAdditions.insert(pair) }
                }
            }
            if lostAdditions.isEmpty { return }
            for directory in all {
                let count = kept[ObjectIdentifier(directory)] ?? 0
                let limit = directory.journal.prefix(count).firstIndex { entry in
                    guard case .remove = entry.change, let pair = entry.pair else { return false }
                    return lostAdditions.contains(pair)
                }
                guard let limit else { continue }
                kept[ObjectIdentifier(directory)] = limit
                isStable = false
            }
        }
    }

    mutating func directory(_ source: SimulatedDirectory) -> SimulatedDirectory {
        if let known = directories[ObjectIdentifier(source)] { return known }
        let result = SimulatedDirectory(number: source.number)
        directories[ObjectIdentifier(source)] = result
        for (name, node) in source.names(after: kept[ObjectIdentifier(source)] ?? 0) {
            switch node {
            case .file(let old):
                let inode = file(old)
                inode.linkCount += 1
                result.names[name] = .file(inode)
            case .directory(let child): result.names[name] = .directory(directory(child))
            }
        }
        result.durableNames = result.names
        return result
    }

    private mutating func file(_ source: SimulatedInode) -> SimulatedInode {
        if let known = inodes[ObjectIdentifier(source)] { return known }
        let result = SimulatedInode(number: source.number)
        result.content = source.content.afterCrash(seed: seeded(seed, source.number), survival: options.data)
        inodes[ObjectIdentifier(source)] = result
        return result
    }
}

/// Copies a tree with everything that is not yet durable.
private struct TreeCopy {
    private var nodes: [ObjectIdentifier: SimulatedNode] = [:]

    mutating func directory(_ source: SimulatedDirectory) -> SimulatedDirectory {
        if case .directory(let known) = nodes[ObjectIdentifier(source)] { return known }
        let result = SimulatedDirectory(number: source.number)
        nodes[ObjectIdentifier(source)] = .directory(result)
        for (name, node) in source.names { result.names[name] = copy(node) }
        for (name, node) in source.durableNames { result.durableNames[name] = copy(node) }
        for entry in source.journal {
            let change: SimulatedDirectory.Change
            switch entry.change {
            case .add(let name, let node): change = .add(name, copy(node))
            case .remove(let name): change = .remove(name)
            case .move(let old, let new, let node): change = .move(old, to: new, copy(node))
            }
            result.journal.append(SimulatedDirectory.Entry(change: change, pair: entry.pair))
        }
        return result
    }

    private mutating func copy(_ node: SimulatedNode) -> SimulatedNode {
        if let known = nodes[node.identity] { return known }
        switch node {
        case .directory(let source): return .directory(directory(source))
        case .file(let source):
            let inode = SimulatedInode(number: source.number)
            inode.content = source.content
            inode.linkCount = source.linkCount
            inode.isReleased = source.linkCount == 0
            nodes[node.identity] = .file(inode)
            return .file(inode)
        }
    }
}
