import LaunchPlan
import OCISpec
import StrictJSON

extension Inspection {
    /// Docker's `HostConfig`: what the flags asked for.
    var hostConfiguration: JSONValue {
        let request = details.request
        let resources = request.resources
        let security = request.security
        return [
            "Binds": binds,
            "ContainerIDFile": "",
            "LogConfig": ["Type": .string(request.logDriver.rawValue), "Config": [:]],
            "NetworkMode": .string(details.network.rawValue),
            "PortBindings": portBindings(withExposed: false),
            "RestartPolicy": ["Name": "no", "MaximumRetryCount": 0],
            "AutoRemove": .bool(request.autoRemove),
            "VolumesFrom": nil,
            "CapAdd": list(security.addCapabilities),
            "CapDrop": list(security.dropCapabilities),
            "CgroupnsMode": .string(security.cgroupNamespace.isEmpty ? "private" : security.cgroupNamespace),
            "Dns": strings(request.dnsServers),
            "DnsOptions": strings(request.dnsOptions),
            "DnsSearch": strings(request.dnsSearch),
            "ExtraHosts": list(request.extraHosts.map { "\($0.name):\($0.address)" }),
            "GroupAdd": list(security.addGroups),
            "IpcMode": .string(security.ipcNamespace.isEmpty ? "private" : security.ipcNamespace),
            "OomScoreAdj": .number(JSONNumber(resources.oomScoreAdjust ?? 0)),
            "PidMode": .string(security.pidNamespace == "private" ? "" : security.pidNamespace),
            "Privileged": .bool(security.privileged),
            "PublishAllPorts": .bool(request.publishAll),
            "ReadonlyRootfs": .bool(spec?.root?.readonly ?? request.readOnlyRoot),
            "SecurityOpt": list(security.options),
            "Tmpfs": tmpfs,
            "UTSMode": .string(security.utsNamespace),
            "UsernsMode": .string(security.userNamespace),
            "ShmSize": .number(JSONNumber(resources.sharedMemory ?? 64 << 20)),
            "Sysctls": map(security.sysctls),
            "Runtime": "coffer-runtime",
            "CpuShares": .number(JSONNumber(resources.cpuShares ?? 0)),
            "Memory": .number(JSONNumber(spec?.linux?.resources?.memory?.limit ?? resources.memory ?? 0)),
            "NanoCpus": .number(JSONNumber(resources.nanoCPUs ?? 0)),
            "CgroupParent": .string(security.cgroupParent ?? ""),
            "CpusetCpus": .string(resources.cpusetCPUs ?? ""),
            "CpusetMems": .string(resources.cpusetMemory ?? ""),
            "Devices": .array(security.devices.map(Self.device)),
            "MemoryReservation": .number(JSONNumber(resources.memoryReservation ?? 0)),
            "MemorySwap": .number(JSONNumber(spec?.linux?.resources?.memory?.swap ?? resources.memorySwap ?? 0)),
            "PidsLimit": .number(JSONNumber(spec?.linux?.resources?.pids?.limit ?? resources.pids ?? 0)),
            "Ulimits": .array(resources.ulimits.map(Self.ulimit)),
            "Init": .bool(request.initProcess),
            "MaskedPaths": strings(spec?.linux?.maskedPaths ?? []),
            "ReadonlyPaths": strings(spec?.linux?.readonlyPaths ?? []),
        ]
    }

    private func list(_ values: [String]) -> JSONValue { values.isEmpty ? .null : strings(values) }

    private var binds: JSONValue {
        let texts = details.mounts.compactMap { mount -> String? in
            let source: String
            switch mount.source {
            case .bind(let path): source = path
            case .volume(let name?): source = name
            default: return nil
            }
            return [source, mount.destination, mount.modeText].filter { !$0.isEmpty }.joined(separator: ":")
        }
        return list(texts)
    }

    private var tmpfs: JSONValue {
        var result = JSONObject()
        for mount in details.mounts {
            guard case .tmpfs(let size, let mode) = mount.source else { continue }
            let words = [size.map { "size=\($0)" }, mode.map { "mode=" + String($0, radix: 8) }].compactMap { $0 }
            result[mount.destination] = .string((words + mount.options).joined(separator: ","))
        }
        return .object(result)
    }

    private static func device(_ text: String) -> JSONValue {
        let parts = text.split(separator: ":").map(String.init)
        return [
            "PathOnHost": .string(parts.first ?? ""), "PathInContainer": .string(parts.count > 1 ? parts[1] : parts.first ?? ""),
            "CgroupPermissions": .string(parts.count > 2 ? parts[2] : "rwm"),
        ]
    }

    private static func ulimit(_ limit: ResourceLimit) -> JSONValue {
        func value(_ number: UInt64) -> JSONValue { number == ResourceLimit.infinity ? -1 : .number(JSONNumber(number)) }
        return ["Name": .string(limit.name), "Hard": value(limit.hard), "Soft": value(limit.soft)]
    }

    /// What only Coffer says: level, ID range, what each step of the launch came to.
    var coffer: JSONValue {
        var result: JSONObject = [
            "Level": .string(details.request.security.level),
            "IDRange": idRange,
            "Relaxations": strings(details.relaxations),
            "ImageReference": .string(details.imageReference),
            "ImageDigest": .string(details.imageDigest),
        ]
        if let process = spec?.process {
            result["Capabilities"] = strings(process.capabilities?.bounding ?? [])
            result["NoNewPrivileges"] = .bool(process.noNewPrivileges ?? false)
            result["SeccompDefaultAction"] = spec?.linux?.seccomp.map { .string($0.defaultAction) } ?? .null
        }
        if let bundle {
            result["LockedMounts"] = .bool(bundle.lockMounts)
            result["Landlock"] = .bool(bundle.landlock != nil)
        }
        if let state = container.status.runtimeState {
            result["MonitorPid"] = .number(JSONNumber(container.status.isRunning ? state.monitorPid : 0))
            result["Cgroups"] = strings(state.cgroupPaths)
        }
        if let outcomes { result["Steps"] = .array(outcomes.map(Self.step)) }
        return .object(result)
    }

    private var idRange: JSONValue {
        let mapping = spec?.linux?.uidMappings?.first { $0.containerID == 0 }
        guard let mapping else { return nil }
        return [
            "Start": .number(JSONNumber(container.record.rangeStart ?? mapping.hostID)),
            "Count": .number(JSONNumber(mapping.size)), "Use": .string(details.rangeIsShared ? "shared" : "private"),
        ]
    }

    private static func step(_ outcome: StepOutcome) -> JSONValue {
        let (word, reason): (String, String) =
            switch outcome.result {
            case .applied: ("applied", "")
            case .partial(let reason): ("partial", reason)
            case .unavailable(let reason): ("unavailable", reason)
            }
        var result: JSONObject = ["Step": .string(outcome.step), "Detail": .string(outcome.detail), "Result": .string(word)]
        if !reason.isEmpty { result["Reason"] = .string(reason) }
        return .object(result)
    }
}
