import Glibc
import Testing
import VarveEngine
import VarveTestSupport

@testable import VarveCrashTest

/// What the crash test found once must stay found.
@Suite struct FullDiskTests {
    /// The manifest is the one file that is appended to without being allocated before.
    @Test(arguments: [false, true])
    func aFullDiskAtAVersionEditPasses(isPartial: Bool) throws {
        let workload = Workload(WorkloadShape(seed: 1, steps: 0))
        try workload.open()
        let engine = try #require(workload.engine)
        try engine.put(WorkloadKeys.all[0], Array("before".utf8))
        let tables = { try workload.files.list(Workload.directory).filter { $0.hasSuffix(".sst") } }
        workload.files.fail(ENOSPC, partial: isPartial) { $0.operation == .write && $0.path.contains("MANIFEST") }
        let error = #expect(throws: VarveError.self) { try engine.flush() }
        #expect(error?.code == .diskFull)
        try engine.put(WorkloadKeys.all[1], Array("after".utf8), durability: .synced)
        try engine.flush()
        try engine.runBackgroundWork()
        let left = engine.statistics.levels.reduce(0) { $0 + $1.tables }
        #expect(try tables().count == left, "a table that no edit names takes space for nothing")
        let killed = workload.files.killProcess()
        let again = try Engine.open(
            at: Workload.directory, workload.shape.options(workload.clock), fileSystem: killed)
        #expect(try again.get(WorkloadKeys.all[0])?.bytes == Array("before".utf8))
        #expect(try again.get(WorkloadKeys.all[1])?.bytes == Array("after".utf8))
        try again.close()
    }

    /// A write that meets a broken device stops the store, and the statistics say so.
    @Test func aFailedAppendStandsInTheStatistics() throws {
        let workload = Workload(WorkloadShape(seed: 1, steps: 0))
        try workload.open()
        let engine = try #require(workload.engine)
        workload.files.fail(EIO) { $0.path.contains(".log") && ($0.operation == .store || $0.operation == .write) }
        #expect(throws: VarveError.self) { try engine.put(WorkloadKeys.all[0], [1], durability: .interval) }
        #expect(engine.statistics.failure != nil)
        let error = #expect(throws: VarveError.self) { try engine.put(WorkloadKeys.all[0], [2]) }
        #expect(error?.code == .failedStop)
        #expect(try engine.get(WorkloadKeys.all[0]) == nil)
    }

    /// Who made the store's folder may die before its name is durable; the next process must see to it.
    @Test func aFolderThatAKilledProcessMadeIsDurableForTheNextOne() throws {
        let workload = Workload(WorkloadShape(seed: 1, steps: 0))
        // Everything of the creation was done but the sync of the parent.
        workload.files.dropDirectorySyncs { $0 == "/" }
        try workload.open()
        let next = workload.files.killProcess()
        let options = workload.shape.options(workload.clock)
        let engine = try Engine.open(at: Workload.directory, options, fileSystem: next)
        try engine.put(WorkloadKeys.all[0], [1], durability: .synced)
        let crashed = next.crash(seed: 1, options: CrashOptions(data: .nothing, names: .nothing))
        let after = try Engine.open(at: Workload.directory, options, fileSystem: crashed)
        #expect(try after.get(WorkloadKeys.all[0])?.bytes == [1])
    }

    /// After a failed sync the kernel calls pages clean that the disk never had: the next process under the same boot
    /// must not take a sync of them for a promise.
    @Test func whatAFailedSyncLeftIsWrittenAgain() throws {
        let workload = Workload(WorkloadShape(seed: 1, steps: 0))
        try workload.open()
        let engine = try #require(workload.engine)
        try engine.put(WorkloadKeys.all[0], [1], durability: .interval)
        workload.files.fail(EIO) { $0.operation == .sync && $0.path.contains(".log") }
        #expect(throws: VarveError.self) { try engine.sync() }
        let next = workload.files.killProcess()
        let again = try Engine.open(
            at: Workload.directory, workload.shape.options(workload.clock), fileSystem: next)
        #expect(try again.get(WorkloadKeys.all[0])?.bytes == [1])
        try again.put(WorkloadKeys.all[1], [2], durability: .synced)
        let crashed = next.crash(seed: 1, options: CrashOptions(data: .nothing, names: .nothing))
        workload.clock.reboot()
        let last = try Engine.open(
            at: Workload.directory, workload.shape.options(workload.clock), fileSystem: crashed)
        #expect(try last.get(WorkloadKeys.all[0])?.bytes == [1])
        #expect(try last.get(WorkloadKeys.all[1])?.bytes == [2])
    }
}
