import Testing
import VarveIO
import VarveTestSupport

@Suite struct SystemClockTests {
    @Test func theKernelNamesItsBootAndItsClocksMove() throws {
        let (first, second) = (try KernelClock(), try KernelClock())
        #expect(first.bootID == second.bootID)
        #expect(first.bootID.utf8.count == 36)
        let before = first.bootNanoseconds
        #expect(second.bootNanoseconds >= before && before > 0)
        #expect(first.wallNanoseconds > 1_600_000_000_000_000_000)
    }

    @Test func theManualClockMovesWhenTold() {
        let clock = ManualClock()
        let (wall, boot, id) = (clock.wallNanoseconds, clock.bootNanoseconds, clock.bootID)
        clock.advance(by: .seconds(2))
        #expect(clock.wallNanoseconds == wall + 2_000_000_000)
        #expect(clock.bootNanoseconds == boot + 2_000_000_000)
        #expect(clock.bootID == id)
        clock.setWall(nanoseconds: wall - 5)
        #expect(clock.wallNanoseconds == wall - 5)
        #expect(clock.bootNanoseconds == boot + 2_000_000_000)
        clock.reboot(downtime: .seconds(1))
        #expect(clock.wallNanoseconds == wall - 5 + 1_000_000_000)
        #expect(clock.bootNanoseconds < boot)
        #expect(clock.bootID != id)
    }
}
