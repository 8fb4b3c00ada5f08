package import VarveIO

/// The changes of another process's store.
extension OwnerClient {
    /// The namespace of that name in the owner's store.
    package func namespace(named name: String, limit: Duration? = nil) throws(VarveError) -> Namespace {
        if name == Namespace.default.name { return .default }
        try NamespaceCatalogue.check(name)
        let key = FullKey.make(.catalogue, NamespaceCatalogue.key(of: name))
        guard let found = try timedGet(fullKey: key, limit: limit)?.entry else {
            throw VarveError(.invalidArgument, "the store has no namespace named \"\(name)\"")
        }
        let value = unsafe found.bytes.withBytes { bytes in
            unsafe (try? EntryView(bytes)).map { unsafe Array($0.value) }
        }
        return Namespace(name: name, id: try NamespaceCatalogue.id(in: value ?? []))
    }

    /// The entry under a user's key with all its fields, and the owner's clock, by which its deadlines count; nil where there is none.
    package func storedEntry(
        _ key: [UInt8], in namespace: Namespace, limit: Duration? = nil
    ) throws(VarveError) -> TimedEntry? {
        guard let (found, now) = try timedGet(fullKey: FullKey.make(namespace.id, key), limit: limit) else {
            return nil
        }
        let entry = unsafe found.bytes.withBytes { bytes in
            unsafe try? StoredEntry(entry: EntryView(bytes), version: found.lsn)
        }
        guard let entry else {
            throw VarveError(.io, "the process that has the store open sent an entry that cannot be read")
        }
        return TimedEntry(entry: entry, now: now)
    }

    /// An entry of another process's store.
    package struct TimedEntry: Sendable {
        package let entry: StoredEntry
        /// What the store's clock said once it was found.
        package let now: Timestamp
    }

    /// Every change that a request asks for, until `visit` returns false, the owner ends, or, where it does not follow,
    /// that was all. The connection serves nothing else after it: it is closed.
    package func forEachChange(
        _ request: OwnerChangesRequest, includesProgress: Bool = false, _ visit: (Change) throws(VarveError) -> Bool
    ) throws(VarveError) {
        defer { close() }
        var scope = ChangeScope()
        scope.namespaces = try request.namespaces.map { (name) throws(VarveError) in try namespace(named: name) }
        let number = try beginChanges(request)
        while let chunk = try nextChanges(number) {
            var changes = try ChangeFeed.reader(chunk, scope.namespaces)
            while let change = try ChangeFeed.next(of: &changes) {
                if case .progress = change.kind, !includesProgress { continue }
                guard try visit(change) else { return }
            }
        }
    }
}

extension ChangeFeed {
    /// The changes of a store that another process has open, over its socket. Each iterator connects anew, and its end is
    /// the connection's: cancelling its task hangs up.
    package static func ofOwner(
        at directory: String, _ request: OwnerChangesRequest, includesProgress: Bool = false,
        files: any FileSystem = PosixFileSystem()
    ) -> ChangeFeed {
        var scope = ChangeScope(namespaces: [], prefix: request.prefix, follows: request.follows)
        scope.includesProgress = includesProgress
        return ChangeFeed(scope) { () async throws(VarveError) -> any ChangeSource in
            try await IOThread.run(name: "varve-feed") { () throws(VarveError) -> RemoteChangeSource in
                let client = try OwnerClient.connect(toStoreAt: directory, files)
                do throws(VarveError) { return try RemoteChangeSource(client, request) } catch {
                    client.close()
                    throw error
                }
            }
        }
    }
}

/// A feed over the owner's socket: the socket holds what is under way, and its reader pulls.
final class RemoteChangeSource: ChangeSource {
    private let client: OwnerClient
    private let request: UInt32
    let namespaces: [Namespace]

    /// Blocks.
    init(_ client: OwnerClient, _ request: OwnerChangesRequest) throws(VarveError) {
        self.client = client
        var namespaces: [Namespace] = []
        for name in request.namespaces { namespaces.append(try client.namespace(named: name)) }
        self.namespaces = namespaces
        self.request = try client.beginChanges(request)
    }

    deinit { client.close() }

    func next() async throws(VarveError) -> ChangeChunk? {
        let (client, request) = (client, request)
        let outcome: Result<ChangeChunk?, VarveError> = await withTaskCancellationHandler {
            await IOThread.run(name: "varve-feed") {
                do throws(VarveError) { return .success(try client.nextChanges(request)) } catch {
                    return .failure(error)
                }
            }
        } onCancel: {
            client.close()
        }
        if Task.isCancelled { throw ChangeReader.cancelled }
        return try outcome.get()
    }
}
