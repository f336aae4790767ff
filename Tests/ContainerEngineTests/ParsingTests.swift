import Glibc
import Testing

@testable import ContainerEngine

@Suite("Sizes, CPUs, limits")
struct SizeParsingTests {
    @Test(arguments: [
        ("512", Int64(512)), ("100m", 100 << 20), ("100M", 100 << 20), ("1.5g", 1_610_612_736), ("64MiB", 64 << 20), ("2kb", 2048),
        ("0", 0), ("1t", 1 << 40), ("10b", 10),
    ])
    func size(text: String, bytes: Int64) throws {
        #expect(try ByteSize(parsing: text).bytes == bytes)
    }

    @Test(arguments: ["", "m", "-1", "1x", "1..5g", "1 0m", "9999999999t", ".5g", "NaN", "1e3"])
    func refusesSize(text: String) {
        #expect(throws: EngineError.self) { try ByteSize(parsing: text) }
    }

    @Test(arguments: [("1", Int64(1_000_000_000)), ("1.5", 1_500_000_000), ("0.25", 250_000_000), (".5", 500_000_000)])
    func cpus(text: String, nano: Int64) throws {
        #expect(try CPUCount(parsing: text).nanoCPUs == nano)
    }

    @Test(arguments: ["0", "", "-1", "1.2.3", "one", "1.0000000001"])
    func refusesCPUs(text: String) {
        #expect(throws: EngineError.self) { try CPUCount(parsing: text) }
    }

    @Test func limits() throws {
        #expect(try ResourceLimit(parsing: "nofile=1024:4096") == ResourceLimit(name: "nofile", soft: 1024, hard: 4096))
        #expect(try ResourceLimit(parsing: "nproc=5") == ResourceLimit(name: "nproc", soft: 5, hard: 5))
        #expect(try ResourceLimit(parsing: "core=-1").hard == ResourceLimit.infinity)
        #expect(try ResourceLimit(parsing: "nofile=1").ociType == "RLIMIT_NOFILE")
    }

    @Test(arguments: ["nofile", "nofiles=1", "nofile=2:1", "nofile=a", "nofile=1:2:3", "=1"])
    func refusesLimit(text: String) {
        #expect(throws: EngineError.self) { try ResourceLimit(parsing: text) }
    }

    @Test func memoryFiguresAreCheckedAgainstEachOther() {
        var request = ResourceRequest()
        request.memory = 1 << 20
        #expect(throws: EngineError("Minimum memory limit allowed is 6MB")) { try request.validate() }
        request.memory = 100 << 20
        request.memorySwap = 50 << 20
        #expect(throws: EngineError.self) { try request.validate() }
        request.memorySwap = -1
        #expect(throws: Never.self) { try request.validate() }
        request.memory = nil
        request.memorySwap = 50 << 20
        #expect(throws: EngineError.self) { try request.validate() }
    }
}

@Suite("Published ports")
struct PortParsingTests {
    @Test func forms() throws {
        #expect(try PortMapping.parse("8080:80") == [PortMapping(hostAddress: nil, hostPort: 8080, containerPort: 80, transport: .tcp)])
        #expect(try PortMapping.parse("80") == [PortMapping(hostAddress: nil, hostPort: nil, containerPort: 80, transport: .tcp)])
        #expect(
            try PortMapping.parse("0.0.0.0:53:5353/udp")
                == [PortMapping(hostAddress: "0.0.0.0", hostPort: 53, containerPort: 5353, transport: .udp)])
        #expect(
            try PortMapping.parse("[::1]:8080:80")
                == [PortMapping(hostAddress: "::1", hostPort: 8080, containerPort: 80, transport: .tcp)])
        #expect(
            try PortMapping.parse("127.0.0.1::80")
                == [PortMapping(hostAddress: "127.0.0.1", hostPort: nil, containerPort: 80, transport: .tcp)])
    }

    @Test func ranges() throws {
        let ports = try PortMapping.parse("8000-8002:80-82")
        #expect(ports.map(\.hostPort) == [8000, 8001, 8002])
        #expect(ports.map(\.containerPort) == [80, 81, 82])
    }

    @Test(arguments: ["", "0", "65536", "a", "80:70000", "1-2:80", "3-1", "1.2.3:80:80", "80/sctp", "-p", "8080:", "1.2.3.4:80"])
    func refuses(text: String) {
        #expect(throws: EngineError.self) { try PortMapping.parse(text) }
    }

    @Test func withoutAddressOnlyThisMachineReachesIt() throws {
        #expect(try PortMapping.parse("8080:80")[0].boundAddress == "127.0.0.1")
        #expect(try PortMapping.parse("0.0.0.0:8080:80")[0].boundAddress == "0.0.0.0")
    }

    @Test func aTakenPortIsNamed() throws {
        let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, length) == 0 && listen(socket, 1) == 0 && getsockname(socket, $0, &length) == 0
            }
        }
        try #require(bound)
        let port = UInt16(bigEndian: address.sin_port)
        let mapping = PortMapping(hostAddress: nil, hostPort: port, containerPort: 80, transport: .tcp)
        let error = #expect(throws: EngineError.self) { try PortChoice.settle([mapping]) }
        #expect(error?.summary == "Bind for 127.0.0.1:\(port)/tcp failed: port is already allocated")
    }

    @Test func aFreePortIsChosen() throws {
        let any = PortMapping(hostAddress: nil, hostPort: nil, containerPort: 80, transport: .tcp)
        let settled = try PortChoice.settle([any, any])
        let ports = settled.compactMap(\.hostPort)
        #expect(ports.count == 2)
        #expect(ports.allSatisfy { $0 > 0 })
    }
}

@Suite("Mounts")
struct MountParsingTests {
    private func volume(_ text: String) throws -> MountRequest { try MountRequest.parse(volume: text, relativeTo: "/work/dir") }

    @Test func sources() throws {
        #expect(try volume("/a:/b").source == .bind("/a"))
        #expect(try volume("./a:/b").source == .bind("/work/dir/a"))
        #expect(try volume("..:/b").source == .bind("/work"))
        #expect(try volume("data:/b").source == .volume("data"))
        #expect(try volume("/b").source == .volume(nil))
        #expect(try volume("/a/../etc//x/:/b/./c/").source == .bind("/etc/x"))
        #expect(try volume("/a/../etc//x/:/b/./c/").destination == "/b/c")
    }

    @Test func options() throws {
        let mount = try volume("/a:/b:ro,U,z,rshared,noexec,idmap")
        #expect(mount.readOnly)
        #expect(mount.changeOwner)
        #expect(mount.idMapped)
        #expect(mount.relabel == "z")
        #expect(mount.propagation == "rshared")
        #expect(mount.options == ["noexec"])
        #expect(try !volume("/a:/b").readOnly)
        #expect(try volume("/a:/b").propagation == "rprivate")
    }

    @Test(arguments: ["", ":", "/a:", "/a:b", "/a:/b:nonsense", "/a:/", "a b:/c", "/a:/b:ro:rw", "../x", "/"])
    func refusesVolume(text: String) {
        #expect(throws: EngineError.self) { try MountRequest.parse(volume: text, relativeTo: "/") }
    }

    @Test func mountFlag() throws {
        let bind = try MountFlag.parse("type=bind,source=/a,target=/b,readonly", relativeTo: "/")
        #expect(bind.source == .bind("/a"))
        #expect(bind.destination == "/b")
        #expect(bind.readOnly)
        #expect(!bind.createSource)
        let tmpfs = try MountFlag.parse("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=0700", relativeTo: "/")
        #expect(tmpfs.source == .tmpfs(size: 1 << 20, mode: 0o700))
        #expect(try MountFlag.parse("src=v,dst=/t", relativeTo: "/").source == .volume("v"))
        #expect(try !MountFlag.parse("type=bind,src=/a,dst=/b,ro=false", relativeTo: "/").readOnly)
    }

    @Test(arguments: [
        "type=bind,target=/b", "source=/a", "type=nfs,src=a,dst=/b", "type=tmpfs,src=/a,dst=/b", "type=bind,src=/a,dst=b",
        "type=bind,src=/a,dst=/b,bogus=1", "type=tmpfs,dst=/t,tmpfs-mode=9", "type=bind,src=/a,dst=/b,ro=maybe", "",
    ])
    func refusesMount(text: String) {
        #expect(throws: EngineError.self) { try MountFlag.parse(text, relativeTo: "/") }
    }

    @Test func tmpfs() throws {
        let mount = try MountRequest.parse(tmpfs: "/run:size=64m,mode=1777,noexec")
        #expect(mount.source == .tmpfs(size: 64 << 20, mode: 0o1777))
        #expect(mount.options == ["noexec"])
        #expect(throws: EngineError.self) { try MountRequest.parse(tmpfs: "relative") }
    }
}

@Suite("Environment, names, signals, addresses")
struct WordParsingTests {
    @Test func environment() throws {
        #expect(try Environment.resolve(["A=1", "HOME", "NONE", "B="], from: ["HOME": "/h"]) == ["A=1", "HOME=/h", "B="])
        #expect(Environment.merged(["A=1", "B=2"], ["A=3"]) == ["A=3", "B=2"])
        #expect(throws: EngineError.self) { try Environment.resolve(["=x"], from: [:]) }
    }

    @Test func environmentFile() throws {
        let path = "\(try TemporaryDirectory().path)/env"
        let directory = String(path.dropLast(4))
        mkdir(directory, 0o700)
        defer {
            unlink(path)
            rmdir(directory)
        }
        let text = "\u{FEFF}# comment\n\nA=1\r\n  B=two words \nHOME\n"
        let file = open(path, O_WRONLY | O_CREAT, 0o600)
        try #require(write(file, text, text.utf8.count) == text.utf8.count)
        close(file)
        #expect(try Environment.file(path, from: ["HOME": "/h"]) == ["A=1", "B=two words ", "HOME=/h"])
        let error = #expect(throws: EngineError.self) { try Environment.file(path + ".none", from: [:]) }
        #expect(error?.summary == "open \(path).none: No such file or directory")
    }

    @Test(arguments: [("TERM", Int32(15)), ("SIGKILL", 9), ("sighup", 1), ("10", 10), ("RTMIN+3", 37), ("SIGRTMAX-1", 63), ("SIGPOLL", 29)])
    func signals(text: String, number: Int32) throws {
        #expect(try Signal(parsing: text).number == number)
    }

    @Test(arguments: ["", "0", "65", "SIG", "SIGNOPE", "RTMIN+99", "-9"])
    func refusesSignal(text: String) {
        #expect(throws: EngineError.self) { try Signal(parsing: text) }
    }

    @Test func containerNames() {
        #expect(throws: Never.self) { try ContainerName.validated("web-1.a_b") }
        for name in ["", "-a", ".a", "a/b", "a b", "ä", "a\u{0}"] {
            #expect(throws: EngineError.self) { try ContainerName.validated(name) }
        }
        for _ in 0..<200 { #expect(ContainerName.isValid(ContainerName.random())) }
    }

    @Test func hosts() throws {
        let entry = try HostEntry(parsing: "db:10.0.0.1")
        #expect(entry.name == "db" && entry.address == "10.0.0.1")
        #expect(try HostEntry(parsing: "db:::1").address == "::1")
        #expect(try HostEntry(parsing: "db=[::1]").address == "::1")
        for text in ["db", ":1.2.3.4", "db:nohost", "db:host-gateway", "d b:1.2.3.4", "db\n1.1.1.1 x:1.2.3.4"] {
            #expect(throws: EngineError.self) { try HostEntry(parsing: text) }
        }
    }

    @Test func idMaps() throws {
        #expect(try IDMapFlag(parsing: "0:100000:5000") == IDMapFlag(containerID: 0, hostID: 100_000, count: 5000))
        #expect(try IDMapFlag(parsing: "5:6").count == 1)
        for text in ["", "0", "0:1:0", "a:b:c", "0:4294967295:2", "-1:0:1", "0:1:2:3"] {
            #expect(throws: EngineError.self) { try IDMapFlag(parsing: text) }
        }
    }

    @Test func detachKeys() throws {
        #expect(try DetachKeys(parsing: "ctrl-p,ctrl-q") == .standard)
        #expect(throws: EngineError.self) { try DetachKeys(parsing: "ctrl-1") }
        var keys = DetachKeys.standard
        // Keys that only begin the sequence reach the program once it is clear that they do.
        var (output, isComplete) = keys.filter([0x61, 0x10])
        #expect(output == [0x61] && !isComplete)
        (output, isComplete) = keys.filter([0x62])
        #expect(output == [0x10, 0x62] && !isComplete)
        (output, isComplete) = keys.filter([0x10, 0x10, 0x11])
        #expect(output == [0x10] && isComplete)
    }
}

/// A name for a directory of this test's own; the test makes and removes it.
struct TemporaryDirectory {
    let path: String
    init() throws { path = "/tmp/coffer-engine-\(getpid())-\(UInt64.random(in: 0 ..< .max))" }
}
