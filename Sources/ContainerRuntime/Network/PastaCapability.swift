import Glibc
import LinuxKernel
import OCISpec

/// What the installed pasta can be trusted with.
enum PastaCapability {
    /// Whether UDP ports may lead to a lower port number inside.
    ///
    /// Until July 2024 pasta kept a table of reverse UDP port numbers, and wrote the entry of such a port past the table's end:
    /// answers got lost and, worse, UDP ports of the host's own loopback appeared on the container's loopback, which no rule
    /// closes. Debian 12's does that. The option asked for came in August 2024. The version itself cannot be asked for: some
    /// print it only to a terminal.
    static func lowersDatagramPorts(_ path: String) throws(KernelError) -> Bool {
        let process = try SpawnedProcess.start(path, ["pasta", "--map-host-loopback", "none", "--version"])
        return try process.wait() == .exited(0)
    }

    /// Refuses what an old pasta would do wrongly. It is asked only where that matters.
    static func check(_ network: OutboundNetwork) throws(PastaFailure) {
        let lowered = network.ports.first { $0.transport == .udp && $0.containerPort < $0.hostPort }
        guard let port = lowered else { return }
        let able: Bool
        do {
            able = try lowersDatagramPorts(network.pastaPath)
        } catch {
            if error.errno == ENOENT { throw .notFound(network.pastaPath) }
            throw PastaFailure("pasta cannot be asked what it can do: \(error)")
        }
        if !able {
            throw PastaFailure(
                "this version of pasta cannot publish container port \(port.containerPort)/udp as the higher port "
                    + "\(port.hostPort): publish it as \(port.containerPort), or install passt of August 2024 or newer")
        }
    }
}
