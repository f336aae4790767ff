import StrictJSON
import Testing

@testable import Probe

@Suite("The table of probes")
struct ProbeTableTests {
    @Test("has every row of the catalogue, and each id once")
    func complete() throws {
        let table = try ProbeTable.builtIn()
        #expect(table.rows.count >= 89)
        #expect(Set(table.rows.map(\.number)) == Set(1...89))
        #expect(Set(table.rows.map(\.group)) == Set(ProbeGroup.allCases))
        for row in table.rows { #expect(table[row.id] == row) }
        #expect(table["none"] == nil)
    }

    @Test("refuses an id that occurs twice")
    func unique() throws {
        let row = try #require(try ProbeTable.builtIn().rows.first)
        #expect(throws: ProbeError.self) { try ProbeTable(rows: [row, row]) }
    }

    @Test("says of each probe what it tries, what is expected and who can hold it")
    func rowsAreWhole() throws {
        for row in try ProbeTable.builtIn().rows {
            #expect(row.id.allSatisfy { $0.isASCII && ($0.isLowercase || $0.isNumber || $0 == "-") }, "\(row.id)")
            #expect(!row.title.isEmpty && !row.title.hasSuffix("."), "\(row.id)")
            #expect(!row.contained.isEmpty && !row.layers.isEmpty, "\(row.id)")
            #expect(row.remedy != .capability || row.capability != nil, "\(row.id): a capability to drop has a name")
            #expect(row.capability?.hasPrefix("CAP_") ?? true, "\(row.id)")
            // What depends on facts of a container's host says nothing about a host.
            #expect(!row.host || row.needs.allSatisfy { $0 == .hostProcess || $0 == .namespaces || $0 == .abstractSocket }, "\(row.id)")
        }
    }
}

@Suite("What coffer and coffer-probe say to each other")
struct ProbeMessageTests {
    static var request: ProbeRequest {
        var facts = ProbeFacts()
        facts.namespaces = ["net": 4_026_531_840]
        facts.hostProcess = HostProcess(pid: 4711, name: "canary")
        facts.hostDirectories = [HostDirectory(path: "/etc", device: 254, inode: 2)]
        facts.abstractSocket = "coffer-canary"
        facts.endpoints = [
            Endpoint(.loopback, address: "127.0.0.1", port: 4000), Endpoint(.host, address: "192.0.2.1", port: 4001),
            Endpoint(.metadata, address: "169.254.169.254", port: 80), Endpoint(.peer, address: "192.0.2.7", port: 4002),
            Endpoint(.peer, .udp, address: "192.0.2.7", port: 4003),
        ]
        facts.callerFile = "/canary/file"
        facts.sessionKeyring = 17
        facts.dnsName = "canary.invalid"
        facts.engineName = "coffer-runtime"
        facts.raceDirectory = "/canary/race"
        facts.raceTarget = "/tmp/target"
        var limits = ProbeLimits()
        limits.processes = 64
        limits.memoryBytes = 64 << 20
        limits.diskBytes = 1 << 20
        limits.sharedMemoryBytes = 1 << 20
        limits.openFiles = 64
        limits.processorPercent = 50
        limits.logBytes = 1 << 20
        return ProbeRequest(probes: ["ns-user-clone3"], secondsPerProbe: 2, facts: facts, limits: limits)
    }

    @Test("a request arrives as it was sent, with every fact")
    func requests() throws {
        #expect(try ProbeRequest(decoding: Self.request.encoded()) == Self.request)
        for fact in ProbeFact.allCases {
            #expect(Self.request.carries(fact), "\(fact)")
            #expect(!ProbeRequest().carries(fact), "\(fact)")
        }
        #expect(try ProbeRequest(decoding: ProbeRequest().encoded()) == ProbeRequest())
    }

    @Test("figures out of their range are refused")
    func ranges() throws {
        for change: (inout ProbeRequest) -> Void in [
            { $0.secondsPerProbe = 0 }, { $0.secondsPerProbe = 61 }, { $0.limits.processes = 4097 }, { $0.limits.processes = -1 },
            { $0.limits.memoryBytes = 2 << 30 }, { $0.limits.diskBytes = 0 }, { $0.limits.sharedMemoryBytes = 2 << 30 },
            { $0.limits.openFiles = 2 }, { $0.limits.processorPercent = 0 }, { $0.limits.logBytes = 65 << 20 },
        ] {
            var request = Self.request
            change(&request)
            #expect(throws: ProbeError.self) { try ProbeRequest(decoding: request.encoded()) }
        }
        #expect(throws: (any Error).self) { try ProbeRequest(decoding: Array(#"{"probes": ["a"], "unknown": 1}"#.utf8)) }
    }

    @Test("answers and the last line arrive as they were sent")
    func lines() throws {
        let answer = ProbeAnswer("sys-bpf", .held, errno: "EPERM", signal: "SIGSYS", detail: "bpf(2): “EPERM”\n")
        let line = try ProbeLine.answer(answer).encoded()
        #expect(line.last == 0x0A && line.dropLast().allSatisfy { $0 != 0x0A })
        #expect(try ProbeLine(decoding: line) == .answer(answer))
        #expect(try ProbeLine(decoding: ProbeLine.complete(answers: 89).encoded()) == .complete(answers: 89))
        #expect(ProbeAnswer("a", .held, detail: String(repeating: "x", count: 5000)).detail.count == ProbeAnswer.longestDetail)
        for bad in ["", "{}", #"{"complete": 1, "more": 2}"#, #"{"id": "a", "outcome": "maybe", "detail": ""}"#, String(repeating: " ", count: 4097)]
        {
            #expect(throws: (any Error).self) { try ProbeLine(decoding: Array(bad.utf8)) }
        }
    }
}
