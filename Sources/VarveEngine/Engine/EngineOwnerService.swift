final class EngineOwnerService: Sendable { init(_ e: Engine) {} }
