import CLinux
import Confinement
import Glibc
import LinuxKernel

/// Coffer's own AppArmor profile for containers: whether the kernel has it, and how it gets there.
enum AppArmorProfile {
    private static let name = "coffer-default"
    private static let loaded = "/sys/kernel/security/apparmor/profiles"
    private static let installed = "/etc/apparmor.d/coffer-default"
    private static let parsers = ["/usr/sbin/apparmor_parser", "/sbin/apparmor_parser"]

    /// Loads the profile where it is not, for root; only root may look and load.
    static func support(isRootful: Bool) -> HostFacts.AppArmorSupport {
        guard access(loaded, F_OK) == 0 else { return .absent }
        if !isRootful {
            // What the package has installed is loaded at every boot. Entering it needs no privilege.
            return access(installed, F_OK) == 0
                ? .present(defaultProfile: name)
                : .missing(reason: "the profile \(name) is not installed, and an ordinary user may load none")
        }
        do {
            if try isLoaded() { return .present(defaultProfile: name) }
            guard let parser = parsers.first(where: { access($0, X_OK) == 0 }) else {
                return .missing(reason: "the profile \(name) is not loaded, and there is no apparmor_parser to load it")
            }
            let (end, errors) = access(installed, R_OK) == 0 ? try load(installed, parser) : try loadOwn(parser)
            if try end == .exited(0) && isLoaded() { return .present(defaultProfile: name) }
            return .missing(reason: "apparmor_parser does not load the profile \(name): \(errors)")
        } catch {
            return .missing(reason: "the profile \(name) cannot be loaded: \(error)")
        }
    }

    private static func isLoaded() throws(KernelError) -> Bool {
        String(decoding: try readFile(loaded), as: UTF8.self).split(separator: "\n").contains { $0.hasPrefix(name + " (") }
    }

    private static func load(_ path: String, _ parser: String) throws(KernelError) -> (ProcessEnd, String) {
        try SpawnedProcess.run(parser, ["apparmor_parser", "--replace", "--skip-cache", path])
    }

    /// From this program's own copy: nothing needs to be installed.
    private static func loadOwn(_ parser: String) throws(KernelError) -> (ProcessEnd, String) {
        let file = FileDescriptor(owning: try retrying("memfd_create") { cl_memfd_create("coffer-default", 1) })
        try file.writeAll(AppArmorSource.text)
        return try load("/proc/\(getpid())/fd/\(file.rawValue)", parser)
    }
}
