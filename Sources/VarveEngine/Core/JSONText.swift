/// Writes one JSON object, key by key, in the order of the calls. Enough for statistics and reports without Foundation.
struct JSONText {
    private(set) var text = "{"
    private var isFirst = true

    private mutating func begin(_ key: String) {
        if !isFirst { text += ", " }
        isFirst = false
        text += JSONText.quoted(key) + ": "
    }

    mutating func add(_ key: String, _ value: some FixedWidthInteger) {
        begin(key)
        text += String(value)
    }

    mutating func add(_ key: String, _ value: Bool) {
        begin(key)
        text += value ? "true" : "false"
    }

    /// Numbers that JSON cannot spell become null.
    mutating func add(_ key: String, _ value: Double) {
        begin(key)
        text += value.isFinite ? "\(value)" : "null"
    }

    mutating func add(_ key: String, _ value: String?) {
        begin(key)
        text += value.map(JSONText.quoted) ?? "null"
    }

    mutating func add(_ key: String, _ nested: JSONText) {
        begin(key)
        text += nested.finished()
    }

    mutating func add(_ key: String, _ list: [JSONText]) {
        begin(key)
        text += "[" + list.map { $0.finished() }.joined(separator: ", ") + "]"
    }

    func finished() -> String { text + "}" }

    static func quoted(_ value: String) -> String {
        var text = "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\t": text += "\\t"
            case "\r": text += "\\r"
            default:
                if scalar.value < 0x20 {
                    let digits = String(scalar.value, radix: 16)
                    text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                } else {
                    text.unicodeScalars.append(scalar)
                }
            }
        }
        return text + "\""
    }
}
