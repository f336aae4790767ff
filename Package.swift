// swift-tools-version: 6.1
import PackageDescription

// The rooms, their ranks and what each is for: docs/ARCHITECTURE.md. Arrows between targets only point down (Scripts/checks/check-layers).

// Tests are built in release too, so that the libraries below us are compiled once: `@testable import` then needs this flag, and what is shipped
// must not have it. Set by Scripts/build --tests.
let testable: [SwiftSetting] = Context.environment["COFFER_TESTING"] == nil ? [] : [.unsafeFlags(["-enable-testing"])]

let strict: [SwiftSetting] =
    [
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("MemberImportVisibility"),
        // Regular expressions are no part of any program: what they link is searched at every start (docs/decisions/0006-what-a-start-costs.md).
        .unsafeFlags(["-Xfrontend", "-disable-implicit-string-processing-module-import"]),
    ] + testable

// Swift's own libraries are linked in: start-up is 1 ms instead of 5, and no toolchain is needed at run time. Said here and not by
// --static-swift-stdlib, which would also choose other module files for the compiler, and tests have none of those: this way everything is compiled
// once. The archives that those module files would have named are listed instead.
// Relative relocations are packed (glibc 2.36): where there are many, they cost more than the rest of the start.
// `libraries` is where the shared libraries that `make dist` brings along are, seen from the program.
func engineLinking(libraries: String) -> [LinkerSetting] {
    [
        .unsafeFlags([
            "-static-stdlib", "-use-ld=lld", "-Xlinker", "-z", "-Xlinker", "pack-relative-relocs", "-Xlinker", "-rpath=\(libraries)",
        ])
    ] + ["_FoundationCollections", "_FoundationCShims", "stdc++"].map { .linkedLibrary($0) }
}

let package = Package(
    name: "coffer",
    products: [
        .executable(name: "coffer", targets: ["coffer"]),
        .executable(name: "coffer-runtime", targets: ["coffer-runtime"]),
        .executable(name: "coffer-registry", targets: ["coffer-registry"]),
        .executable(name: "coffer-probe", targets: ["coffer-probe"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.30.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.80.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.30.0"),
    ],
    targets: [
        .plugin(name: "EmbedText", capability: .buildTool()),
        .target(name: "CLinux"),
        .target(name: "CProbing"),
        .target(name: "CEarlySeal"),
        .systemLibrary(name: "CSeccomp", pkgConfig: "libseccomp", providers: [.apt(["libseccomp-dev"])]),
        .systemLibrary(name: "CCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CISAL", pkgConfig: "libisal", providers: [.apt(["libisal-dev"])]),
        .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),

        .target(name: "TextSearch", swiftSettings: strict),
        .target(name: "StrictJSON", swiftSettings: strict),
        .target(name: "LinuxKernel", dependencies: ["CLinux", "CSeccomp", "TextSearch"], swiftSettings: strict),
        .target(name: "SQLite", dependencies: ["CSQLite"], swiftSettings: strict),
        .target(name: "OCISpec", dependencies: ["StrictJSON"], swiftSettings: strict),
        .target(name: "Rendering", dependencies: ["StrictJSON"], swiftSettings: strict),

        .target(name: "LaunchPlan", dependencies: ["OCISpec", "StrictJSON"], swiftSettings: strict),
        .target(name: "PullMessages", dependencies: ["OCISpec", "StrictJSON"], swiftSettings: strict),
        .target(
            name: "Confinement", dependencies: ["OCISpec", "StrictJSON"],
            resources: [.embedInCode("Levels")], swiftSettings: strict),

        .target(
            name: "Exposure", dependencies: ["Confinement", "OCISpec", "Rendering", "StrictJSON", "TextSearch"],
            resources: [.embedInCode("Data")], swiftSettings: strict),
        .target(name: "Probe", dependencies: ["StrictJSON"], exclude: ["Data"], swiftSettings: strict, plugins: ["EmbedText"]),
        .target(
            name: "Probing", dependencies: ["Confinement", "Exposure", "OCISpec", "Probe", "Rendering", "StrictJSON"], swiftSettings: strict),

        .target(
            name: "ContainerRuntime", dependencies: ["CLinux", "LinuxKernel", "OCISpec", "LaunchPlan", "StrictJSON", "TextSearch"],
            swiftSettings: strict),
        .target(name: "ProbeAttempts", dependencies: ["CLinux", "CProbing", "LinuxKernel", "Probe", "TextSearch"], swiftSettings: strict),
        .target(
            name: "ImageStore",
            dependencies: [
                "LinuxKernel", "OCISpec", "StrictJSON", "CCrypto", "CLinux", "CISAL", "CZstd",
            ], swiftSettings: strict),

        .target(
            name: "Registry",
            dependencies: [
                "ImageStore", "OCISpec", "PullMessages", "StrictJSON", "TextSearch",
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ], swiftSettings: strict),

        .target(
            name: "ContainerEngine",
            dependencies: [
                "ImageStore", "Confinement", "ContainerRuntime", "Exposure", "LaunchPlan", "LinuxKernel", "CLinux", "CYAML", "OCISpec",
                "Probe", "Probing", "PullMessages", "Rendering", "SQLite", "StrictJSON", "TextSearch",
            ], swiftSettings: strict),

        .executableTarget(
            name: "coffer",
            dependencies: [
                "ContainerEngine", "ImageStore", "Confinement", "Exposure", "Rendering", "LaunchPlan", "LinuxKernel",
                "OCISpec", "Probe", "Probing", "PullMessages", "StrictJSON", "TextSearch",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ], swiftSettings: strict,
            linkerSettings: engineLinking(libraries: "$ORIGIN/../lib/coffer")),
        // What needs HTTP and TLS: `coffer` runs it for a pull (docs/decisions/0005-coffer-registry.md).
        .executableTarget(
            name: "coffer-registry",
            dependencies: ["Registry", "PullMessages", "ImageStore", "LinuxKernel", "OCISpec"], swiftSettings: strict,
            linkerSettings: engineLinking(libraries: "$ORIGIN/../../lib/coffer")),
        .executableTarget(
            name: "coffer-runtime",
            dependencies: ["CEarlySeal", "ContainerRuntime", "LaunchPlan", "LinuxKernel", "OCISpec", "StrictJSON"],
            swiftSettings: strict,
            // Fully static: nothing of an image's libc is ever loaded (rule R2), and start-up is 0.6 ms instead of 2.2.
            linkerSettings: [.unsafeFlags(["-static-executable"])]),
        // Runs inside containers, whatever their image has: static too.
        .executableTarget(
            name: "coffer-probe", dependencies: ["CProbing", "LinuxKernel", "Probe", "ProbeAttempts"], swiftSettings: strict,
            linkerSettings: [.unsafeFlags(["-static-executable"])]),

        .testTarget(name: "TextSearchTests", dependencies: ["TextSearch"], swiftSettings: strict),
        // What the tests that spoil documents share. No program is linked with it.
        .target(name: "Fuzzing", dependencies: ["StrictJSON"], path: "Tests/Fuzzing", swiftSettings: strict),
        .testTarget(
            name: "FuzzTests",
            dependencies: ["Fuzzing", "ContainerRuntime", "LaunchPlan", "LinuxKernel", "OCISpec", "PullMessages", "StrictJSON"]),

        .testTarget(name: "StrictJSONTests", dependencies: ["StrictJSON"]),
        .testTarget(name: "LinuxKernelTests", dependencies: ["LinuxKernel"]),
        .testTarget(name: "SQLiteTests", dependencies: ["SQLite"]),
        .testTarget(name: "OCISpecTests", dependencies: ["OCISpec", "StrictJSON"]),
        .testTarget(name: "RenderingTests", dependencies: ["Rendering", "StrictJSON"]),
        .testTarget(name: "LaunchPlanTests", dependencies: ["LaunchPlan", "OCISpec", "StrictJSON"]),
        .testTarget(name: "ConfinementTests", dependencies: ["Confinement", "LinuxKernel", "OCISpec", "StrictJSON"]),
        .testTarget(name: "ExposureTests", dependencies: ["Exposure", "Confinement", "LinuxKernel", "OCISpec", "Rendering", "StrictJSON"]),
        .testTarget(name: "ProbeTests", dependencies: ["Probe", "StrictJSON"]),
        .testTarget(name: "ProbeAttemptsTests", dependencies: ["ProbeAttempts", "Probe"]),
        .testTarget(
            name: "ContainerRuntimeTests", dependencies: ["ContainerRuntime", "LaunchPlan", "LinuxKernel", "OCISpec"]),
        .testTarget(
            name: "ImageStoreTests",
            dependencies: ["Fuzzing", "ImageStore", "OCISpec", "LinuxKernel", "StrictJSON", "CLinux", "CISAL", "CZstd"]),
        .testTarget(name: "ProbingTests", dependencies: ["Probing", "Confinement", "Exposure", "OCISpec", "Probe", "StrictJSON"]),
        .testTarget(name: "PullMessagesTests", dependencies: ["PullMessages", "OCISpec", "StrictJSON"]),
        .testTarget(name: "RegistryTests", dependencies: ["Registry", "ImageStore", "OCISpec", "PullMessages", "StrictJSON"]),
        .testTarget(
            name: "ContainerEngineTests",
            dependencies: ["ContainerEngine", "LaunchPlan", "LinuxKernel", "OCISpec", "Rendering", "StrictJSON"]),
    ],
    swiftLanguageModes: [.v6]
)
