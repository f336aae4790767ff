import OCISpec

extension ConfinementResolver {
    /// The smallest memory limit that a container can start with (Docker's own minimum).
    static let minimumMemory: UInt64 = 6 << 20
    private static let pageSize: UInt64 = 4096

    func limits() throws(ConfinementError) -> Limits {
        let memory = try memoryLimit()
        let (quota, period) = try cpuQuota()
        return Limits(
            pids: pidsLimit, memory: memory, memoryAndSwap: try memoryAndSwap(memory),
            memoryReservation: request.memoryReservation.map { $0 == 0 ? .unlimited : .at($0) } ?? .unlimited,
            cpuShares: request.cpuShares.flatMap { $0 == 0 ? nil : $0 } ?? level.cpuWeight * 1024 / 100, cpuQuota: quota,
            cpuPeriod: period, cpus: request.cpuSet ?? "", memoryNodes: request.memoryNodes ?? "",
            processLimits: try processLimits(), oomScoreAdjustment: request.oomScoreAdjustment ?? 0)
    }

    private var pidsLimit: Limit {
        switch request.pidsLimit {
        case nil: level.pidsLimit.map { .at($0) } ?? .unlimited
        case let count? where count <= 0: .unlimited
        case let count?: .at(UInt64(count))
        }
    }

    private func memoryLimit() throws(ConfinementError) -> Limit {
        switch request.memory {
        case 0: return .unlimited
        case nil:
            guard let percent = level.memoryPercent else { return .unlimited }
            let bytes = host.memoryBytes / 100 * percent
            return .at(max(bytes - bytes % Self.pageSize, Self.minimumMemory))
        case let bytes?:
            guard bytes >= Self.minimumMemory else {
                throw ConfinementError("--memory: the smallest limit is 6 MiB, not \(bytes) bytes")
            }
            return .at(bytes)
        }
    }

    private func memoryAndSwap(_ memory: Limit) throws(ConfinementError) -> Limit {
        guard case .at(let bytes) = memory else {
            if let swap = request.memorySwap, swap > 0 {
                throw ConfinementError("--memory-swap needs a --memory limit, which it includes")
            }
            return .unlimited
        }
        switch request.memorySwap {
        case nil, 0:
            guard let swap = level.swapBytes else { return .unlimited }
            return .at(bytes + swap)
        case -1: return .unlimited
        case let total?:
            guard let total = UInt64(exactly: total), total >= bytes else {
                throw ConfinementError("--memory-swap is memory and swap together and cannot be below --memory (\(bytes) bytes)")
            }
            return .at(total)
        }
    }

    private func cpuQuota() throws(ConfinementError) -> (Limit, UInt64) {
        let period: UInt64 = 100_000
        guard let cpus = request.cpus, cpus != 0 else { return (.unlimited, period) }
        // The kernel takes no quota below a millisecond.
        guard cpus >= 0.01, cpus <= 100_000 else { throw ConfinementError("--cpus \(cpus): the number is at least 0.01") }
        return (.at(UInt64((cpus * Double(period)).rounded())), period)
    }

    private func processLimits() throws(ConfinementError) -> [RuntimeSpec.ResourceLimit] {
        let hard = min(level.openFiles.hard, host.openFilesHardLimit)
        var byType = ["RLIMIT_NOFILE": (soft: min(level.openFiles.soft, hard), hard: hard)]
        for limit in request.ulimits {
            guard limit.soft <= limit.hard else {
                throw ConfinementError("--ulimit: the soft limit of \(limit.type) (\(limit.soft)) is above the hard one (\(limit.hard))")
            }
            if limit.type == "RLIMIT_NOFILE", limit.hard > host.openFilesHardLimit {
                throw ConfinementError(
                    "--ulimit nofile: the hard limit \(limit.hard) is above this host's \(host.openFilesHardLimit); name a lower one")
            }
            byType[limit.type] = (limit.soft, limit.hard)
        }
        return byType.map { RuntimeSpec.ResourceLimit(type: $0.key, soft: $0.value.soft, hard: $0.value.hard) }
            .sorted { $0.type < $1.type }
    }

    // MARK: sysctls

    /// Keys that belong to the IPC namespace; "net." keys belong to the network namespace. Everything else is the host's.
    private static let ipcKeys: Set<String> = [
        "kernel.shmmax", "kernel.shmall", "kernel.shmmni", "kernel.shm_rmid_forced", "kernel.msgmax", "kernel.msgmnb",
        "kernel.msgmni", "kernel.sem", "fs.mqueue.queues_max", "fs.mqueue.msg_max", "fs.mqueue.msgsize_max",
        "fs.mqueue.msg_default", "fs.mqueue.msgsize_default",
    ]

    func sysctls(in namespace: UserNamespace, network: NetworkReach) throws(ConfinementError) -> [String: String] {
        var result: [String: String] = [:]
        let ownsNetwork =
            switch network {
            case .none, .outbound: true
            case .host, .at, .foreign: false
            }
        if ownsNetwork {
            for (key, value) in level.sysctls {
                if key == "net.ipv4.ping_group_range" {
                    if let range = pingGroups(value, in: namespace) { result[key] = range }
                } else {
                    result[key] = value
                }
            }
        }
        for (key, value) in request.sysctls {
            try Self.checkText(key, value)
            if Self.ipcKeys.contains(key) {
                guard namespaces(own: request.ipc) else {
                    throw ConfinementError("--sysctl \(key) would change the host's own setting, as --ipc is not private")
                }
            } else if key.hasPrefix("net.") {
                guard ownsNetwork else {
                    throw ConfinementError("--sysctl \(key) would change another network's setting; use a network of the container's own")
                }
            } else {
                throw ConfinementError("--sysctl \(key): the setting belongs to the whole host, not to a container")
            }
            result[key] = value
        }
        return result
    }

    private func namespaces(own mode: ConfinementRequest.IPCMode) -> Bool {
        switch mode {
        case .private, .shareable, .none: true
        case .host, .at: false
        }
    }

    /// Plain characters only, so that neither key nor value can become a path or another setting (CVE-2022-0811).
    private static func checkText(_ key: String, _ value: String) throws(ConfinementError) {
        let parts = key.split(separator: ".", omittingEmptySubsequences: false)
        let keyIsPlain = parts.allSatisfy { part in
            !part.isEmpty && part.utf8.allSatisfy { ($0 | 0x20) &- 0x61 < 26 || $0 &- 0x30 < 10 || $0 == 0x5F || $0 == 0x2D }
        }
        guard parts.count >= 2, keyIsPlain else { throw ConfinementError("--sysctl \(key): that is no name of a setting") }
        let valueIsPlain = value.utf8.allSatisfy {
            ($0 | 0x20) &- 0x61 < 26 || $0 &- 0x30 < 10 || $0 == 0x20 || $0 == 0x09 || (0x2C...0x2F).contains($0) || $0 == 0x5F
                || $0 == 0x3A
        }
        guard valueIsPlain, value.utf8.count <= 256 else {
            throw ConfinementError("--sysctl \(key): the value has characters that no setting needs")
        }
    }

    /// The range, cut to groups that exist in the namespace: the kernel answers EINVAL to any other.
    private func pingGroups(_ value: String, in namespace: UserNamespace) -> String? {
        guard case .own(_, let gids, _) = namespace else { return value }
        var end: UInt64 = 0
        for map in gids.sorted(by: { $0.containerID < $1.containerID }) where UInt64(map.containerID) == end {
            end += UInt64(map.size)
        }
        return end == 0 ? nil : "0 \(min(end - 1, 65535))"
    }
}
