internal import Synchronization
internal import VarveIO

/// Answers on the owner's socket: one thread that accepts and watches, and one for each connection.
///
/// A connection's thread calls the service and writes what it says, blocking as long as its client is slow; it holds
/// nothing that another thread waits for. The accepting thread also watches the connections whose request runs long:
/// when such a client hangs up, its call is cancelled at once, with no polling. `stop` cancels everything and returns
/// when every thread has ended.
final class OwnerServer: Sendable {
    /// How much clients may take, and how long they may leave us waiting.
    struct Bounds: Sendable {
        var connections = Limits.ownerConnections
        /// Between two requests.
        var idle: Duration = .seconds(600)
        /// Without a byte moving, in the middle of a message in either direction.
        var stall: Duration = .seconds(30)
    }

    private struct State {
        var sessions: [UInt64: Running] = [:]
        var ended: [IOThread] = []
        var nextID: UInt64 = 1
        var isStopping = false
        var failure: VarveError?
    }
    private struct Running {
        let session: OwnerSession
        /// Nil while the thread is being started.
        var thread: IOThread?
        var hasEnded = false
    }

    let socketPath: String
    private let listener: UnixListener
    private let service: any OwnerService
    private let bounds: Bounds
    private let state = Mutex(State())
    /// Held for the whole of `stop`, so that a second caller waits too. Guards the accepting thread's handle.
    private let acceptor = Mutex<IOThread?>(nil)

    /// Starts to answer at the listener's socket.
    init(listener: UnixListener, service: any OwnerService, bounds: Bounds = Bounds()) throws(VarveError) {
        socketPath = listener.path
        self.listener = listener
        self.service = service
        self.bounds = bounds
        let thread = try lifted { () throws(IOError) in
            try IOThread(name: "varve-owner") { [self] in serve() }
        }
        acceptor.withLock { $0 = thread }
    }

    /// Connections that are open now.
    var connectionCount: Int { state.withLock { $0.sessions.count } }
    /// Why nobody is accepted any more, if the kernel refused to go on.
    var failure: VarveError? { state.withLock { $0.failure } }

    /// Hangs up on everybody, cancels their calls and waits for all threads. Never from a thread of the server's own.
    /// Stopping twice is fine.
    func stop() {
        acceptor.withLock { thread in
            state.withLock { $0.isStopping = true }
            listener.close()
            thread?.join()
            thread = nil
            // Nobody is admitted any more.
            let running = state.withLock { Array($0.sessions.values) }
            for one in running { one.session.stop() }
            for one in running { one.thread?.join() }
            joinEnded()
        }
    }

    private func serve() {
        while true {
            joinEnded()
            let (isStopping, watched) = state.withLock { state in
                (state.isStopping, state.sessions.values.map(\.session).filter(\.isWatched))
            }
            if isStopping { return }
            do {
                let wakeup = try listener.wait(watching: watched.map(\.connection))
                for index in wakeup.hungUp { watched[index].peerHungUp() }
                guard wakeup.hasCaller else { continue }
                while let caller = try listener.accept() { admit(caller) }
            } catch {
                // A closed listener ends in an error too; that is no failure.
                state.withLock { if !$0.isStopping { $0.failure = VarveError(error) } }
                return
            }
        }
    }

    private func admit(_ caller: UnixConnection) {
        guard caller.peer.isTrusted else {
            refuse(caller, VarveError(.invalidArgument, "only the user who runs the store's process may ask it"))
            return
        }
        let admitted = state.withLock { state -> (UInt64, OwnerSession)? in
            guard state.sessions.count < bounds.connections else { return nil }
            let id = state.nextID
            state.nextID &+= 1
            let session = OwnerSession(caller, service: service, bounds: bounds) { [listener] in listener.wake() }
            state.sessions[id] = Running(session: session)
            return (id, session)
        }
        guard let (id, session) = admitted else {
            let text = "\(bounds.connections) connections to the store's process are open already; try again later"
            refuse(caller, VarveError(.limitExceeded, text))
            return
        }
        do {
            let thread = try IOThread(name: "varve-client") { [self] in
                session.run()
                ended(id)
            }
            state.withLock { state in
                // It may have ended already.
                if state.sessions[id]?.hasEnded == true {
                    state.sessions[id] = nil
                    state.ended.append(thread)
                } else {
                    state.sessions[id]?.thread = thread
                }
            }
        } catch {
            state.withLock { _ = $0.sessions.removeValue(forKey: id) }
            refuse(caller, VarveError(error))
        }
    }

    /// A last word without waiting, in the place of the greeting.
    private func refuse(_ caller: UnixConnection, _ error: VarveError) {
        var body = ByteBuffer()
        OwnerErrorCodec.append(error, to: &body)
        var message = ByteBuffer()
        unsafe OwnerHeader(kind: .error, request: 0, argument: 0, body: body.bytes).append(to: &message)
        unsafe message.append(body.bytes)
        unsafe caller.writeWithoutWaiting(message.bytes)
        caller.close()
    }

    /// On a connection's thread, as its last act.
    private func ended(_ id: UInt64) {
        state.withLock { state in
            if let thread = state.sessions[id]?.thread {
                state.sessions[id] = nil
                state.ended.append(thread)
            } else {
                state.sessions[id]?.hasEnded = true
            }
        }
        listener.wake()
    }

    private func joinEnded() {
        let threads = state.withLock { state in
            defer { state.ended = [] }
            return state.ended
        }
        for thread in threads { thread.join() }
    }
}
