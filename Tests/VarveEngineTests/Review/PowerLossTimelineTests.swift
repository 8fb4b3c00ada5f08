import Testing
import VarveIO
import VarveTestSupport

@testable import VarveEngine

/// A store that lost power begins a timeline before its first write, however often its opening is cut short.
struct PowerLossTimelineTests {
    @Test("an opening that dies after a power cut does not hide the cut from the next")
    func openingDies() throws {
        let store = ReviewStore()
        let files = SimulatedFileSystem()
        let engine = try store.open(files)
        try engine.put([1], [1], durability: .synced)
        try engine.put([2], [2])
        let before = engine.position.timeline
        store.clock.reboot()
        var change = 0
        var isOpen = false
        while !isOpen {
            change += 1
            let image = files.crash(seed: 1)
            image.cutPower(atChange: change)
            let opened = try? store.open(image)
            isOpen = opened != nil
            // Not the power but the process went: the kernel's boot is the same.
            let next = try store.open(image.killProcess())
            #expect(next.position.timeline != before, "the opening died at change \(change)")
            #expect(try next.get([1]) != nil)
            try next.close()
        }
        #expect(change > 10)
    }
}
