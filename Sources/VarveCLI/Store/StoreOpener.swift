import Foundation
internal import VarveEngine
internal import VarveIO

/// Opens the store that a command works on: itself, or through the process that has it open.
enum StoreOpener {
    /// What the command is going to do.
    enum Access: Sendable {
        /// Reads: the store must be there.
        case read
        /// Writes: the store is made where there is none.
        case write
        /// Checks everything: a store whose creation was cut short counts as empty.
        case verify
        case checkpoint
    }

    static func withStore<R>(
        _ directory: String, _ access: Access, _ body: (any StoreCommands) throws -> R
    ) throws -> R {
        let store = try open(directory, access)
        let result: R
        do { result = try body(store) } catch {
            // What the command met is what the user must see; closing adds nothing to it.
            try? store.close()
            throw error
        }
        try store.close()
        return result
    }

    private static func open(_ directory: String, _ access: Access) throws -> any StoreCommands {
        OwnedStore(try OwnerClient.connect(toStoreAt: directory, PosixFileSystem()))
    }
}
