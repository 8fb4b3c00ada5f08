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

    /// Waits until `condition` holds. False after two minutes: a test that waits so long has failed.
    @discardableResult
    public func wait(until condition: (Value) -> Bool) -> Bool {
        monitor.wait(atMost: .seconds(120)) { condition($0) ? true : nil } ?? false
    }
}
