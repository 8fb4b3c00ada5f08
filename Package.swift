// swift-tools-version: 6.2
import PackageDescription

/// Every target of ours: Swift 6 mode comes with the tools version; unsafe code is marked expression by expression,
/// existentials are visible, and a warning fails the build.
let strict: [SwiftSetting] = [
    .strictMemorySafety(),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .treatAllWarnings(as: .error),
]

/// The engine's own expensive checks run in debug builds (so in the tests) and vanish from release builds.
let engine: [SwiftSetting] =
    strict + [
        .define("VARVE_INVARIANTS", .when(configuration: .debug))
    ]

/// Every line of the fuzz targets hands raw bytes on: marking each would say nothing.
let handlingBytes: [SwiftSetting] = Array(strict.dropFirst())

/// The HTTP example brings NIO with it, and minutes of building: VARVE_EXAMPLES=no leaves it and its tests out, where only
/// the cache and the engine are of interest (the sanitizers).
let hasHTTPExample = Context.environment["VARVE_EXAMPLES"] != "no"

let package = Package(
    name: "varve",
    products: [
        .library(name: "Varve", targets: ["Varve"]),
        .library(name: "VarveEngine", targets: ["VarveEngine"]),
        .executable(name: "varve", targets: ["VarveCLI"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
    ] + (hasHTTPExample ? [.package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1")] : []),
    targets: [
        .systemLibrary(name: "CLZ4", pkgConfig: "liblz4", providers: [.apt(["liblz4-dev"])]),
        .target(name: "CXXHash"),
        .target(name: "CVarveHints"),
        .target(name: "CVarveIO"),
        .target(name: "CVarveSocket"),
        // Counts allocations; in front of the C library's allocator, so for tests alone.
        .target(name: "CVarveAllocations"),
        .target(name: "VarveIO", dependencies: ["CVarveIO", "CVarveSocket"], swiftSettings: strict),
        .target(
            name: "VarveEngine", dependencies: ["VarveIO", "CLZ4", "CXXHash", "CVarveHints"], swiftSettings: engine),
        .target(name: "VarvePolicy", dependencies: ["CVarveHints"], swiftSettings: strict),
        .target(
            name: "Varve",
            dependencies: [
                "VarveEngine", "VarveIO", "VarvePolicy", "CXXHash", "CVarveHints",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "CoreMetrics", package: "swift-metrics"),
            ],
            swiftSettings: strict + [.enableUpcomingFeature("NonisolatedNonsendingByDefault")]),
        .target(name: "VarveTestSupport", dependencies: ["VarveIO", "VarveEngine"], swiftSettings: strict),
        .executableTarget(
            name: "VarveCLI",
            dependencies: [
                "Varve", "VarveEngine", "VarveIO", "CXXHash",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "TwoProcessesExample", dependencies: ["Varve"], swiftSettings: strict),
        .executableTarget(
            name: "VarveCrashTest",
            dependencies: [
                "Varve", "VarveEngine", "VarveIO", "VarveTestSupport",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),
        .testTarget(name: "VarveIOTests", dependencies: ["VarveIO", "VarveTestSupport"], swiftSettings: strict),
        .testTarget(
            name: "VarveEngineTests", dependencies: ["VarveEngine", "VarveIO", "VarveTestSupport", "CLZ4"],
            exclude: ["Scripts", "Fixtures"], swiftSettings: strict),
        .testTarget(
            name: "VarvePolicyTests", dependencies: ["VarvePolicy", "VarveTestSupport"], swiftSettings: strict),
        .testTarget(
            name: "VarveTests",
            dependencies: [
                "Varve", "VarvePolicy", "VarveEngine", "VarveIO", "VarveTestSupport", "CVarveAllocations",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "CoreMetrics", package: "swift-metrics"),
            ],
            swiftSettings: strict),
        .testTarget(
            name: "VarveCLITests", dependencies: ["VarveCLI", "TwoProcessesExample", "VarveTestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "VarveCrashTests", dependencies: ["VarveCrashTest", "VarveEngine", "VarveIO", "VarveTestSupport"],
            swiftSettings: strict),
        .testTarget(name: "TidyTests", swiftSettings: strict),
        // What tools/fuzz attacks, built for the tests too: every seed decodes, every kept finding stays harmless.
        .testTarget(
            name: "FuzzTests", dependencies: ["VarveEngine", "VarveIO", "CLZ4"], path: "Fuzz",
            exclude: ["Entry", "seeds", "README.md"], swiftSettings: handlingBytes),
        .executableTarget(
            name: "TicksExample",
            dependencies: [
                "Varve", "VarveEngine",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),
    ]
        + (hasHTTPExample
            ? [
                .executableTarget(
                    name: "HTTPCacheExample",
                    dependencies: [
                        "Varve",
                        .product(name: "ArgumentParser", package: "swift-argument-parser"),
                        .product(name: "Hummingbird", package: "hummingbird"),
                        .product(name: "Logging", package: "swift-log"),
                    ],
                    swiftSettings: strict),
                .testTarget(
                    name: "ExampleTests", dependencies: ["TicksExample", "HTTPCacheExample"], swiftSettings: strict),
            ] : [])
)
