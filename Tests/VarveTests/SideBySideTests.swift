import Testing

@testable import Varve

struct SideBySideTests {
    @Test("So many at once and no more, and in the end all", arguments: [0, 1, 5, 100])
    func bounded(count: Int) async {
        let door = Door()
        let task = Task {
            var taken: [Int] = []
            await sideBySide(Array(0..<count), atOnce: 8) { number in
                await door.pass()
                return number
            } take: {
                taken.append($0)
                return true
            }
            return taken
        }
        await door.arrived(min(count, 8))
        for _ in 0..<1000 { await Task.yield() }
        #expect(await door.arrivals == min(count, 8))
        await door.open()
        #expect(await task.value.sorted() == Array(0..<count))
    }

    @Test("None is begun after one that ends it, and those under way are taken")
    func ended() async {
        var taken: [Int] = []
        await sideBySide(Array(0..<1000), atOnce: 8) {
            $0
        } take: {
            taken.append($0)
            return false
        }
        #expect((1...8).contains(taken.count))
    }
}
