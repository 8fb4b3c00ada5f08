/// A reference that someone else keeps alive, used without retain and release: a cursor in the middle of a hot loop.
///
/// Safe as long as the owner beside it holds the object; each user says where that is. A retain and a release cost about
/// 10 ns together, as much as a whole step of a merge.
@safe
struct Borrowed<Object: AnyObject> {
    private let reference: Unmanaged<Object>

    @inline(__always)
    init(_ object: Object) { unsafe reference = Unmanaged.passUnretained(object) }

    @inline(__always)
    func with<T>(_ body: (Object) -> T) -> T {
        unsafe reference._withUnsafeGuaranteedRef { body($0) }
    }

    /// The standard library's form does not know typed errors.
    @inline(__always)
    func attempt(_ body: (Object) throws(VarveError) -> Void) throws(VarveError) {
        let failure: VarveError? = unsafe reference._withUnsafeGuaranteedRef { object -> VarveError? in
            do throws(VarveError) {
                try body(object)
                return nil
            } catch {
                return error
            }
        }
        if let failure { throw failure }
    }
}
