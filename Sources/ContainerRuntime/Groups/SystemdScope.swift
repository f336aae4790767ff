import Glibc
import LinuxKernel

/// Which systemd, and how it is reached.
public struct SystemdBus: Sendable, Equatable {
    /// Path of the message bus's socket.
    public let socket: String
    /// A user's own, not the system's.
    public let isUsers: Bool

    /// The system's bus for root, the user's for others.
    ///
    /// - Parameter user: the invoking user as the host numbers it.
    /// - Returns: nil when systemd does not run, or has no bus here.
    public static func find(rootless: Bool, user: UInt32) -> SystemdBus? {
        if access("/run/systemd/system", F_OK) != 0 { return nil }
        var candidates: [String] = []
        if !rootless {
            candidates = ["/run/dbus/system_bus_socket"]
        } else {
            if let address = getenv("DBUS_SESSION_BUS_ADDRESS").map({ String(cString: $0) }), address.hasPrefix("unix:path=") {
                candidates.append(String(address.dropFirst(10).prefix { $0 != "," && $0 != ";" }))
            }
            if let directory = getenv("XDG_RUNTIME_DIR").map({ String(cString: $0) }) { candidates.append(directory + "/bus") }
            candidates.append("/run/user/\(user)/bus")
        }
        for path in candidates where access(path, R_OK | W_OK) == 0 { return SystemdBus(socket: path, isUsers: rootless) }
        return nil
    }
}

/// A scope of systemd's: a control group that systemd has made for processes it did not start (systemd.scope(5)).
struct SystemdScope {
    let name: String
    let slice: String

    /// OCI's `slice:prefix:name`, or the path that Coffer would use: its last component is the name, a parent that ends in ".slice" the slice.
    ///
    /// - Throws: `PlanError` when a part is no name of a unit.
    init(cgroupsPath: String, user: Bool) throws {
        let standard = user ? "user.slice" : "system.slice"
        let parts = cgroupsPath.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        if parts.count == 3 {
            slice = parts[0].isEmpty ? standard : parts[0]
            name = parts[1].isEmpty ? "\(parts[2]).scope" : "\(parts[1])-\(parts[2]).scope"
        } else {
            let components = cgroupsPath.split(separator: "/").map(String.init)
            let parent = components.dropLast().last ?? ""
            slice = parent.hasSuffix(".slice") ? parent : standard
            name = "coffer-\(components.last ?? "").scope"
        }
        for unit in [name, slice] {
            let allowed = unit.utf8.allSatisfy { byte in
                (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || "-_.:@\\".utf8.contains(byte)
            }
            guard allowed, unit.utf8.count < 256, unit.first != "." else {
                throw PlanError("linux.cgroupsPath \(cgroupsPath): \(unit) is no name of a unit")
            }
        }
        guard slice.hasSuffix(".slice") else { throw PlanError("linux.cgroupsPath \(cgroupsPath): \(slice) is no slice of systemd's") }
    }

    /// Where systemd keeps the scope below its own group: "a-b.slice" lies in "a.slice" (systemd.slice(5)).
    var relativePath: String {
        let stem = slice.dropLast(6)
        if stem == "-" { return "/\(name)" }
        var path = ""
        var prefix = ""
        for part in stem.split(separator: "-") {
            prefix += prefix.isEmpty ? part : "-" + part
            path += "/\(prefix).slice"
        }
        return path + "/\(name)"
    }

    private static let manager = "org.freedesktop.systemd1.Manager"
    private static let service = "org.freedesktop.systemd1"
    private static let path = "/org/freedesktop/systemd1"

    /// Makes the scope around a process and waits until that process is in it.
    func start(on bus: SystemdBus, process: Int32, limits: CgroupLimits) throws {
        var connection = try DBusConnection.open(socket: bus.socket)
        let rule = "type='signal',interface='\(Self.manager)',member='JobRemoved',path='\(Self.path)'"
        try connection.call("AddMatch", of: "org.freedesktop.DBus", on: "/org/freedesktop/DBus", to: "org.freedesktop.DBus", signature: "s") {
            $0.string(rule)
        }
        try connection.call("Subscribe", of: Self.manager, on: Self.path, to: Self.service)
        var properties = self.properties(process, limits)
        var reply = try startTransientUnit(&connection, properties)
        if reply == nil {
            // OOMPolicy of scopes came with systemd 253: an older one leaves them alone by itself.
            properties.removeAll { $0.name == "OOMPolicy" }
            reply = try startTransientUnit(&connection, properties)
        }
        guard let job = reply else { throw DBusFormatError(description: "systemd knows none of a scope's properties") }
        while true {
            let signal = try connection.nextSignal()
            guard signal.member == "JobRemoved", signal.signature == "uoss" else { continue }
            var reader = DBusReader(signal.body)
            let number = try reader.uint32()
            let (removed, unit, result) = (try reader.string(), try reader.string(), try reader.string())
            guard removed == job else { continue }
            if result != "done" { throw DBusFormatError(description: "systemd's job \(number) for \(unit) ended as \"\(result)\"") }
            return
        }
    }

    /// - Returns: the job, or nil when systemd does not know one of the properties.
    private func startTransientUnit(_ connection: inout DBusConnection, _ properties: [(name: String, value: DBusVariant)]) throws -> String? {
        do {
            let reply = try connection.call("StartTransientUnit", of: Self.manager, on: Self.path, to: Self.service, signature: "ssa(sv)a(sa(sv))") {
                $0.string(name)
                $0.string("fail")
                $0.array(alignment: 8) { writer in for (name, value) in properties { writer.property(name, value) } }
                $0.array(alignment: 8) { writer in }
            }
            var reader = DBusReader(reply.body)
            return try reader.string()
        } catch let error as DBusCallError
            where error.name == "org.freedesktop.DBus.Error.PropertyReadOnly" || error.name == "org.freedesktop.DBus.Error.UnknownProperty"
        {
            if properties.contains(where: { $0.name == "OOMPolicy" }) { return nil }
            throw error
        }
    }

    /// What systemd is told, so that `systemctl show` and what it writes at its next reload agree with the group's files.
    func properties(_ process: Int32, _ limits: CgroupLimits) -> [(name: String, value: DBusVariant)] {
        var result: [(name: String, value: DBusVariant)] = [
            ("Description", .string("container \(name.dropLast(6))")), ("Slice", .string(slice)), ("PIDs", .uint32s([UInt32(process)])),
            ("Delegate", .boolean(true)), ("DefaultDependencies", .boolean(false)),
            // A scope whose process was killed would stay as failed, and its name with it.
            ("CollectMode", .string("inactive-or-failed")),
            // The kernel has ended what it chose; the rest of the container goes on, as everywhere.
            ("OOMPolicy", .string("continue")),
            ("MemoryAccounting", .boolean(true)), ("CPUAccounting", .boolean(true)), ("TasksAccounting", .boolean(true)),
            ("IOAccounting", .boolean(true)),
        ]
        func maximum(_ value: Int64) -> DBusVariant { .uint64(value < 0 ? .max : UInt64(value)) }
        if let memory = limits.memory, memory != 0 { result.append(("MemoryMax", maximum(memory))) }
        if let swap = CgroupV2Setting.swapOnly(limits) { result.append(("MemorySwapMax", maximum(swap))) }
        if let reservation = limits.memoryReservation, reservation > 0 { result.append(("MemoryLow", maximum(reservation))) }
        if let shares = limits.cpuShares, shares > 0 { result.append(("CPUWeight", .uint64(CgroupV2Setting.cpuWeight(ofShares: shares)))) }
        if let quota = limits.cpuQuota, quota > 0 {
            let period = limits.cpuPeriod.flatMap { $0 > 0 ? $0 : nil } ?? 100_000
            result.append(("CPUQuotaPeriodUSec", .uint64(period)))
            result.append(("CPUQuotaPerSecUSec", .uint64(UInt64(quota) * 1_000_000 / period)))
        }
        if let pids = limits.pids { result.append(("TasksMax", .uint64(pids <= 0 ? .max : UInt64(pids)))) }
        if let weight = limits.ioWeight, weight > 0 { result.append(("IOWeight", .uint64(CgroupV2Setting.ioWeight(ofV1: weight)))) }
        for (name, list) in [("AllowedCPUs", limits.cpusetCPUs), ("AllowedMemoryNodes", limits.cpusetMemory)] {
            if let list, let mask = Self.mask(of: list) { result.append((name, .bytes(mask))) }
        }
        return result
    }

    /// "0-2,5" as a bit mask, lowest byte first; nil when it is no such list: then the kernel says so when the file is written.
    static func mask(of list: String) -> [UInt8]? {
        var mask: [UInt8] = []
        for range in list.split(separator: ",") {
            let ends = range.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
            guard let first = ends.first ?? nil, let last = ends.last ?? nil, (1...2).contains(ends.count), 0 <= first, first <= last, last < 8192
            else { return nil }
            for number in first...last {
                while mask.count <= number / 8 { mask.append(0) }
                mask[number / 8] |= 1 << UInt8(number % 8)
            }
        }
        return mask
    }
}
