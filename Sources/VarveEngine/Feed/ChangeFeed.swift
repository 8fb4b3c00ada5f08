internal import Synchronization
internal import VarveIO

/// The changes of a store in the order of its log: an asynchronous sequence.
///
///     for try await change in try engine.changes(since: cursor) {
///         ...
///         if change.endsBatch { cursor = change.cursor }
///     }
///
/// Nothing is missing between two elements, or the sequence throws `.logGap`. Nothing is told before it is durable. One
/// chunk of at most 256 KiB (or one larger record) is read ahead, by a thread of the engine's; the next one is read when
/// it is used up. A feed at the log's end suspends, and what is written meanwhile is synced at once for it. Cancelling
/// its task ends it with `.cancelled`, closing the store with `.closed`. It keeps neither the store open nor its log.
///
/// Each iterator reads by itself, from the cursor on.
public struct ChangeFeed: AsyncSequence, Sendable {
    public typealias Element = Change
    public typealias Failure = VarveError

    let scope: ChangeScope
    private let open: @Sendable () async throws(VarveError) -> any ChangeSource

    init(_ scope: ChangeScope, open: @escaping @Sendable () async throws(VarveError) -> any ChangeSource) {
        self.scope = scope
        self.open = open
    }

    public func makeAsyncIterator() -> Iterator { Iterator(feed: self) }

    /// One task at a time.
    public struct Iterator: AsyncIteratorProtocol {
        private enum State {
            case fresh
            case reading(any ChangeSource, ChangeChunkReader?)
            case ended
        }

        private let feed: ChangeFeed
        private var state = State.fresh

        init(feed: ChangeFeed) { self.feed = feed }

        public mutating func next() async throws(VarveError) -> Change? { try await next(isolation: nil) }

        public mutating func next(
            isolation actor: isolated (any Actor)? = #isolation
        ) async throws(VarveError) -> Change? {
            while true {
                do throws(VarveError) {
                    switch state {
                    case .ended: return nil
                    // At once: what was read ahead is told no more either.
                    case _ where Task.isCancelled: throw ChangeReader.cancelled
                    case .fresh: state = .reading(try await feed.open(), nil)
                    case .reading(let source, let chunk?):
                        if let change = try take(source, chunk) { return change }
                    case .reading(let source, nil):
                        guard let chunk = try await source.next() else {
                            state = .ended
                            return nil
                        }
                        state = .reading(source, try ChangeFeed.reader(chunk, source.namespaces))
                    }
                } catch {
                    state = .ended
                    throw error
                }
            }
        }

        /// The chunk's next change that the feed tells of.
        private mutating func take(
            _ source: any ChangeSource, _ chunk: ChangeChunkReader
        ) throws(VarveError) -> Change? {
            var chunk = chunk
            while let change = try ChangeFeed.next(of: &chunk) {
                if case .progress = change.kind, !feed.scope.includesProgress { continue }
                state = .reading(source, chunk)
                return change
            }
            state = .reading(source, nil)
            return nil
        }
    }

    static func reader(_ chunk: ChangeChunk, _ namespaces: [Namespace]) throws(VarveError) -> ChangeChunkReader {
        do { return try ChangeChunkReader(chunk, namespaces: namespaces) } catch { throw misunderstood(error) }
    }

    static func next(of chunk: inout ChangeChunkReader) throws(VarveError) -> Change? {
        do { return try chunk.next() } catch { throw misunderstood(error) }
    }

    private static func misunderstood(_ error: DecodeError) -> VarveError {
        VarveError(.io, "changes came that cannot be understood (\(error)); are they of another version of Varve?")
    }
}

/// Where a feed's chunks come from. One caller at a time.
protocol ChangeSource: AnyObject, Sendable {
    /// The feed's namespaces, in the order in which its chunks number them.
    var namespaces: [Namespace] { get }
    /// The next chunk, for which it may wait until the task is cancelled; nil: that was all.
    func next() async throws(VarveError) -> ChangeChunk?
}

/// The log of a store that is open in this process.
final class LocalChangeSource: ChangeSource {
    let namespaces: [Namespace]
    private let reader: ChangeReader
    private let threads: LazyThreads
    private let hasBegun = Atomic<Bool>(false)

    init(_ reader: ChangeReader, _ namespaces: [Namespace], threads: LazyThreads) {
        self.reader = reader
        self.namespaces = namespaces
        self.threads = threads
    }

    func next() async throws(VarveError) -> ChangeChunk? {
        // The first says where the feed begins, as over a socket.
        if !hasBegun.exchange(true, ordering: .relaxed) { return reader.beginning }
        while true {
            if Task.isCancelled { throw ChangeReader.cancelled }
            let outcome = try await threads.run { [reader] () throws(VarveError) in try reader.fill() }
            switch outcome {
            case .chunk(let chunk): return chunk
            case .ended: return nil
            case .nothingYet: try await reader.waitForMore()
            }
        }
    }
}
