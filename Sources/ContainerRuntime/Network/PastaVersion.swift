import Glibc
import LinuxKernel
import OCISpec

/// When a pasta was released, as its `--version` says, to keep it from doing what an old one does wrongly.
struct PastaVersion: Sendable, Comparable, CustomStringConvertible {
    /// Year, month and day as one number: 20230309. 0 where the text has no date: older than all.
    let date: Int
    var description: String {
        date == 0 ? "of unknown date" : "of \(date / 10_000)-\(Self.two(date / 100))-\(Self.two(date))"
    }

    /// From this one on answers of UDP ports are found without a table of reverse port numbers. In that of earlier ones a
    /// container port that is lower than its host port is written past the table's end: answers get lost, and, worse, UDP
    /// ports of the host's own loopback appear on the container's loopback, where no rule can close them.
    static let withoutReverseTable = PastaVersion(date: 20_240_814)

    init(date: Int) { self.date = date }

    /// Reads "pasta 0.0~git20230309.7c7625d-1" (Debian), "pasta 0^20240814.g61c0b0d" (Fedora), "pasta 2024_08_14.61c0b0d".
    init(text: String) {
        let first = text.split(separator: "\n").first ?? ""
        let runs = first.filter { $0 != "_" }.split { !("0"..."9").contains($0) }
        date = runs.first { $0.count == 8 && $0.hasPrefix("20") }.flatMap { Int($0) } ?? 0
    }

    static func < (left: PastaVersion, right: PastaVersion) -> Bool { left.date < right.date }

    /// Asks the program: 1 to 2 ms.
    static func of(_ path: String) throws(KernelError) -> PastaVersion {
        let ends = try makePipe()
        let reader = FileDescriptor(owning: ends.read)
        let writer = FileDescriptor(owning: ends.write)
        let process = try SpawnedProcess.start(path, ["pasta", "--version"], descriptors: [nil, writer.rawValue, nil])
        try writer.close()
        let text = try reader.readAll(limit: 65536)
        try process.wait()
        return PastaVersion(text: String(decoding: text, as: UTF8.self))
    }

    /// Refuses what an old pasta would do wrongly. The version is asked for only where it matters.
    static func check(_ network: OutboundNetwork) throws(PastaFailure) {
        let lowered = network.ports.first { $0.transport == .udp && $0.containerPort < $0.hostPort }
        guard let port = lowered else { return }
        let version: PastaVersion
        do {
            version = try of(network.pastaPath)
        } catch {
            if error.errno == ENOENT { throw .notFound(network.pastaPath) }
            throw PastaFailure("pasta cannot be asked for its version: \(error)")
        }
        if version < withoutReverseTable {
            throw PastaFailure(
                "pasta \(version) cannot publish container port \(port.containerPort)/udp as the higher port \(port.hostPort): "
                    + "publish it as \(port.containerPort), or install passt \(withoutReverseTable) or newer")
        }
    }

    private static func two(_ number: Int) -> String { String(String(number % 100 + 100).dropFirst()) }
}
