internal import CVarveSocket
import Glibc

/// Which process this is, for those who find its traces.
public enum ProcessIdentity {
    public static var id: Int32 { getpid() }
    public static var isRoot: Bool { geteuid() == 0 }

    /// The program's short name, as `ps` shows it.
    public static var program: String {
        guard let name = unsafe varve_program_name() else { return "" }
        return unsafe String(cString: name)
    }
}
