/// One sorted source of a merge. An enum over final classes and not `any InternalCursor`, so that each step of a merge
/// is a direct call that the compiler can inline.
enum SourceCursor {
    /// Any other cursor; tests use it. Each step costs a dynamic call.
    case other(any InternalCursor)

    /// The same by reference, for the hot loop. Whoever makes one keeps `self` alive beside it.
    enum Unowned {
        case other(BorrowedCursor)
    }

    var unowned: Unowned {
        switch self {
        case .other(let cursor): .other(BorrowedCursor(cursor))
        }
    }
}

/// A cursor behind a protocol, by reference.
@safe
struct BorrowedCursor {
    // The owner of the merge keeps it alive.
    unowned(unsafe) let cursor: any InternalCursor
    init(_ cursor: any InternalCursor) { unsafe self.cursor = cursor }
}
