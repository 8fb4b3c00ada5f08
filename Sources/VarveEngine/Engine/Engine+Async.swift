public import VarveIO

/// The forms for tasks of what reads or writes files as a whole: each runs on a thread of the engine's own.
extension Engine {
    /// Opens a store to read and write without blocking the caller's thread. See the form for threads.
    public static func open(
        at directory: String, _ options: EngineOptions = EngineOptions(),
        fileSystem: any FileSystem = PosixFileSystem(), progress: (@Sendable (RecoveryProgress) -> Void)? = nil
    ) async throws(VarveError) -> Engine {
        try await IOThread.run(name: "varve-open") { () throws(VarveError) in
            try openBlocking(directory, .primary, options, fileSystem, progress)
        }
    }

    /// Opens a store that nobody has open, to read, without blocking the caller's thread.
    public static func openReadOnly(
        at directory: String, _ options: EngineOptions = EngineOptions(),
        fileSystem: any FileSystem = PosixFileSystem(), progress: (@Sendable (RecoveryProgress) -> Void)? = nil
    ) async throws(VarveError) -> Engine {
        try await IOThread.run(name: "varve-open") { () throws(VarveError) in
            try openBlocking(directory, .readOnly, options, fileSystem, progress)
        }
    }

    /// Opens a store to take another one's log, without blocking the caller's thread.
    public static func openFollower(
        at directory: String, _ options: EngineOptions = EngineOptions(),
        fileSystem: any FileSystem = PosixFileSystem(), progress: (@Sendable (RecoveryProgress) -> Void)? = nil
    ) async throws(VarveError) -> Engine {
        try await IOThread.run(name: "varve-open") { () throws(VarveError) in
            try openBlocking(directory, .follower, options, fileSystem, progress)
        }
    }

    /// Reads and checks everything without blocking the caller's thread.
    public func verify() async throws(VarveError) -> VerifyReport {
        try await IOThread.run(name: "varve-verify") { () throws(VarveError) in try self.verifyBlocking() }
    }
    private func verifyBlocking() throws(VarveError) -> VerifyReport { try verify() }

    /// Makes a checkpoint without blocking the caller's thread.
    @discardableResult
    public func checkpoint(to destination: String, slot: String? = nil) async throws(VarveError) -> LogPosition {
        try await IOThread.run(name: "varve-check") { () throws(VarveError) in
            try self.checkpointBlocking(destination, slot)
        }
    }
    private func checkpointBlocking(_ destination: String, _ slot: String?) throws(VarveError) -> LogPosition {
        try checkpoint(to: destination, slot: slot)
    }

    /// The namespace of that name, made where there is none, without blocking the caller's thread.
    public func namespace(named name: String) async throws(VarveError) -> Namespace {
        try await context.threads.run { () throws(VarveError) in try self.namespaceBlocking(name) }
    }
    private func namespaceBlocking(_ name: String) throws(VarveError) -> Namespace { try namespace(named: name) }

    /// The fields beside the value of a key, without blocking the caller's thread.
    public func fields(
        of key: [UInt8], in namespace: Namespace = .default, at snapshot: Snapshot? = nil
    ) async throws(VarveError) -> EntryFields? {
        try await context.threads.run { () throws(VarveError) in try self.fieldsBlocking(key, namespace, snapshot) }
    }
    private func fieldsBlocking(
        _ key: [UInt8], _ namespace: Namespace, _ snapshot: Snapshot?
    ) throws(VarveError) -> EntryFields? {
        try fields(of: key, in: namespace, at: snapshot)
    }

    /// About how many bytes a range takes in tables, without blocking the caller's thread.
    public func approximateSize(
        in namespace: Namespace = .default, from: [UInt8]? = nil, to: [UInt8]? = nil
    ) async throws(VarveError) -> UInt64 {
        try await context.threads.run { () throws(VarveError) in try self.sizeBlocking(namespace, from, to) }
    }
    private func sizeBlocking(_ namespace: Namespace, _ from: [UInt8]?, _ to: [UInt8]?) throws(VarveError) -> UInt64 {
        try approximateSize(in: namespace, from: from, to: to)
    }
}
