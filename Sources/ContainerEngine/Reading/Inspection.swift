import LaunchPlan
import OCISpec
import Rendering
import StrictJSON

/// What `coffer inspect` says of a container: Docker's document, and what confines it under `Coffer`.
public struct Inspection: Sendable {
    let container: Engine.Container
    let details: ContainerDetails
    let spec: RuntimeSpec?
    let bundle: BundleExtension?
    /// What the steps of the launch came to; nil when it was never started.
    let outcomes: [StepOutcome]?
    let root: StateRoot

    /// - Throws: `EngineError` when what is stored of the container cannot be read.
    public init(_ container: Engine.Container, in root: StateRoot) throws(EngineError) {
        try container.checkIntact()
        self.container = container
        self.root = root
        details = try ContainerDetails(decoding: container.record.details, of: container.record.name)
        spec = try BundleFiles.load(RuntimeSpec.self, container.directory.config)
        bundle = try BundleFiles.load(BundleExtension.self, container.directory.bundleExtension)
        do {
            outcomes = try container.status.runtimeState?.outcomes.decoded()
        } catch {
            throw EngineError("\(container.directory.state) cannot be read: \(error)", remedy: "remove the container")
        }
    }

    private var record: ContainerRecord { container.record }
    private var request: RunRequest { details.request }

    /// The document, keys in Docker's order.
    public var document: JSONValue {
        [
            "Id": .string(record.id),
            "Created": .string(Timestamp(nanoseconds: record.created).rfc3339Nano),
            "Path": .string(details.arguments.first ?? ""),
            "Args": strings(Array(details.arguments.dropFirst())),
            "State": state,
            "Image": .string(record.imageID),
            "ResolvConfPath": .string(container.directory.resolver),
            "HostnamePath": .string(container.directory.hostname),
            "HostsPath": .string(container.directory.hosts),
            "LogPath": .string(bundle?.log?.path ?? ""),
            "Name": .string("/" + record.name),
            "RestartCount": 0,
            "Driver": "overlay",
            "Platform": "linux",
            "MountLabel": .string(spec?.linux?.mountLabel ?? ""),
            "ProcessLabel": .string(spec?.process?.selinuxLabel ?? ""),
            "AppArmorProfile": .string(spec?.process?.apparmorProfile ?? ""),
            "ExecIDs": nil,
            "HostConfig": hostConfiguration,
            "GraphDriver": graphDriver,
            "Mounts": .array(mounts),
            "Config": configuration,
            "NetworkSettings": networkSettings,
            "Coffer": coffer,
        ]
    }

    private var state: JSONValue {
        let status = container.status
        let runtime = status.runtimeState
        var finished = runtime?.finishedAt ?? 0
        if case .lost(_, let at) = status { finished = at }
        let isLost = if case .lost = status { true } else { false }
        return [
            "Status": .string(status.word),
            "Running": .bool(status.isRunning),
            "Paused": .bool(status.word == "paused"),
            "Restarting": false,
            "OOMKilled": .bool(runtime?.oomKilled ?? false),
            "Dead": false,
            "Pid": .number(JSONNumber(status.isRunning ? runtime?.pid ?? 0 : 0)),
            "ExitCode": .number(JSONNumber(status.exitCode ?? record.startErrorCode)),
            "Error": .string(isLost ? "monitor lost, code unknown" : record.startError),
            "StartedAt": moment(runtime?.startedAt ?? 0),
            "FinishedAt": moment(status.isRunning ? 0 : finished),
        ]
    }

    private func moment(_ nanoseconds: Int64) -> JSONValue {
        .string(nanoseconds == 0 ? Timestamp.zero.rfc3339 : Timestamp(nanoseconds: nanoseconds).rfc3339Nano)
    }

    /// The client that started it holds its stdin, which ends with that client.
    private var holdsInput: Bool { request.stdinOpen && !(request.stdinStays ?? false) }

    private var configuration: JSONValue {
        [
            "Hostname": .string(details.hostname),
            "Domainname": "",
            "User": .string(details.user),
            "AttachStdin": .bool(holdsInput),
            "AttachStdout": true,
            "AttachStderr": true,
            "ExposedPorts": set(details.exposedPorts),
            "Tty": .bool(request.terminal),
            "OpenStdin": .bool(request.stdinOpen),
            "StdinOnce": .bool(holdsInput),
            "Env": strings(details.environment),
            "Cmd": details.command.isEmpty ? nil : strings(details.command),
            "Image": .string(record.image),
            "Volumes": details.imageVolumes.isEmpty ? nil : set(details.imageVolumes),
            "WorkingDir": .string(details.workingDirectory),
            "Entrypoint": details.entrypoint.isEmpty ? nil : strings(details.entrypoint),
            "OnBuild": nil,
            "Labels": map(details.labels),
            "StopSignal": .string(details.stopSignal),
            "StopTimeout": request.stopTimeout.map { .number(JSONNumber($0)) } ?? nil,
        ]
    }

    private var mounts: [JSONValue] {
        details.mounts.compactMap { mount in
            var result: JSONObject = ["Type": .string(mount.type)]
            switch mount.source {
            case .bind(let path): result["Source"] = .string(path)
            case .volume(let name):
                result["Name"] = .string(name ?? "")
                result["Source"] = .string(root.volumeData(name ?? ""))
            case .tmpfs: result["Source"] = ""
            }
            result["Destination"] = .string(mount.destination)
            if mount.type == "volume" { result["Driver"] = "local" }
            result["Mode"] = .string(mount.modeText)
            result["RW"] = .bool(!mount.readOnly)
            result["Propagation"] = .string(mount.type == "bind" ? mount.propagation : "")
            return .object(result)
        }
    }

    private var graphDriver: JSONValue {
        guard case .overlay(let overlay) = bundle?.root else { return ["Data": nil, "Name": "overlay"] }
        return [
            "Data": [
                "LowerDir": .string(overlay.lowerDirectories.joined(separator: ":")),
                "UpperDir": .string(overlay.upperDirectory), "WorkDir": .string(overlay.workDirectory),
            ],
            "Name": "overlay",
        ]
    }

    private var networkSettings: JSONValue {
        let address = container.status.isRunning ? container.status.runtimeState?.ipAddress ?? "" : ""
        return [
            "Ports": container.status.isRunning ? portBindings(withExposed: true) : [:],
            "IPAddress": .string(address),
            "Networks": .object([
                details.network.rawValue: ["IPAddress": .string(address), "Aliases": [], "NetworkID": .string(details.network.rawValue)]
            ]),
        ]
    }

    func portBindings(withExposed: Bool) -> JSONValue {
        var result = JSONObject()
        for port in withExposed ? details.exposedPorts : [] { result[port] = .null }
        for port in details.ports {
            let key = "\(port.containerPort)/\(port.transport.rawValue)"
            let binding: JSONValue = ["HostIp": .string(port.boundAddress), "HostPort": .string(port.hostPort.map { "\($0)" } ?? "")]
            result[key] = .array((result[key]?.array ?? []) + [binding])
        }
        return .object(result)
    }
}

extension Inspection {
    func strings(_ values: [String]) -> JSONValue { .array(values.map { .string($0) }) }

    func map(_ values: [String: String]) -> JSONValue {
        var result = JSONObject()
        for (key, value) in values.sorted(by: { $0.key < $1.key }) { result[key] = .string(value) }
        return .object(result)
    }

    /// Docker's sets are objects with empty members.
    func set(_ values: [String]) -> JSONValue {
        var result = JSONObject()
        for value in values { result[value] = [:] }
        return .object(result)
    }
}

extension MountRequest {
    /// The options of `-v` as Docker's `Mode` repeats them.
    var modeText: String {
        var words: [String] = []
        if readOnly { words.append("ro") }
        if changeOwner { words.append("U") }
        if idMapped { words.append("idmap") }
        if let relabel { words.append(relabel) }
        return (words + options).joined(separator: ",")
    }
}
