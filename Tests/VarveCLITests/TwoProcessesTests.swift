import Testing

@testable import VarveCLI

/// The example of two processes, run as two processes.
@Suite struct TwoProcessesTests {
    private func start(_ arguments: String...) throws -> RunningBinary {
        try RunningBinary(arguments, path: Binary.path(of: "TwoProcessesExample"))
    }

    @Test func aReadersMemoryFollowsTheOwnerAlsoOverItsDeath() throws {
        let scratch = try Binary.Scratch()
        let folder = scratch.path + "/store"
        let first = try start("owner", folder, "4000")
        #expect(first.wait { first.lines.contains { $0.hasPrefix("wrote") } })
        let readers = try (0..<2).map { _ in try start("reader", folder) }
        #expect(first.wait { first.lines.contains("wrote 1000") })
        first.kill()
        let second = try start("owner", folder, "4000")
        for reader in readers { #expect(reader.waitForEnd() == 0, "\(reader.lines)") }
        let begun = second.lines.first.flatMap { Int($0.split(separator: " ").last ?? "") } ?? 0
        #expect(begun >= 1000 && begun < 4000, "the store outlived its owner, and the owner was killed in the middle")
        for reader in readers {
            // Most reads were answered from memory.
            let numbers = reader.lines.last?.split(separator: " ").compactMap { Int($0) } ?? []
            #expect(numbers.count == 2 && numbers[0] > numbers[1], "\(reader.lines)")
        }
        try second.endInput()
        #expect(second.waitForEnd() == 0)
    }
}
