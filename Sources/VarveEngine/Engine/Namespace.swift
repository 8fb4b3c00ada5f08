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
}
