internal import Synchronization
internal import VarveEngine
internal import VarveIO

/// Reads entries over an owner's socket, on two threads and at most as many connections, however many tasks ask.
///
/// Whoever comes waits for a turn, first come first served. All have the same time from their coming on, so each turn ends
/// before that of the next would, and nobody waits for longer than that.
final class RemoteReader: Sendable {
    let namespace: String
    private let path: String
    private let timeout: Duration
    private let files: any FileSystem
    private let clock: (any SystemClock)?
    private let threads = LazyThreads(name: "varve-remote", count: 2)
    /// Connections that nobody uses now.
    private let idle = Mutex<[Connection]>([])

    private struct Connection: Sendable {
        let client: OwnerClient
        let namespace: Namespace
    }

    /// An entry that may be served now.
    struct Found: Sendable {
        let entry: StoredEntry
        let carried: CarriedFields

        var kind: DiskTier.Kind? { DiskTier.Kind(rawValue: entry.fields.valueType) }
    }

    /// `clock`: the machine's boot clock; nil: the kernel's.
    init(
        _ path: String, namespace: String, timeout: Duration, _ files: any FileSystem, _ clock: (any SystemClock)?
    ) {
        self.path = path
        self.namespace = namespace
        self.timeout = timeout.clampedForTimers
        self.files = files
        self.clock = clock ?? (try? KernelClock())
    }

    func find(_ key: [UInt8]) async throws(VarveError) -> Found? {
        let turn = Turn(end: .now + timeout)
        let outcome: Result<Found?, VarveError> = await withTaskCancellationHandler {
            await threads.run { [self] in
                do throws(VarveError) { return .success(try take(turn, key)) } catch { return .failure(error) }
            }
        } onCancel: {
            turn.isCancelled.store(true, ordering: .relaxed)
        }
        return try outcome.get()
    }

    /// Moves the owner's slot of that name; false where it has none.
    func moveSlot(_ name: String, to cursor: ChangeCursor) async throws(VarveError) -> Bool {
        let limit = timeout
        return try await threads.run { [path, files] () throws(VarveError) in
            let client = try OwnerClient.connect(toStoreAt: path, files, limit: limit)
            defer { client.close() }
            return try client.moveSlot(name, to: cursor)
        }
    }

    /// One caller's.
    private final class Turn: Sendable {
        let end: ContinuousClock.Instant
        let isCancelled = Atomic(false)

        init(end: ContinuousClock.Instant) { self.end = end }

        /// How long the owner may take from here on.
        var left: Duration {
            get throws(VarveError) {
                if isCancelled.load(ordering: .relaxed) { throw VarveError(.cancelled, "the read was cancelled") }
                let left = end - .now
                guard left > .zero else {
                    throw VarveError(.timedOut, "the store's process does not answer in time; is it stopped?")
                }
                return left
            }
        }
    }

    // MARK: On a thread

    private func take(_ turn: Turn, _ key: [UInt8]) throws(VarveError) -> Found? {
        if let known = idle.withLock({ $0.popLast() }) {
            do throws(VarveError) { return try ask(known, turn, key) } catch {
                // The owner may have gone and come back, or hung up on a client that had been silent for long.
                guard error.code == .closed else { throw error }
                idle.withLock { $0 = [] }
            }
        }
        let client = try OwnerClient.connect(toStoreAt: path, files, limit: try turn.left)
        return try ask(
            Connection(client: client, namespace: try client.namespace(named: namespace, limit: try turn.left)), turn,
            key)
    }

    /// Asks, and keeps the connection for the next one unless it is of no use any more.
    private func ask(_ connection: Connection, _ turn: Turn, _ key: [UInt8]) throws(VarveError) -> Found? {
        do throws(VarveError) {
            let found = try read(key, connection, turn)
            idle.withLock { $0.append(connection) }
            return found
        } catch {
            switch error.code {
            case .closed, .timedOut, .io: connection.client.close()
            default: idle.withLock { $0.append(connection) }
            }
            throw error
        }
    }

    /// An entry that outlived the drops of its tags, and the floors of source versions. These are read after the entry: one
    /// that comes between hides it, and rightly.
    private func read(_ key: [UInt8], _ connection: Connection, _ turn: Turn) throws(VarveError) -> Found? {
        let client = connection.client
        // Before the question, which the owner's clock is read after: so a deadline comes out no later than it is.
        let began = clock?.bootNanoseconds ?? 0
        guard let found = try client.storedEntry(key, in: connection.namespace, limit: try turn.left) else {
            return nil
        }
        let fields = found.entry.fields
        func boot(_ deadline: Int64?) -> Int64 {
            guard let deadline else { return .max }
            // Without a clock nothing that expires can be kept.
            return clock == nil ? .min : Deadlines.add(deadline &- found.now, to: began)
        }
        // The owner's engine keeps it for longer than reads have moved its deadline to.
        let until = IdleRecord(fields.extensions)?.until ?? fields.usableUntil
        if let until, until <= found.now { return nil }
        for tag in fields.tags {
            let drop = try client.storedEntry(
                TagStore.key(tag, of: connection.namespace), in: .tagDrops, limit: try turn.left)
            guard let entry = drop?.entry else { continue }
            let dropped = TagStore.version(ofDrop: entry.bytes, writtenAt: entry.version)
            if dropped > DiskTier.version(of: found.entry) { return nil }
        }
        let raised = try client.storedEntry(
            connection.namespace.keyPrefix, in: .sourceFloors, limit: try turn.left)?.entry
        if let raised {
            let floors = try PrefixFloors(reading: raised.bytes, writtenAt: raised.version.rawValue)
            let version = DiskTier.version(of: found.entry)
            if unsafe floors.hides(key.span.bytes, sourceVersion: fields.sourceVersion ?? 0, version: version) {
                return nil
            }
        }
        let deadlines = Deadlines(usableUntil: boot(until), freshUntil: boot(fields.freshUntil))
        return Found(entry: found.entry, carried: CarriedFields(deadlines: deadlines, tags: fields.tags))
    }
}
