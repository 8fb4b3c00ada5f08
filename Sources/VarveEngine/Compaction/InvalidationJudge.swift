/// Knows which entries nobody is shown any more though nothing in the store hides them: because a tag that they carry was
/// dropped, or what is older was removed from where their keys lie. Either writes one record, however many entries there are.
/// Compaction asks it, so that their space is given back.
///
/// It is asked by the threads that compact, of every put with tags that they meet, and of every put of a namespace in which
/// keys were invalidated. It must answer quickly, wait for nothing and not call the engine.
public protocol InvalidationJudge: Sendable {
    /// Changes whenever an answer may have changed. 0: nothing is invalidated, and nothing need be asked.
    var generation: UInt64 { get }

    /// Answers the many questions of one compaction by what is known now, at least all that its maker told of in `generation`
    /// before. What is invalidated once more meanwhile changes nothing: an answer that came to lie beyond what the compaction's
    /// readers see would keep entries that could go, again and again. Default: the judge itself.
    func makePass() -> any InvalidationJudge

    /// The LSN of what invalidated an entry by a tag, of those that it is older than; nil: it stands, or that is not known.
    ///
    /// The entry is let go for everybody who reads at that LSN or later, so it must be one that is visible, and the answer
    /// must hold for good. Who reads as of an earlier LSN goes on to see the entry.
    func invalidation(of entry: JudgedEntry) -> LSN?

    /// The namespaces in which something was invalidated by keys, and the LSN at which that was last. In no other what follows
    /// need be asked, and while a namespace's LSN stays the same, so do the answers. Asked once for many entries. Default: none.
    var lastInvalidations: [UInt32: LSN] { get }

    /// The same as `invalidation(of:)` by the entry's key (without its namespace) and versions, whatever its tags. Default: nil.
    func invalidation(of entry: JudgedEntry, under key: RawSpan) -> LSN?
}

/// What of a put says whether it was invalidated.
public struct JudgedEntry: Hashable, Sendable {
    public var namespace: UInt32
    /// The LSN that wrote it.
    public var version: LSN
    /// Nil where it names none, or where it does not matter: to drops of tags.
    public var sourceVersion: UInt64?
    public var tags: [UInt64]
    /// Empty where they are not at hand: a sample does without.
    public var extensions: [EntryExtension]

    public init(
        namespace: UInt32, version: LSN, sourceVersion: UInt64? = nil, tags: [UInt64] = [],
        extensions: [EntryExtension] = []
    ) {
        self.namespace = namespace
        self.version = version
        self.sourceVersion = sourceVersion
        self.tags = tags
        self.extensions = extensions
    }
}

extension InvalidationJudge {
    public func makePass() -> any InvalidationJudge { self }
    public var lastInvalidations: [UInt32: LSN] { [:] }
    public func invalidation(of entry: JudgedEntry, under key: RawSpan) -> LSN? { nil }

    /// Whether nobody who reads at `reader` or later is shown a put. One whose fields do not decode stands. `byKey`: whether
    /// keys were invalidated in its namespace.
    func hides(
        _ key: UnsafeRawBufferPointer, _ version: LSN, _ view: borrowing EntryView, from reader: LSN, byKey: Bool
    ) -> Bool {
        let isTagged = view.flags.contains(.tags)
        guard byKey || isTagged, let namespace = unsafe FullKey.namespace(of: key), namespace >= .firstUser,
            let entry = JudgedEntry(version, view, in: namespace)
        else { return false }
        if !entry.tags.isEmpty, let drop = invalidation(of: entry), drop <= reader { return true }
        guard byKey else { return false }
        return unsafe invalidation(of: entry, underFull: key).map { $0 <= reader } ?? false
    }

    /// `key` begins with its namespace.
    func invalidation(of entry: JudgedEntry, underFull key: UnsafeRawBufferPointer) -> LSN? {
        let own = unsafe UnsafeRawBufferPointer(rebasing: key[FullKey.namespaceBytes...])
        return invalidation(of: entry, under: unsafe RawSpan(_unsafeBytes: own))
    }
}

extension JudgedEntry {
    /// Nil where its fields do not decode. Most entries carry nothing that would have to be copied.
    init?(_ version: LSN, _ view: borrowing EntryView, in namespace: NamespaceID) {
        self.init(namespace: namespace.rawValue, version: version, sourceVersion: view.sourceVersion)
        if view.flags.isDisjoint(with: [.tags, .extensions]) { return }
        guard let fields = try? view.fields() else { return nil }
        tags = fields.tags
        extensions = fields.extensions
    }
}
