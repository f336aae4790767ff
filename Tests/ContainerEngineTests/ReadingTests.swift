import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec
import Rendering
import StrictJSON
import Testing

@testable import ContainerEngine

@Suite("ps")
struct ListingTests {
    private func container(_ status: ContainerStatus, _ change: (inout ContainerDetails) -> Void = { _ in }) throws -> Engine.Container {
        var details = ContainerDetails(request: RunRequest(image: "nginx"))
        details.arguments = ["nginx", "-g", "daemon off;"]
        details.labels = ["b": "2", "a": "1"]
        change(&details)
        let record = ContainerRecord(
            id: String(repeating: "ab", count: 32), name: "web", image: "nginx", imageID: "sha256:" + String(repeating: "c", count: 64),
            created: 1_000_000_000_000_000_000, phase: .started, autoRemove: false, rangeStart: nil, details: try details.encoded())
        return Engine.Container(record: record, directory: ContainerDirectory(path: "/none"), status: status)
    }

    private func row(_ status: ContainerStatus, now: Int64 = 1_000_000_060, truncated: Bool = true) throws -> String {
        let now = Timestamp(seconds: now)
        let listing = try ContainerListing(container(status), now: now)
        return try ContainerListing.listing.render([listing.row(truncated: truncated, now: now)], format: "json")
    }

    @Test func jsonFieldByField() throws {
        #expect(
            try row(.created)
                == #"{"Command":"\"nginx -g daemon off;\"","CreatedAt":"2001-09-09 01:46:40 +0000 UTC","Exposure":"","ID":"abababababab","#
                + #""Image":"nginx","Labels":"a=1,b=2","Level":"standard","LocalVolumes":"0","Mounts":"","Names":"web","#
                + #""Networks":"outbound","Ports":"","RunningFor":"About a minute ago","Size":"0B","State":"created","Status":"Created"}"#
                + "\n")
    }

    @Test func statusTexts() throws {
        var running = runtimeState(.running)
        running.startedAt = 1_000_000_058_000_000_000
        let now = Timestamp(seconds: 1_000_000_060)
        #expect(StatusText.of(.running(running, paused: false), now: now) == "Up 2 seconds")
        #expect(StatusText.of(.running(running, paused: true), now: now) == "Up 2 seconds (Paused)")
        var exited = runtimeState(.exited, exitCode: 137)
        exited.finishedAt = 999_999_880_000_000_000
        #expect(StatusText.of(.exited(exited), now: now) == "Exited (137) 3 minutes ago")
        #expect(StatusText.of(.lost(nil, at: 0), now: now) == "Exited (monitor lost, code unknown)")
        #expect(StatusText.of(.created, now: now) == "Created")
    }

    @Test func tableHeaders() throws {
        let text = try ContainerListing.listing.render([], format: nil)
        #expect(text == "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     EXPOSURE   NAMES\n")
    }

    @Test func ports() throws {
        let ports = try PortMapping.parse("8080:80") + PortMapping.parse("[::]:53:53/udp")
        #expect(PortText.list(ports, exposed: ["80/tcp", "443/tcp"]) == "127.0.0.1:8080->80/tcp, [::]:53->53/udp, 443/tcp")
    }

    @Test func controlCharactersOfACommandAreShown() throws {
        let listing = try ContainerListing(container(.created) { $0.arguments = ["sh", "\u{1B}[2J\"x\""] })
        let text = try ContainerListing.listing.render([listing.row(truncated: false)], format: "{{.Command}}")
        #expect(!text.contains("\u{1B}"))
        #expect(text.contains("\\\"x\\\""))
    }

    @Test(arguments: [
        ("name=we", true), ("name=db", false), ("label=a", true), ("label=a=1", true), ("label=a=2", false), ("status=created", true),
        ("status=running", false), ("id=abab", true), ("ancestor=nginx", true), ("ancestor=nginx:latest", true),
        ("ancestor=redis", false), ("ancestor=cccccccc", true), ("network=outbound", true), ("exited=0", false),
    ])
    func filters(filter: String, isShown: Bool) throws {
        let container = try container(.created)
        #expect(try ListFilter([filter]).accepts(container, ContainerListing(container)) == isShown)
    }

    @Test func filtersOfOneKeyAreAlternativesButLabelsAreNot() throws {
        let container = try container(.created)
        let listing = ContainerListing(container)
        #expect(try ListFilter(["name=db", "name=web"]).accepts(container, listing))
        #expect(try !ListFilter(["label=a", "label=z"]).accepts(container, listing))
    }

    @Test(arguments: ["nonsense=1", "name", "status=flying", "exited=x"])
    func refusesFilter(text: String) {
        #expect(throws: EngineError.self) { try ListFilter([text]) }
    }
}

@Suite("inspect")
struct InspectionTests {
    private func document(_ status: ContainerStatus) throws -> JSONValue {
        var request = RunRequest(image: "nginx")
        request.mounts = [
            MountRequest(source: .bind("/src"), destination: "/b", readOnly: true),
            MountRequest(source: .volume("v"), destination: "/c"),
        ]
        request.ports = try PortMapping.parse("8080:80")
        request.resources.memory = 100 << 20
        var details = ContainerDetails(request: request)
        details.arguments = ["sh", "-c", "x"]
        details.entrypoint = ["sh"]
        details.command = ["-c", "x"]
        details.environment = ["A=1"]
        details.mounts = request.mounts
        details.ports = request.ports
        details.rangeIsShared = true
        let root = StateRoot(path: "/none")
        let record = ContainerRecord(
            id: String(repeating: "ab", count: 32), name: "web", image: "nginx", imageID: "sha256:c", created: 1_000_000_000_500_000_000,
            phase: .started, autoRemove: true, rangeStart: nil, details: try details.encoded())
        let container = Engine.Container(record: record, directory: root.container(record.id), status: status)
        return try Inspection(container, in: root).document
    }

    @Test func dockersFields() throws {
        let document = try document(.exited(runtimeState(.exited, exitCode: 3)))
        #expect(document["Id"] == .string(String(repeating: "ab", count: 32)))
        #expect(document["Created"] == "2001-09-09T01:46:40.500000000Z")
        #expect(document["Path"] == "sh")
        #expect(document["Args"] == ["-c", "x"])
        #expect(document["Image"] == "sha256:c")
        #expect(document["Name"] == "/web")
        let state: JSONValue = [
            "Status": "exited", "Running": false, "Paused": false, "Restarting": false, "OOMKilled": false, "Dead": false, "Pid": 0,
            "ExitCode": 3, "Error": "", "StartedAt": "1970-01-01T00:00:01.000000000Z", "FinishedAt": "1970-01-01T00:00:02.000000000Z",
        ]
        #expect(document["State"] == state)
        #expect(document["Config"]?["Env"] == ["A=1"])
        #expect(document["Config"]?["Cmd"] == ["-c", "x"])
        #expect(document["Config"]?["Entrypoint"] == ["sh"])
        #expect(document["HostConfig"]?["Memory"] == 104_857_600)
        #expect(document["HostConfig"]?["Binds"] == ["/src:/b:ro", "v:/c"])
        #expect(document["HostConfig"]?["PortBindings"] == ["80/tcp": [["HostIp": "127.0.0.1", "HostPort": "8080"]]])
        #expect(document["NetworkSettings"]?["Ports"] == [:])
    }

    @Test func mounts() throws {
        let mounts = try document(.created)["Mounts"]
        #expect(
            mounts?[0]
                == ["Type": "bind", "Source": "/src", "Destination": "/b", "Mode": "ro", "RW": false, "Propagation": "rprivate"])
        #expect(mounts?[1]?["Source"] == "/none/volumes/v/_data")
        #expect(mounts?[1]?["Name"] == "v")
        let text = try InspectOutput.render([TemplateValue(try document(.created))], format: "{{range .Mounts}}{{.Source}} {{end}}")
        #expect(text == "/src /none/volumes/v/_data \n")
    }

    @Test func stepsAndTheirOutcomes() throws {
        var state = runtimeState(.running)
        state.outcomes = Deferred([
            StepOutcome(step: "controlGroup", detail: "memory", result: .unavailable("no cgroup")),
            StepOutcome(step: "pivot", detail: "root switched", result: .applied),
        ])
        let steps = try document(.running(state, paused: false))["Coffer"]?["Steps"]
        #expect(steps?[0] == ["Step": "controlGroup", "Detail": "memory", "Result": "unavailable", "Reason": "no cgroup"])
        #expect(steps?[1] == ["Step": "pivot", "Detail": "root switched", "Result": "applied"])
    }
}

@Suite("logs")
struct LogReaderTests {
    private func read(_ query: LogQuery = LogQuery()) throws -> [String] {
        let root = try TemporaryRoot()
        let directory = root.root.container(String(repeating: "a", count: 64))
        try retrying("mkdir") { mkdir(directory.path, 0o700) }
        func line(_ text: String, _ second: Int, _ stream: String = "stdout") -> String {
            "{\"log\":\"\(text)\",\"stream\":\"\(stream)\",\"time\":\"2026-01-01T00:00:0\(second).000000000Z\"}\n"
        }
        try replaceFile(directory.log + ".2", with: Array(line("one\\n", 1).utf8))
        try replaceFile(directory.log + ".1", with: Array((line("two\\n", 2) + line("three ", 3)).utf8))
        try replaceFile(directory.log, with: Array((line("parts\\n", 4) + line("four\\n", 5, "stderr") + "{\"log\":\"cut").utf8))
        nonisolated(unsafe) var lines: [String] = []
        try LogReader(directory, query) { text, isError in
            lines.append((isError ? "E " : "") + text)
            return true
        }.run()
        return lines
    }

    @Test func rotatedFilesComeFirst() throws {
        #expect(try read() == ["one\n", "two\n", "three ", "parts\n", "E four\n"])
    }

    @Test func tailCountsLinesNotParts() throws {
        var query = LogQuery()
        query.tail = 2
        #expect(try read(query) == ["three ", "parts\n", "E four\n"])
        query.tail = 0
        #expect(try read(query).isEmpty)
        query.tail = 100
        #expect(try read(query).count == 5)
    }

    @Test func sinceUntilAndTimes() throws {
        var query = LogQuery()
        query.since = Timestamp(rfc3339: "2026-01-01T00:00:02Z")
        query.until = Timestamp(rfc3339: "2026-01-01T00:00:03Z")
        query.timestamps = true
        #expect(try read(query) == ["2026-01-01T00:00:02.000000000Z two\n", "2026-01-01T00:00:03.000000000Z three "])
    }

    @Test func moments() throws {
        let now = Timestamp(seconds: 10_000)
        #expect(try Timestamp(parsingMoment: "10m", now: now).seconds == 9400)
        #expect(try Timestamp(parsingMoment: "1h30m", now: now).seconds == 4600)
        #expect(try Timestamp(parsingMoment: "1700000000", now: now).seconds == 1_700_000_000)
        #expect(try Timestamp(parsingMoment: "2026-01-01", now: now) == Timestamp(rfc3339: "2026-01-01T00:00:00Z"))
        for text in ["", "yesterday", "10x", "-5"] {
            #expect(throws: EngineError.self) { try Timestamp(parsingMoment: text, now: now) }
        }
    }
}

@Suite("What a request and an image come to")
struct ContainerDetailsTests {
    private func details(
        _ change: (inout RunRequest) -> Void, entrypoint: [String]? = ["/entry"], command: [String]? = ["serve"]
    ) throws -> ContainerDetails {
        var request = RunRequest(image: "x")
        change(&request)
        var defaults = ExecutionDefaults()
        defaults.entrypoint = entrypoint
        defaults.command = command
        defaults.environment = ["PATH=/bin", "A=image"]
        defaults.labels = ["from": "image", "both": "image"]
        defaults.user = "www"
        defaults.workingDirectory = "/srv/"
        defaults.exposedPorts = ["80/tcp": .init()]
        let image = ResolvedImage(
            id: "sha256:1", digest: "sha256:2", reference: "docker.io/library/x:latest", defaults: defaults, layers: [], isPinned: false,
            isLocal: true)
        return try ContainerDetails(request, image, id: String(repeating: "ab", count: 32))
    }

    @Test func commandsAsDocker() throws {
        #expect(try details({ _ in }).arguments == ["/entry", "serve"])
        #expect(try details({ $0.command = ["other"] }).arguments == ["/entry", "other"])
        #expect(try details({ $0.entrypoint = "/mine" }).arguments == ["/mine"])
        #expect(
            try details({
                $0.entrypoint = ""
                $0.command = ["sh"]
            }).arguments == ["sh"])
        #expect(throws: EngineError.self) { try details({ _ in }, entrypoint: nil, command: nil) }
    }

    @Test func mergedSettings() throws {
        let result = try details {
            $0.environment = ["A=flag", "B=2"]
            $0.labels = ["both": "flag"]
            $0.exposedPorts = ["443"]
        }
        #expect(result.environment == ["PATH=/bin", "HOSTNAME=abababababab", "A=flag", "B=2"])
        #expect(result.labels == ["from": "image", "both": "flag"])
        #expect(result.user == "www")
        #expect(result.workingDirectory == "/srv")
        #expect(result.exposedPorts == ["443/tcp", "80/tcp"])
        #expect(result.hostname == "abababababab")
        #expect(result.stopSignal == "SIGTERM")
    }

    @Test func settingsSurviveTheDatabase() throws {
        let result = try details {
            $0.mounts = [MountRequest(source: .tmpfs(size: 5, mode: nil), destination: "/t")]
            $0.security.uidMaps = [IDMapFlag(containerID: 0, hostID: 1, count: 2)]
        }
        #expect(try ContainerDetails(decoding: try result.encoded(), of: "x") == result)
        #expect(throws: EngineError.self) { try ContainerDetails(decoding: "{", of: "x") }
    }
}
