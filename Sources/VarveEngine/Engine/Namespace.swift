/// A named key space within a store. Every operation that takes none works in the default one.
public struct Namespace: Hashable, Sendable {
    public let name: String
    let id: NamespaceID

    init(name: String, id: NamespaceID) {
        self.name = name
        self.id = id
    }

    /// The key space that every store has, named "default".
    public static let `default` = Namespace(name: "default", id: .default)

    /// Where `varve load` keeps how far it came: a namespace of the store's own, beside the data and in the same batches.
    package static let loadProgress = Namespace(name: "load progress", id: .loadProgress)
}
