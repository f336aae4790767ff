import Confinement
import TextSearch

/// What a path of the host gives away when it is mounted into a container, as a percentage of what is still closed.
struct HostPath {
    let path: String
    /// Everything below it gives away the same.
    let below: Bool
    let writable: Double
    let readOnly: Double
    let effect: String

    /// The table; the dearest row that fits counts. Sources: what each path has been used for in escapes and what CIS 5.6 lists.
    static let all: [HostPath] = [
        HostPath(path: "/", below: false, writable: 70, readOnly: 35, effect: "the whole file system of the host is inside"),
        HostPath(path: "/etc", below: true, writable: 40, readOnly: 10, effect: "the host's configuration is inside"),
        HostPath(path: "/root", below: true, writable: 40, readOnly: 20, effect: "the administrator's files and keys are inside"),
        HostPath(path: "/home", below: false, writable: 30, readOnly: 18, effect: "every user's files and keys are inside"),
        HostPath(path: "/boot", below: true, writable: 35, readOnly: 4, effect: "the host's kernel and boot loader are inside"),
        HostPath(path: "/usr", below: true, writable: 35, readOnly: 2, effect: "the host's programs are inside"),
        HostPath(path: "/lib", below: true, writable: 35, readOnly: 2, effect: "the host's libraries and kernel modules are inside"),
        HostPath(path: "/bin", below: true, writable: 35, readOnly: 2, effect: "the host's programs are inside"),
        HostPath(path: "/sbin", below: true, writable: 35, readOnly: 2, effect: "the host's programs are inside"),
        HostPath(path: "/opt", below: false, writable: 15, readOnly: 3, effect: "further programs of the host are inside"),
        HostPath(path: "/var", below: false, writable: 40, readOnly: 20, effect: "the host's state, container storage included, is inside"),
        HostPath(path: "/var/lib", below: false, writable: 40, readOnly: 20, effect: "the host's state, container storage included, is inside"),
        HostPath(path: "/var/lib/docker", below: true, writable: 40, readOnly: 20, effect: "every container's files are inside"),
        HostPath(path: "/var/lib/containers", below: true, writable: 40, readOnly: 20, effect: "every container's files are inside"),
        HostPath(path: "/var/lib/containerd", below: true, writable: 40, readOnly: 20, effect: "every container's files are inside"),
        HostPath(
            path: "/var/lib/kubelet", below: true, writable: 45, readOnly: 25, effect: "the node's credentials and every pod's secrets are inside"),
        HostPath(path: "/var/log", below: true, writable: 12, readOnly: 5, effect: "the host's logs are inside"),
        HostPath(path: "/var/spool", below: true, writable: 30, readOnly: 5, effect: "the host's jobs and mail are inside"),
        HostPath(path: "/run", below: false, writable: 50, readOnly: 45, effect: "the sockets of the host's services are inside"),
        HostPath(path: "/var/run", below: false, writable: 50, readOnly: 45, effect: "the sockets of the host's services are inside"),
        HostPath(path: "/proc", below: true, writable: 40, readOnly: 20, effect: "the host's processes and kernel settings are inside"),
        HostPath(path: "/sys", below: true, writable: 25, readOnly: 5, effect: "the host's devices and kernel settings are inside"),
        HostPath(path: "/dev", below: true, writable: 35, readOnly: 25, effect: "the host's devices are inside"),
        HostPath(path: "/tmp", below: false, writable: 6, readOnly: 4, effect: "the host's temporary files, sockets among them, are inside"),
        HostPath(path: "/var/tmp", below: false, writable: 5, readOnly: 3, effect: "the host's temporary files are inside"),
        HostPath(path: "/mnt", below: false, writable: 12, readOnly: 6, effect: "further file systems of the host are inside"),
        HostPath(path: "/media", below: false, writable: 12, readOnly: 6, effect: "further file systems of the host are inside"),
        HostPath(path: "/srv", below: false, writable: 8, readOnly: 3, effect: "what the host serves is inside"),
    ]

    /// Sockets of services, by the end of their path: a read-only mount does not stop anybody from talking to one.
    private static let sockets: [(ending: String, weight: Double, effect: String)] = [
        ("docker.sock", 52, "docker.sock mounted: who talks to it is root on the host"),
        ("containerd.sock", 52, "containerd's socket mounted: who talks to it is root on the host"),
        ("crio.sock", 52, "CRI-O's socket mounted: who talks to it is root on the host"),
        ("podman.sock", 48, "Podman's socket mounted: who talks to it is its user on the host"),
        ("dockershim.sock", 52, "the runtime's socket mounted: who talks to it is root on the host"),
        ("system_bus_socket", 25, "the system bus mounted: it talks to every service of the host"),
        ("/systemd/private", 50, "systemd's own socket mounted: who talks to it starts services"),
        ("X11-unix", 15, "the screen mounted: it sees and types for its user"),
    ]

    static func price(of mount: Mount) -> (weight: Double, text: String) {
        let source = normal(mount.source)
        let kind = mount.isWritable ? "writable" : "read-only"
        // A socket may lie under another name on the host; what is inside goes by the name that clients look for.
        let names = [source, normal(mount.destination)]
        if let socket = sockets.first(where: { row in names.contains { $0.hasSuffix(row.ending) } }) { return (socket.weight, socket.effect) }
        let isRW = mount.isWritable
        var best: (weight: Double, text: String) = (isRW ? 2 : 0.5, "\(source) of the host is inside, \(kind)")
        if source.hasSuffix(".sock") || source.hasSuffix(".socket") { best = (15, "\(source): it talks to the service behind the socket") }
        if ["/.ssh", "/.aws", "/.kube", "/.docker", "/.gnupg", "/.config"].contains(where: { source.contains($0) }) {
            best = (isRW ? 22 : 15, "keys of a user are inside (\(source)), \(kind)")
        }
        for row in all where source == row.path || row.below && source.hasPrefix(row.path + "/") {
            // A single thing below is not the whole: three quarters of the price.
            let weight = (isRW ? row.writable : row.readOnly) * (source == row.path ? 1 : 0.75)
            if weight > best.weight { best = (weight, "\(source) mounted \(kind): \(row.effect)") }
        }
        return best
    }

    /// Without doubled and final slashes and single dots.
    static func normal(_ path: String) -> String {
        var parts: [Substring] = []
        for part in path.split(separator: "/") where part != "." {
            if part == ".." { parts = Array(parts.dropLast()) } else { parts.append(part) }
        }
        return path.hasPrefix("/") ? "/" + parts.joined(separator: "/") : parts.joined(separator: "/")
    }
}
