/// Does something for each of many, so many at a time: each takes a task, and a device has no use for more at once.
/// - Parameter take: gets the results as they come; false: begin no more.
func sideBySide<Element: Sendable, Result: Sendable>(
    _ elements: [Element], atOnce limit: Int = 64, _ body: @escaping @Sendable (Element) async -> Result,
    take: (Result) -> Bool
) async {
    // One needs no task of its own.
    if elements.count <= 1 {
        for element in elements { _ = take(await body(element)) }
        return
    }
    await withTaskGroup(of: Result.self) { group in
        var left = elements.makeIterator()
        var goesOn = true
        func begin(_ group: inout TaskGroup<Result>) {
            guard goesOn, let element = left.next() else { return }
            group.addTask { await body(element) }
        }
        for _ in 0..<limit { begin(&group) }
        for await result in group {
            goesOn = take(result) && goesOn
            begin(&group)
        }
    }
}
