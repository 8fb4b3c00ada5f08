/// A version as text, to be handed to another process: by it a follower knows how far it must be to show that write.
extension EntryVersion: LosslessStringConvertible, Codable {
    /// Reads what `description` gave; nil for any other text.
    public init?(_ description: String) {
        let parts = description.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2 || parts.count == 3, let history = UInt64(parts[0], radix: 16),
            let number = UInt64(parts[1]), let load = parts.count == 3 ? UInt64(parts[2], radix: 16) : 0
        else { return nil }
        self.init(history: history, number: number, load: load)
        guard self.description == description else { return nil }
    }

    /// Reads the text form.
    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let version = EntryVersion(text) else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "\"\(text)\" is no version of an entry"))
        }
        self = version
    }

    /// Writes the text form.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
