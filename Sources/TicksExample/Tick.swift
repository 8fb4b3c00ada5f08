import Foundation

/// One price update of a stock, as the feed delivers it.
struct Tick: Codable, Sendable, Hashable {
    var name: String
    var price: Double
    /// Minutes after midnight.
    var minute: Int
    /// Numbers the ticks of all stocks by the clock: what the source calls a version.
    var number: UInt64

    /// Reads lines such as `"AA",39.48,"6/11/2007","9:36am",-0.18,39.67,39.69,39.45,181800`, and puts them in the order of
    /// the clock. Ticks of one minute stay in the order of the file.
    static func read(_ text: String) throws -> [Tick] {
        var ticks: [Tick] = []
        for (index, line) in text.split(whereSeparator: \.isNewline).enumerated() {
            let fields = line.split(separator: ",").map { $0.trimmingCharacters(in: CharacterSet(charactersIn: "\" ")) }
            guard fields.count >= 4, !fields[0].isEmpty, let price = Double(fields[1]), let minute = minute(fields[3])
            else {
                throw ExampleFailure("line \(index + 1) is no tick: \(line.prefix(80))")
            }
            ticks.append(Tick(name: fields[0], price: price, minute: minute, number: 0))
        }
        let ordered = ticks.enumerated().sorted { ($0.element.minute, $0.offset) < ($1.element.minute, $1.offset) }
        return ordered.enumerated().map { place, tick in
            var numbered = tick.element
            numbered.number = UInt64(place + 1)
            return numbered
        }
    }

    /// `9:36am` as minutes after midnight.
    private static func minute(_ clock: String) -> Int? {
        guard let half = clock.lowercased().hasSuffix("am") ? 0 : clock.lowercased().hasSuffix("pm") ? 12 : nil else {
            return nil
        }
        let parts = clock.dropLast(2).split(separator: ":").compactMap { Int($0) }
        guard parts.count == 2, (1...12).contains(parts[0]), (0...59).contains(parts[1]) else { return nil }
        return (parts[0] % 12 + half) * 60 + parts[1]
    }
}

/// What stops an example, in a sentence.
struct ExampleFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
