import Foundation
import Synchronization

/// What the kernel counts of this process and of the machine, at one moment.
struct ProcessAccounting: Sendable {
    var nanoseconds: UInt64 = 0
    /// Bytes given to write calls, and bytes that went to or came from the device.
    var wchar: UInt64 = 0
    var writeBytes: UInt64 = 0
    var readBytes: UInt64 = 0
    /// Seconds of processor time: this process's, everyone's, and what the hypervisor took.
    var ownSeconds = 0.0
    var busySeconds = 0.0
    var stolenSeconds = 0.0
    /// Microseconds in which some task waited for a processor.
    var pressureMicroseconds: UInt64 = 0

    static func now() -> ProcessAccounting {
        var result = ProcessAccounting()
        result.nanoseconds = BenchClock.now()
        let io = ProcFile.text("/proc/self/io")
        result.wchar = ProcFile.number(after: "wchar: ", in: io)
        result.writeBytes = ProcFile.number(after: "\nwrite_bytes: ", in: io)
        result.readBytes = ProcFile.number(after: "\nread_bytes: ", in: io)
        var usage = rusage()
        if unsafe getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 {
            result.ownSeconds = seconds(usage.ru_utime) + seconds(usage.ru_stime)
        }
        let ticks = ProcFile.text("/proc/stat").prefix { $0 != "\n" }.split(separator: " ").dropFirst()
            .map { Double($0) ?? 0 }
        if ticks.count >= 8 {
            let perSecond = Double(sysconf(Int32(_SC_CLK_TCK)))
            result.busySeconds = (ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6]) / perSecond
            result.stolenSeconds = ticks[7] / perSecond
        }
        result.pressureMicroseconds = ProcFile.number(after: "total=", in: ProcFile.text("/proc/pressure/cpu"))
        return result
    }

    private static func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + 1e-6 * Double(time.tv_usec) }
}

/// The clock of all measuring.
enum BenchClock {
    @inline(__always)
    static func now() -> UInt64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
    }
}

/// Reads the kernel's small text files.
enum ProcFile {
    /// Empty where the file cannot be read (an older kernel, a container).
    static func text(_ path: String) -> String {
        guard let data = FileManager.default.contents(atPath: path) else { return "" }
        return String(decoding: data, as: UTF8.self)
    }

    /// The number behind the first occurrence of `name`; 0 where there is none.
    static func number(after name: String, in text: String) -> UInt64 {
        guard let range = text.range(of: name) else { return 0 }
        return UInt64(text[range.upperBound...].drop { $0 == " " || $0 == "\t" }.prefix { $0.isNumber }) ?? 0
    }
}

/// Samples the process's anonymous memory every 10 ms: mapped files, which the kernel's own peak counts, are left out.
final class AnonymousMemorySampler: Sendable {
    private let peak = Atomic<UInt64>(0)
    private let stopped = Atomic<Bool>(false)

    init() {
        let thread = Thread { [self] in
            while !stopped.load(ordering: .relaxed) {
                sample()
                usleep(10_000)
            }
        }
        thread.name = "varve-rss"
        thread.start()
    }

    /// The peak so far, in KiB.
    var peakKibibytes: UInt64 {
        sample()
        return peak.load(ordering: .relaxed)
    }

    func stop() { stopped.store(true, ordering: .relaxed) }

    private func sample() {
        let now = ProcFile.number(after: "RssAnon:", in: ProcFile.text("/proc/self/status"))
        _ = peak.max(now, ordering: .relaxed)
    }
}

/// What a folder takes on disk.
enum FolderSize {
    static func measure(_ directory: String) -> (apparent: UInt64, blocks: UInt64) {
        var apparent: UInt64 = 0
        var blocks: UInt64 = 0
        let names = FileManager.default.enumerator(atPath: directory)
        while let name = names?.nextObject() as? String {
            var status = stat()
            guard unsafe lstat(directory + "/" + name, &status) == 0, status.st_mode & S_IFMT != S_IFDIR else {
                continue
            }
            apparent += UInt64(status.st_size)
            blocks += UInt64(status.st_blocks) * 512
        }
        return (apparent, blocks)
    }
}

/// Empties the kernel's page cache.
enum PageCache {
    static func drop() throws {
        sync()
        let descriptor = unsafe open("/proc/sys/vm/drop_caches", O_WRONLY)
        guard descriptor >= 0 else {
            throw BenchFailure("--cold cannot write to /proc/sys/vm/drop_caches: run it as root")
        }
        defer { close(descriptor) }
        guard unsafe write(descriptor, "3\n", 2) == 2 else {
            throw BenchFailure("--cold: the kernel did not drop its caches")
        }
    }
}
