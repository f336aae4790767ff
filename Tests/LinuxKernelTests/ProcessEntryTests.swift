import Glibc
import LinuxKernel
import Testing

@Suite("Processes by their numbers")
struct ProcessEntryTests {
    @Test("This process is there, has a start time, and has not ended")
    func own() throws {
        let entry = try #require(try Processes.entry(of: getpid()))
        #expect(!entry.hasEnded)
        #expect(entry.startTicks == (try Processes.startTicks(of: getpid())))
        #expect(!entry.name.isEmpty)
    }

    @Test("A child that nobody has waited for has ended, and then there is none")
    func zombie() throws {
        let process = try SpawnedProcess.start("/bin/true", ["true"])
        while try Processes.entry(of: process.pid)?.hasEnded == false { usleep(1000) }
        #expect(try Processes.entry(of: process.pid)?.name == "true")
        try process.wait()
        #expect(try Processes.entry(of: process.pid) == nil)
        let descriptor = try Processes.openIfPresent(process.pid)
        let isOpen = descriptor != nil
        #expect(!isOpen)
    }
}

@Suite("Sockets with a name")
struct UnixSocketTests {
    @Test("A name below a long directory is reached by the directory's descriptor")
    func longPath() throws {
        var path = "/tmp/coffer-unit-\(getpid())"
        let top = path
        mkdir(path, 0o700)
        for _ in 0..<3 {
            path += "/" + String(repeating: "x", count: 60)
            mkdir(path, 0o700)
        }
        let directory = try FileDescriptor.open(path, RootDirectory.pathOnly | O_DIRECTORY)
        let listener = try UnixSocket.listen("s", in: directory)
        let client = try UnixSocket.connect("\(path)/s", .sequencedPackets)
        let server = try UnixSocket.accept(listener)
        try client.sendMessage([1, 2, 3])
        #expect(try server.receiveMessage()?.bytes == [1, 2, 3])
        unlink("\(path)/s")
        #expect(throws: KernelError.self) { try UnixSocket.connect("\(path)/s", .stream).close() }
        while path != top {
            rmdir(path)
            path = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
        }
        rmdir(top)
    }
}
