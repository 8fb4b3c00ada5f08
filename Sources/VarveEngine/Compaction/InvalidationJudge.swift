/// Knows which entries nobody is shown any more though nothing in the store hides them, because a tag that they carry was
/// dropped: a drop writes one record, however many entries carry the tag. Compaction asks it, so that their space is given
/// back.
///
/// It is asked by the threads that compact, of every put with tags that they meet. It must answer quickly, wait for nothing
/// and not call the engine.
public protocol InvalidationJudge: Sendable {
    /// Changes whenever an answer may have changed. 0: nothing was invalidated yet, and nothing need be asked.
    var generation: UInt64 { get }

    /// Answers the many questions of one compaction by what is known now, at least all that its maker told of in `generation`
    /// before. What is invalidated once more meanwhile changes nothing: an answer that came to lie beyond what the compaction's
    /// readers see would keep entries that could go, again and again. Default: the judge itself.
    func makePass() -> any InvalidationJudge

    /// The LSN of what invalidated an entry, of those that it is older than; nil: it stands, or that is not known.
    ///
    /// The entry is let go for everybody who reads at that LSN or later, so it must be one that is visible, and the answer
    /// must hold for good. Who reads as of an earlier LSN goes on to see the entry.
    func invalidation(of entry: TaggedEntry) -> LSN?
}

/// What of a put with tags says whether it was invalidated.
public struct TaggedEntry: Hashable, Sendable {
    public var namespace: UInt32
    /// The LSN that wrote it.
    public var version: LSN
    public var tags: [UInt64]
    /// Empty where they are not at hand: a sample does without.
    public var extensions: [EntryExtension]

    public init(namespace: UInt32, version: LSN, tags: [UInt64], extensions: [EntryExtension] = []) {
        self.namespace = namespace
        self.version = version
        self.tags = tags
        self.extensions = extensions
    }
}

extension InvalidationJudge {
    public func makePass() -> any InvalidationJudge { self }

    /// Whether nobody who reads at `reader` or later is shown a put. One whose fields do not decode stands.
    func hides(
        _ key: UnsafeRawBufferPointer, _ version: LSN, _ view: borrowing EntryView, from reader: LSN
    ) -> Bool {
        guard view.flags.contains(.tags), let namespace = unsafe FullKey.namespace(of: key),
            namespace >= .firstUser, let fields = try? view.fields()
        else { return false }
        let entry = TaggedEntry(
            namespace: namespace.rawValue, version: version, tags: fields.tags, extensions: fields.extensions)
        return invalidation(of: entry).map { $0 <= reader } ?? false
    }
}
