internal import VarveIO

/// A value that threads change and wait for: how tests meet another thread without sleeping.
public final class Watched<Value: Sendable>: Sendable {
    private let monitor: Monitor<Value>

    public init(_ value: Value) { monitor = Monitor(value) }

    public var current: Value { monitor.withLock { $0 } }

    /// Changes the value and wakes everybody who waits.
    @discardableResult
    public func update<Result>(_ body: (inout Value) -> Result) -> Result {
        defer { monitor.notifyAll() }
        return monitor.withLock { body(&$0) }
    }

    /// Waits until `condition` holds. False after ten minutes: a test that waits so long has failed.
    ///
    /// Not from a task: the pool has as many threads as the machine has cores, and what the task waits for may need one.
    @available(*, noasync, message: "it blocks a thread of the pool; await reached(_:)")
    @discardableResult
    public func wait(until condition: (Value) -> Bool) -> Bool {
        monitor.wait(atMost: .seconds(600)) { condition($0) ? true : nil } ?? false
    }

    /// The same for a task, without an end: what it waits for may itself wait for its turn on the pool.
    public func reached(_ condition: @escaping @Sendable (Value) -> Bool) async {
        await IOThread.run(name: "test-wait") { self.monitor.wait { condition($0) ? () : nil } }
    }
}
