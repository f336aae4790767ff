import Confinement

extension UnitSettings {
    /// Settings that are Booleans and mean nothing else to the model.
    private static let booleans: Set<String> = [
        "DynamicUser", "NoNewPrivileges", "PrivateDevices", "PrivateMounts", "PrivateNetwork", "PrivateTmp", "PrivateUsers",
        "PrivateIPC", "ProtectClock", "ProtectControlGroups", "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules",
        "ProtectKernelTunables", "LockPersonality", "MemoryDenyWriteExecute", "RestrictRealtime", "RestrictSUIDSGID", "RemoveIPC",
    ]

    /// Applies one assignment of `[Service]`; values that systemd passes over leave the setting as it was.
    mutating func apply(_ key: String, _ value: String, _ groups: SystemdSyscalls) throws(ExposureError) {
        if Self.booleans.contains(key) {
            if let on = Self.boolean(value) { flags[key] = on }
            return
        }
        switch key {
        case "User": user = try userName(value)
        case "SupplementaryGroups": try addGroups(value)
        case "CapabilityBoundingSet": Self.merge(value, into: &boundingSet, initial: .max)
        case "AmbientCapabilities": Self.merge(value, into: &ambientSet, initial: 0)
        case "ProtectHome": protectHome = Self.choice(value, yes: .yes, no: .no) ?? protectHome
        case "ProtectSystem": protectSystem = Self.choice(value, yes: .yes, no: .no) ?? protectSystem
        case "ProtectProc": protectProc = ProtectProc(rawValue: value) ?? protectProc
        case "ProcSubset": procSubsetIsPid = value == "pid" ? true : value == "all" ? false : procSubsetIsPid
        case "KeyringMode": keyringMode = KeyringMode(rawValue: value) ?? keyringMode
        case "NotifyAccess": if ["none", "main", "exec", "all"].contains(value) { notifyAccess = value }
        case "UMask": if let mask = UInt32(value, radix: 8), mask <= 0o7777 { umask = mask }
        case "SystemCallFilter": syscalls.assign(value, groups)
        case "SystemCallArchitectures": addArchitectures(value)
        case "RestrictAddressFamilies": families.assign(value)
        case "RestrictNamespaces": restrictNamespaces(value)
        default: applyResource(key, value)
        }
    }

    private mutating func applyResource(_ key: String, _ value: String) {
        switch key {
        case "RootDirectory": rootDirectory = path(value, rootDirectory)
        case "RootImage":
            rootImage = path(value, rootImage)
            usesImages = !rootImage.isEmpty
        case "MountImages": usesMountImages = !value.isEmpty
        case "LoadCredentialEncrypted", "SetCredentialEncrypted": usesEncryptedCredentials = !value.isEmpty
        // An empty assignment resets the list of controllers, and delegates all the same (measured, 252).
        case "Delegate": delegates = Self.boolean(value) ?? true
        case "DevicePolicy": devicePolicy = DevicePolicy(rawValue: value) ?? devicePolicy
        case "DeviceAllow": allowDevice(value)
        case "IPAddressAllow": Self.addAddresses(value, to: &addressesAllowed)
        case "IPAddressDeny": Self.addAddresses(value, to: &addressesDenied)
        case "IPIngressFilterPath", "IPEgressFilterPath": customIPFilters[key] = !value.isEmpty
        case "BindPaths", "BindReadOnlyPaths":
            if value.isEmpty { bindPaths = [] } else { bindPaths += words(value).map { key == "BindPaths" ? $0 : $0 + " ro" } }
        case "MemoryMax", "MemoryLimit": memoryMax = value
        case "TasksMax": tasksMax = value
        default: break
        }
    }

    private static func choice<Choice: RawRepresentable<String>>(_ value: String, yes: Choice, no: Choice) -> Choice? {
        boolean(value).map { $0 ? yes : no } ?? Choice(rawValue: value)
    }

    private func userName(_ value: String) throws(ExposureError) -> String {
        if value.isEmpty { return "" }
        let name = expanded(value)
        let isNumber = UInt32(name) != nil
        let isName = name.first.map { $0.isLetter || $0 == "_" } ?? false
        guard isNumber || isName, !name.contains(where: { $0 == "/" || $0 == ":" || $0.isWhitespace }) else {
            throw ExposureError("\(self.name): User=\(value) names no user; write a user name or a number")
        }
        return name
    }

    private mutating func addGroups(_ value: String) throws(ExposureError) {
        if value.isEmpty { supplementaryGroups = [] }
        supplementaryGroups += words(value).map(expanded)
    }

    /// A capability list: names, numbers, `~` to take away; a list that adds nothing to nothing replaces.
    private static func merge(_ value: String, into set: inout UInt64, initial: UInt64) {
        let inverted = value.hasPrefix("~")
        var sum: UInt64 = 0
        for word in words(inverted ? String(value.dropFirst()) : value) {
            if let number = UInt64(word), number < 63 {
                sum |= 1 << number
            } else if word.lowercased().hasPrefix("cap_"), let capability = Capability(named: word) {
                sum |= 1 << UInt64(capability.rawValue)
            }
        }
        if sum == 0 || set == initial {
            set = inverted ? ~sum : sum
        } else if inverted {
            set &= ~sum
        } else {
            set |= sum
        }
    }

    private mutating func addArchitectures(_ value: String) {
        if value.isEmpty { syscallArchitectures = [] }
        let known: Set<String> = [
            "native", "x86", "x86-64", "x32", "arm", "arm64", "mips", "mips64", "mips64-n32", "mips-le", "mips64-le", "mips64-le-n32",
            "ppc", "ppc64", "ppc64-le", "riscv64", "s390", "s390x", "parisc", "parisc64",
        ]
        syscallArchitectures.formUnion(words(value).filter(known.contains))
    }

    private mutating func restrictNamespaces(_ value: String) {
        let all: Set<String> = ["cgroup", "ipc", "net", "mnt", "pid", "user", "uts"]
        if value.isEmpty {
            namespacesAllowed = nil
        } else if let on = Self.boolean(value) {
            namespacesAllowed = on ? [] : all
        } else {
            let inverted = value.hasPrefix("~")
            let kinds = Set(words(inverted ? String(value.dropFirst()) : value))
            // One unknown name and systemd passes over the whole line.
            guard kinds.isSubset(of: all) else { return }
            let before = namespacesAllowed ?? (inverted ? all : [])
            namespacesAllowed = inverted ? before.subtracting(kinds) : before.union(kinds)
        }
    }

    private mutating func allowDevice(_ value: String) {
        if value.isEmpty {
            devicesAllowed = []
            return
        }
        let parts = value.split(whereSeparator: \.isWhitespace).map(String.init)
        guard let first = parts.first else { return }
        let path = expanded(first)
        let isDevice = ["/dev/", "char-", "block-", "/run/systemd/inaccessible/"].contains { path.hasPrefix($0) }
        let access = parts.dropFirst().joined(separator: " ")
        guard isDevice, access.allSatisfy({ "rwm".contains($0) }) else { return }
        devicesAllowed.append("\(path):\(access.isEmpty ? "rwm" : access)")
    }

    private static func addAddresses(_ value: String, to list: inout [AddressPrefix]) {
        if value.isEmpty { list = [] }
        for word in words(value) { list += AddressPrefix.parse(word) }
    }

    private func path(_ value: String, _ before: String) -> String {
        if value.isEmpty { return "" }
        let path = expanded(value.hasPrefix("-") || value.hasPrefix("+") ? String(value.dropFirst()) : value)
        return path.hasPrefix("/") ? path : before
    }
}

extension UnitSettings {
    /// Expands the specifiers of systemd.unit(5). What only a running manager knows (host name, machine ID) becomes a word that stands for it.
    func expanded(_ text: String) -> String {
        guard text.contains("%") else { return text }
        let bare = name.hasSuffix(".service") ? String(name.dropLast(8)) : name
        let parts = bare.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let (prefix, instance) = (parts[0], parts.count == 2 ? parts[1] : "")
        let last = prefix.split(separator: "-").last.map(String.init) ?? prefix
        let table: [Character: String] = [
            "n": name, "N": bare, "p": prefix, "P": prefix, "i": instance, "I": instance, "j": last, "J": last, "t": "/run",
            "S": "/var/lib", "C": "/var/cache", "L": "/var/log", "E": "/etc", "T": "/tmp", "V": "/var/tmp", "h": "/root",
            "u": "root", "U": "0", "g": "root", "G": "0", "s": "/bin/sh", "%": "%",
        ]
        var result = ""
        var isSpecifier = false
        for character in text {
            if isSpecifier {
                result += table[character] ?? "host"
                isSpecifier = false
            } else if character == "%" {
                isSpecifier = true
            } else {
                result.append(character)
            }
        }
        return result
    }
}
