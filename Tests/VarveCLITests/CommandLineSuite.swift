/// Tests that run `varve` in a folder of their own.
protocol CommandLineSuite {
    var scratch: Binary.Scratch { get }
}

extension CommandLineSuite {
    /// Where the tests keep their store, if they have one.
    var store: String { scratch.path + "/store" }

    @discardableResult
    func varve(_ arguments: String..., input: String = "") throws -> Binary.Outcome {
        try Binary.run(arguments, input: Array(input.utf8), in: scratch.path)
    }
}
