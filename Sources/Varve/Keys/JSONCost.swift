/// What a value takes in memory, by its JSON, where its type does not tell (`HeapMeasured`). The text knows nothing of types, so each part counts as what it mostly is: a number
/// between the 8 bytes that it has and the 16 that an array grown by halves holds for it, a name between nothing (a
/// struct's) and the 16 of a dictionary's key. A long name counts as a key's, which lies outside of itself: a bound in bytes must
/// hold for dictionaries, though an array of structs that repeats it comes out dearer than it is.
enum JSONCost {
    private static let number = 12
    private static let string = 16
    private static let name = 8
    private static let container = 32
    /// Of strings up to so many bytes nothing lies outside of themselves.
    private static let inPlace = 15

    static func inMemory(of text: [UInt8]) -> Int {
        var cost = 0
        var place = 0
        while place < text.count {
            switch text[place] {
            case UInt8(ascii: "["), UInt8(ascii: "{"):
                cost += container
                place += 1
            case UInt8(ascii: "\""):
                let end = endOfString(text, from: place + 1)
                let isName = end < text.count && text[end] == UInt8(ascii: ":")
                let length = end - place - 2
                cost += (isName ? name : string) + (length > inPlace ? length + 32 : 0)
                place = end
            case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"):
                cost += number
                while place < text.count, !isMark(text[place]) { place += 1 }
            default: place += 1
            }
        }
        return cost
    }

    /// The place after a string's closing quote.
    private static func endOfString(_ text: [UInt8], from begin: Int) -> Int {
        var place = begin
        while place < text.count {
            if text[place] == UInt8(ascii: "\"") { return place + 1 }
            place += text[place] == UInt8(ascii: "\\") ? 2 : 1
        }
        return text.count
    }

    /// Whether it ends a number.
    private static func isMark(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: ","), UInt8(ascii: "]"), UInt8(ascii: "}"): true
        default: false
        }
    }
}
