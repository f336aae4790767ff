import ContainerRuntime
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec
import StrictJSON

/// `update [-r FILE|-] [--memory BYTES] … ID`: other limits for a container that exists.
enum UpdateCommand {
    private static let table: [String: Bool] = Dictionary(
        uniqueKeysWithValues: [
            "resources", "blkio-weight", "cpu-period", "cpu-quota", "cpu-burst", "cpu-share", "cpu-rt-period", "cpu-rt-runtime", "cpuset-cpus",
            "cpuset-mems", "cpu-idle", "memory", "memory-reservation", "memory-swap", "kernel-memory", "kernel-memory-tcp", "pids-limit",
            "l3-cache-schema", "mem-bw-schema",
        ].map { ($0, true) })

    static func run(_ arguments: [String], _ global: GlobalOptions) throws -> Int32 {
        let options = try ParsedOptions(arguments, table, aliases: ["r": "resources"])
        let directory = try global.container(options)
        try options.expectOperands(1)
        for name in ["l3-cache-schema", "mem-bw-schema"] where options.value(name) != nil {
            throw OptionError("--\(name) is not supported: Intel RDT is not")
        }
        let record = try directory.load()
        let status = try directory.status(of: record)
        guard status != .stopped, status != .creating else { throw PlanError("cannot update a container that is \(status.rawValue)") }
        try ContainerUpdate(record).apply(try resources(options))
        return 0
    }

    private static func resources(_ options: ParsedOptions) throws -> RuntimeSpec.Resources {
        if let source = options.value("resources") {
            // One or the other: two sources for one limit have no order.
            if let other = options.values.keys.first(where: { $0 != "resources" }) {
                throw OptionError("--\(other) cannot be combined with --resources")
            }
            let bytes =
                source == "-"
                ? try FileDescriptor(owning: try retrying("dup") { dup(0) }).readAll(limit: 1 << 20) : try readFile(source, limit: 1 << 20)
            return try Bundle.decode(RuntimeSpec.Resources.self, from: bytes, called: "--resources")
        }
        func number<Number: FixedWidthInteger>(_ name: String, _ type: Number.Type) throws -> Number? {
            guard let text = options.value(name) else { return nil }
            guard let value = Number(text) else { throw OptionError("--\(name) \(text) is not a number") }
            return value
        }
        /// Bytes, with a unit of 1024's powers.
        func bytes(_ name: String) throws -> Int64? {
            guard let text = options.value(name) else { return nil }
            let units: [Character: Int64] = ["b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40]
            let digits = text.lowercased().last.flatMap { units[$0] } == nil ? text : String(text.dropLast())
            let unit = text.lowercased().last.flatMap { units[$0] } ?? 1
            guard let value = Int64(digits), !value.multipliedReportingOverflow(by: unit).overflow else {
                throw OptionError("--\(name) \(text) is not a number of bytes")
            }
            return value * unit
        }
        var result = RuntimeSpec.Resources()
        result.memory = RuntimeSpec.Memory(
            limit: try bytes("memory"), reservation: try bytes("memory-reservation"), swap: try bytes("memory-swap"),
            kernel: try bytes("kernel-memory"), kernelTCP: try bytes("kernel-memory-tcp"))
        result.cpu = RuntimeSpec.CPU(
            shares: try number("cpu-share", UInt64.self), quota: try number("cpu-quota", Int64.self), burst: try number("cpu-burst", UInt64.self),
            period: try number("cpu-period", UInt64.self), realtimeRuntime: try number("cpu-rt-runtime", Int64.self),
            realtimePeriod: try number("cpu-rt-period", UInt64.self), cpus: options.value("cpuset-cpus"), mems: options.value("cpuset-mems"),
            idle: try number("cpu-idle", Int64.self))
        if let limit = try number("pids-limit", Int64.self) { result.pids = RuntimeSpec.PIDs(limit: limit) }
        if let weight = try number("blkio-weight", UInt16.self) { result.blockIO = RuntimeSpec.BlockIO(weight: weight) }
        return result
    }
}
