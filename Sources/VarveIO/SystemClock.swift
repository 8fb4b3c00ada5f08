internal import Glibc

/// The door to time. Everything that asks for the time asks one of these, so that tests turn the hands.
///
/// All members may be called from any thread.
public protocol SystemClock: Sendable {
    /// Nanoseconds since 1970 (CLOCK_REALTIME). Jumps when somebody sets it.
    var wallNanoseconds: Int64 { get }
    /// Nanoseconds since the kernel's boot, suspend included (CLOCK_BOOTTIME). Never jumps back while a process lives.
    var bootNanoseconds: Int64 { get }
    /// Names this boot of the kernel. A store that was open under another id and was not closed may have lost what was
    /// not synced; under the same id only the process died, and the page cache lives.
    var bootID: String { get }
}

/// The kernel's clocks.
public struct KernelClock: SystemClock {
    public let bootID: String

    /// Reads the boot id once; it stays for the kernel's life.
    public init() throws(IOError) {
        let path = "/proc/sys/kernel/random/boot_id"
        let file = try PosixFileSystem().open(path, .read)
        defer { file.close() }
        let bytes = try file.read(count: 64, at: 0)
        let text = String(decoding: bytes.filter { $0 > UInt8(ascii: " ") }, as: UTF8.self)
        guard !text.isEmpty else { throw IOError(code: EIO, operation: "read", path: path) }
        bootID = text
    }

    public var wallNanoseconds: Int64 { Self.read(CLOCK_REALTIME) }
    public var bootNanoseconds: Int64 { Self.nowSinceBoot }

    /// The same for who needs no clock in hand: a copy of one counts references.
    public static var nowSinceBoot: Int64 { read(CLOCK_BOOTTIME) }

    /// Nanoseconds of a clock that only moves on, for measuring spans of real time.
    public static var monotonicNanoseconds: Int64 { read(CLOCK_MONOTONIC) }

    /// When the kernel ticked last, in nanoseconds of a clock that stands still in a suspend (CLOCK_MONOTONIC_COARSE). Asking
    /// for it costs a few instructions: the processor's own clock is not read. Ticks are 1 to 10 ms apart, a few more where a
    /// processor is held up. 0 where there is no such clock.
    public static var lastTick: Int64 { read(CLOCK_MONOTONIC_COARSE) }

    private static func read(_ clock: clockid_t) -> Int64 {
        var now = timespec()
        unsafe clock_gettime(clock, &now)
        return Int64(now.tv_sec) &* 1_000_000_000 &+ Int64(now.tv_nsec)
    }
}
