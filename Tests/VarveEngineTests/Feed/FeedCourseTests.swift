import Testing
import VarveTestSupport

/// Feeds on courses that a seed draws.
struct FeedCourseTests {
    @Test(
        "Held against the list of what was written: told together, once, in order, and no more of it ahead than may be",
        arguments: 1...5 as ClosedRange<UInt64>)
    func together(seed: UInt64) throws {
        var course = try FeedCourse(seed)
        try course.run()
        #expect(course.met.parts > 0, "seed \(seed): no batch was told in parts")
        #expect(course.met.larger > 0, "seed \(seed): no value was larger than what is read ahead")
    }

    @Test(
        "One that is cancelled tells nothing more and ends, the others with their store; reads of entries wait for none",
        .timeLimit(.minutes(15)), arguments: 1...6 as ClosedRange<UInt64>)
    func ends(seed: UInt64) async throws {
        var course = try await FeedEnds(seed)
        try await course.run()
    }
}
