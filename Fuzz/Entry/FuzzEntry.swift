import Glibc

/// The target of this process, from VARVE_FUZZ_TARGET.
let chosen: FuzzTarget = {
    let name = getenv("VARVE_FUZZ_TARGET").map { String(cString: $0) } ?? ""
    guard let target = FuzzTarget.named(name) else {
        let text = Array("fuzz: VARVE_FUZZ_TARGET names no target: '\(name)'\n".utf8)
        _ = write(STDERR_FILENO, text, text.count)
        exit(64)
    }
    return target
}()

/// What libFuzzer calls for each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    chosen.run(UnsafeRawBufferPointer(start: start, count: count))
    return 0
}
