/// A standard type all of whose parts are such types: what it holds outside of itself needs no estimate.
protocol HeapMeasured {
    /// Whether no value of the type holds anything outside of itself: then its elements need not be walked through.
    static var isFlat: Bool { get }
    /// By what has been allocated, and not by what is used of it.
    var heapBytes: Int { get }
}

extension HeapMeasured {
    static var isFlat: Bool { true }
    var heapBytes: Int { 0 }
}

extension Bool: HeapMeasured {}
extension Double: HeapMeasured {}
extension Float: HeapMeasured {}
extension Int: HeapMeasured {}
extension Int64: HeapMeasured {}
extension Int32: HeapMeasured {}
extension Int16: HeapMeasured {}
extension Int8: HeapMeasured {}
extension UInt: HeapMeasured {}
extension UInt64: HeapMeasured {}
extension UInt32: HeapMeasured {}
extension UInt16: HeapMeasured {}
extension UInt8: HeapMeasured {}

extension String: HeapMeasured {
    static var isFlat: Bool { false }
    var heapBytes: Int { memoryCost }
}

extension Optional: HeapMeasured where Wrapped: HeapMeasured {
    static var isFlat: Bool { Wrapped.isFlat }
    var heapBytes: Int { self?.heapBytes ?? 0 }
}

extension Array: HeapMeasured where Element: HeapMeasured {
    static var isFlat: Bool { false }
    var heapBytes: Int { bytesOfElements + (Element.isFlat ? 0 : reduce(0) { $0 + $1.heapBytes }) }
}

extension Set: HeapMeasured where Element: HeapMeasured {
    static var isFlat: Bool { false }
    var heapBytes: Int { bytesOfElements + (Element.isFlat ? 0 : reduce(0) { $0 + $1.heapBytes }) }
}

extension Dictionary: HeapMeasured where Key: HeapMeasured, Value: HeapMeasured {
    static var isFlat: Bool { false }
    var heapBytes: Int {
        bytesOfElements + (Key.isFlat && Value.isFlat ? 0 : reduce(0) { $0 + $1.key.heapBytes + $1.value.heapBytes })
    }
}

/// A collection that keeps its elements, whatever they are, in one allocation.
protocol ElementStore {
    /// The size of that, without what elements hold outside of themselves.
    var bytesOfElements: Int { get }
}

extension Array: ElementStore {
    var bytesOfElements: Int { capacity == 0 ? 0 : 32 + capacity * MemoryLayout<Element>.stride }
}

extension Set: ElementStore {
    var bytesOfElements: Int { HashedStorage.bytes(capacity: capacity, element: MemoryLayout<Element>.stride) }
}

extension Dictionary: ElementStore {
    var bytesOfElements: Int {
        HashedStorage.bytes(capacity: capacity, element: MemoryLayout<Key>.stride + MemoryLayout<Value>.stride)
    }
}

/// How sets and dictionaries keep what they hold: in a power of two of places, three quarters of which they fill at most.
private enum HashedStorage {
    static func bytes(capacity: Int, element: Int) -> Int {
        if capacity == 0 { return 0 }
        var places = 1
        while places * 3 / 4 < capacity { places *= 2 }
        return 64 + places / 8 + places * element
    }
}
