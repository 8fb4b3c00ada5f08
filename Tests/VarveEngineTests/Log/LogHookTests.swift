import Synchronization
import Testing

@testable import VarveEngine

struct LogHookTests {
    private final class Count: Sendable {
        let calls = Atomic<Int>(0)
    }

    @Test("A hook that is called for ever stays as deep as it was set")
    func staysFlat() {
        let hook = LogHook<LSN>()
        let count = Count()
        hook.set { _ in count.calls.add(1, ordering: .relaxed) }
        // Two frames more for each call would end the thread's stack long before.
        for number in 0..<200_000 { hook.call(LSN(UInt64(number))) }
        #expect(count.calls.load(ordering: .relaxed) == 200_000)
    }
}
