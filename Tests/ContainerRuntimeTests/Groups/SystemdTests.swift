import LinuxKernel
import Testing

@testable import ContainerRuntime

@Suite struct DBusMessageTests {
    /// Put together by hand from the specification, so that reader and writer cannot be wrong together.
    private static let written: [UInt8] =
        [0x6c, 1, 0, 1, 8, 0, 0, 0, 7, 0, 0, 0, 0x67, 0, 0, 0]
        + [1, 0x01, 0x6f, 0, 5, 0, 0, 0] + Array("/a/bc\0".utf8) + [0, 0]
        + [2, 0x01, 0x73, 0, 3, 0, 0, 0] + Array("x.y\0".utf8) + [0, 0, 0, 0]
        + [3, 0x01, 0x73, 0, 4, 0, 0, 0] + Array("Call\0".utf8) + [0, 0, 0]
        + [6, 0x01, 0x73, 0, 3, 0, 0, 0] + Array("d.e\0".utf8) + [0, 0, 0, 0]
        + [8, 0x01, 0x67, 0, 1, 0x73, 0] + [0] + [3, 0, 0, 0] + Array("abc\0".utf8)

    @Test func `a call is written as the specification has it`() throws {
        var message = DBusMessage(call: "Call", of: "x.y", on: "/a/bc", to: "d.e", serial: 7)
        message.signature = "s"
        var body = DBusWriter()
        body.string("abc")
        message.body = body.bytes
        var expected = Self.written
        // The length of the fields, without the padding after them.
        expected[12] = UInt8(expected.count - 16 - 1 - 8)
        #expect(message.encoded() == expected)
        let read = try DBusMessage(decoding: expected)
        #expect((read.path, read.interface, read.member) == ("/a/bc", "x.y", "Call"))
        #expect(try DBusMessage.length(ofHeader: Array(expected[..<16])) == expected.count)
    }

    @Test func `alignment counts from the message's start`() {
        var writer = DBusWriter()
        writer.byte(1)
        writer.array(alignment: 8) { writer in writer.property("A", .uint64(2)) }
        // byte, padding, length, string "A" (4 + 1 + 1), signature "t" (3), padding, 8 bytes
        #expect(writer.bytes == [1, 0, 0, 0, 24, 0, 0, 0, 1, 0, 0, 0, 0x41, 0, 1, 0x74, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0])
    }

    @Test func `what is no message is refused and never read beyond its end`() {
        for length in 0..<Self.written.count {
            #expect(throws: (any Error).self) { try DBusMessage(decoding: Array(Self.written[..<length])) }
        }
        for index in Self.written.indices {
            var broken = Self.written
            broken[index] ^= 0xff
            do {
                let message = try DBusMessage(decoding: broken)
                #expect(message.body.count <= broken.count)
            } catch {
                #expect(error is DBusFormatError)
            }
        }
        #expect(throws: DBusFormatError.self) { try DBusMessage.length(ofHeader: [0x6c, 1, 0, 1, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0]) }
    }
}

@Suite struct SystemdScopeTests {
    @Test(arguments: [
        ("system.slice:docker:abc", "docker-abc.scope", "/system.slice/docker-abc.scope"),
        (":cri-containerd:abc", "cri-containerd-abc.scope", "/system.slice/cri-containerd-abc.scope"),
        ("kubepods-besteffort-pod1.slice:x:y", "x-y.scope", "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice/x-y.scope"),
        ("-.slice:x:y", "x-y.scope", "/x-y.scope"), ("/coffer/abc", "coffer-abc.scope", "/system.slice/coffer-abc.scope"),
        ("/mine.slice/abc", "coffer-abc.scope", "/mine.slice/coffer-abc.scope"),
    ])
    func `a cgroupsPath names a scope and its slice`(path: String, name: String, relative: String) throws {
        let scope = try SystemdScope(cgroupsPath: path, user: false)
        #expect(scope.name == name)
        #expect(scope.relativePath == relative)
    }

    @Test(arguments: ["a/b:c:d", "x:c:d", "s.slice:..:/etc", "s.slice:a b:c", "/coffer/a b"])
    func `what is no unit's name is refused`(path: String) {
        #expect(throws: PlanError.self) { try SystemdScope(cgroupsPath: path, user: false) }
    }

    @Test func `limits become the properties that systemctl shows`() throws {
        var limits = CgroupLimits()
        limits.memory = 1000
        limits.memoryAndSwap = 1000
        limits.cpuShares = 1024
        limits.cpuQuota = 25_000
        limits.pids = 0
        limits.cpusetCPUs = "0-2,9"
        let found = Dictionary(
            uniqueKeysWithValues: try SystemdScope(cgroupsPath: "/a/b", user: true).properties(7, limits).map { ($0.name, $0.value) })
        #expect(found["MemoryMax"] == .uint64(1000))
        #expect(found["MemorySwapMax"] == .uint64(0))
        #expect(found["CPUWeight"] == .uint64(100))
        #expect(found["CPUQuotaPerSecUSec"] == .uint64(250_000))
        #expect(found["TasksMax"] == .uint64(.max))
        #expect(found["AllowedCPUs"] == .bytes([7, 2]))
        #expect(found["PIDs"] == .uint32s([7]))
        #expect(found["Delegate"] == .boolean(true))
        #expect(found["Slice"] == .string("user.slice"))
    }

    @Test(arguments: ["", "a", "3-1", "1-2-3", "-1", "99999"])
    func `a list of processors that is none is left to the kernel`(list: String) {
        #expect(SystemdScope.mask(of: list) == (list.isEmpty ? [] : nil))
    }
}
