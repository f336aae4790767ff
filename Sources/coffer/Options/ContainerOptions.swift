import ArgumentParser
import ContainerEngine
import Glibc

/// The flags of `create` and `run`, and the image with its command.
struct ContainerOptions: ParsableArguments {
    @OptionGroup(title: "Process") var process: ProcessOptions
    @OptionGroup(title: "Confinement") var confinement: ConfinementOptions
    @OptionGroup(title: "Files") var files: FileSystemOptions
    @OptionGroup(title: "Network") var network: NetworkOptions
    @OptionGroup(title: "Resources") var resources: ResourceOptions

    // One list, so that everything behind the image belongs to the command, flags included.
    @Argument(parsing: .captureForPassthrough, help: ArgumentHelp("Image, command and its arguments.", valueName: "IMAGE [COMMAND [ARG…]]"))
    var imageAndCommand: [String] = []

    /// The request that the flags say.
    ///
    /// - Throws: `EngineError` that names the first wrong flag.
    func request() throws -> RunRequest {
        let (image, command) = try PassthroughArguments.split(imageAndCommand, subject: "IMAGE")
        var request = RunRequest(image: image)
        request.command = command
        try fillProcess(&request)
        try fillFiles(&request)
        try fillNetwork(&request)
        try fillResources(&request)
        try fillSecurity(&request)
        return request
    }

    private func fillProcess(_ request: inout RunRequest) throws {
        let environment = Invocation.environment
        request.entrypoint = process.entrypoint
        request.name = try process.name.map(ContainerName.validated)
        request.user = process.user
        request.workingDirectory = try process.workdir.map(Self.absolute)
        let fromFiles = try process.envFile.flatMap { try Environment.file($0, from: environment) }
        request.environment = Environment.merged(fromFiles, try Environment.resolve(process.env, from: environment))
        let labelLines = try process.labelFile.flatMap { try Environment.file($0, from: [:]) } + process.label
        request.labels = Self.pairs(labelLines)
        request.annotations = Self.pairs(process.annotation)
        request.terminal = process.tty
        request.stdinOpen = process.interactive
        request.attach = try process.attach.map(Self.stream)
        request.autoRemove = process.rm
        request.initProcess = process.`init`
        request.stopSignal = try process.stopSignal.map { try Signal(parsing: $0).name }
        request.stopTimeout = process.stopTimeout
        request.platform = process.platform
        request.security.addGroups = process.groupAdd
        guard let driver = LogDriver(rawValue: process.logDriver) else {
            throw EngineError("unknown log driver: \(process.logDriver)", remedy: "use json-file or none")
        }
        request.logDriver = driver
    }

    private func fillFiles(_ request: inout RunRequest) throws {
        let directory = currentDirectory()
        request.mounts = try files.volume.map { try MountRequest.parse(volume: $0, relativeTo: directory) }
        request.mounts += try files.mount.map { try MountFlag.parse($0, relativeTo: directory) }
        request.mounts += try files.tmpfs.map { try MountRequest.parse(tmpfs: $0) }
        var seen = Set<String>()
        for mount in request.mounts where !seen.insert(mount.destination).inserted {
            throw EngineError("Duplicate mount point: \(mount.destination)")
        }
        request.readOnlyRoot = files.readOnly
        request.resources.sharedMemory = try files.shmSize.map { try ByteSize(parsing: $0).bytes }
        request.security.devices = files.device
    }

    private func fillNetwork(_ request: inout RunRequest) throws {
        request.network = try network.network.map(Self.networkMode)
        request.ports = try network.publish.flatMap { try PortMapping.parse($0) }
        request.publishAll = network.publishAll
        request.exposedPorts = network.expose
        request.hostname = try network.hostname.map(HostName.validated)
        request.extraHosts = try network.addHost.map { try HostEntry(parsing: $0) }
        request.dnsServers = try network.dns.map(Self.address)
        request.dnsSearch = network.dnsSearch
        request.dnsOptions = network.dnsOption
        if request.network == .host, let hostname = network.hostname, confinement.uts == "host" {
            throw EngineError("conflicting options: hostname '\(hostname)' and the host's UTS namespace")
        }
    }

    private func fillResources(_ request: inout RunRequest) throws {
        request.resources.memory = try resources.memory.map { try ByteSize(parsing: $0).bytes }
        request.resources.memorySwap = try resources.memorySwap.map { try $0 == "-1" ? -1 : ByteSize(parsing: $0).bytes }
        request.resources.memoryReservation = try resources.memoryReservation.map { try ByteSize(parsing: $0).bytes }
        request.resources.nanoCPUs = try resources.cpus.map { try CPUCount(parsing: $0).nanoCPUs }
        request.resources.cpuShares = resources.cpuShares
        request.resources.cpusetCPUs = resources.cpusetCPUs
        request.resources.cpusetMemory = resources.cpusetMemory
        request.resources.pids = resources.pidsLimit
        request.resources.ulimits = try resources.ulimit.map { try ResourceLimit(parsing: $0) }
        request.resources.oomScoreAdjust = resources.oomScoreAdj
        try request.resources.validate()
    }

    private func fillSecurity(_ request: inout RunRequest) throws {
        request.security.level = confinement.level
        request.security.privileged = confinement.privileged
        request.security.addCapabilities = confinement.capAdd.flatMap { $0.split(separator: ",").map(String.init) }
        request.security.dropCapabilities = confinement.capDrop.flatMap { $0.split(separator: ",").map(String.init) }
        request.security.options = confinement.securityOpt
        request.security.sysctls = Self.pairs(confinement.sysctl)
        request.security.userNamespace = confinement.userns ?? ""
        request.security.uidMaps = try confinement.uidmap.map { try IDMapFlag(parsing: $0) }
        request.security.gidMaps = try confinement.gidmap.map { try IDMapFlag(parsing: $0) }
        request.security.pidNamespace = confinement.pid ?? ""
        request.security.ipcNamespace = confinement.ipc ?? ""
        request.security.utsNamespace = confinement.uts ?? ""
        request.security.cgroupNamespace = confinement.cgroupns ?? ""
        request.security.cgroupParent = confinement.cgroupParent
    }
}

extension ContainerOptions {
    private static func absolute(_ path: String) throws -> String {
        guard path.hasPrefix("/") else {
            throw EngineError("the working directory '\(path)' is invalid, it needs to be an absolute path")
        }
        return path
    }

    /// NAME=VALUE pairs; a name alone has an empty value.
    private static func pairs(_ texts: [String]) -> [String: String] {
        var result: [String: String] = [:]
        for text in texts {
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            result[String(parts[0])] = parts.count == 2 ? String(parts[1]) : ""
        }
        return result
    }

    private static func stream(_ text: String) throws -> String {
        let name = text.lowercased()
        guard ["stdin", "stdout", "stderr"].contains(name) else {
            throw EngineError("invalid argument \"\(text)\" for -a: valid streams are STDIN, STDOUT and STDERR")
        }
        return name
    }

    private static func networkMode(_ text: String) throws -> NetworkMode {
        switch text {
        case "none": return .none
        case "host": return .host
        case "outbound", "bridge", "default", "pasta", "slirp4netns", "private": return .outbound
        default:
            throw EngineError("network \(text) not found", remedy: "use none, outbound or host")
        }
    }

    private static func address(_ text: String) throws -> String {
        guard isNetworkAddress(text) else { throw EngineError("invalid argument \"\(text)\" for --dns: it is no IP address") }
        return text
    }
}

/// Arguments behind which everything belongs to the contained command.
enum PassthroughArguments {
    /// The first argument and the rest.
    ///
    /// - Throws: `UsageError` when a flag stands where the first argument belongs, or when there is none.
    static func split(_ arguments: [String], subject: String) throws -> (String, [String]) {
        var rest = arguments[...]
        if rest.first == "--" {
            rest = rest.dropFirst()
        } else if let flag = rest.first, flag.hasPrefix("-"), flag != "-" {
            throw UsageError.unknownFlag(flag)
        }
        guard let first = rest.first else { throw UsageError.tooFewArguments(1) }
        if first.isEmpty { throw EngineError("invalid reference format: \(subject) is empty") }
        return (first, Array(rest.dropFirst()))
    }
}
