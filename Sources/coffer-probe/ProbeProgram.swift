import Glibc
import LinuxKernel
import Probe
import ProbeAttempts

/// The program's modes and its one input and output.
enum ProbeProgram {
    static let usage = """
        Usage: coffer-probe run [REQUEST]
               coffer-probe list

        Tries what a container must not be able to do, one probe after the other, harmlessly, and prints one line of JSON for each.
        `coffer probe` runs it in a twin of a container.

          run [REQUEST]   try what the request asks for: a JSON document, here or on standard input
          list            print the id of every probe that it has

        """

    static func complain(_ text: String) {
        let bytes = Array("coffer-probe: \(text)\n".utf8)
        write(2, bytes, bytes.count)
    }

    static func writeOut(_ bytes: [UInt8]) throws(KernelError) {
        var offset = 0
        while offset < bytes.count {
            offset += try retrying("write", "standard output") {
                bytes.withUnsafeBytes { write(1, $0.baseAddress.map { $0 + offset }, bytes.count - offset) }
            }
        }
    }

    /// The request, from the command line or from standard input.
    static func readRequest(_ arguments: ArraySlice<String>) throws -> ProbeRequest {
        if let text = arguments.first { return try ProbeRequest(decoding: Array(text.utf8)) }
        // Standard input stays open: nothing else may take its number.
        let input = FileDescriptor(owning: try retrying("fcntl", "standard input") { fcntl(0, F_DUPFD_CLOEXEC, 3) })
        return try ProbeRequest(decoding: try input.readAll(limit: ProbeRequest.limit))
    }

    static func environment() -> [String] {
        var list: [String] = []
        var entry = environ
        while let text = entry.pointee {
            list.append(String(cString: text))
            entry += 1
        }
        return list
    }

    /// 0 when every probe answered, whatever the answers are; 125 for a wrong request or a broken output.
    static func run(_ arguments: [String], descriptors: [OpenDescriptor]) -> Int32 {
        do {
            switch (arguments.first.flatMap(ProgramMode.init), arguments.count) {
            case (.list, 1):
                try writeOut(Array((Attempts.ids.joined(separator: "\n") + "\n").utf8))
            case (.run, 1...2):
                signal(SIGPIPE, SIG_IGN)
                let situation = Situation(try readRequest(arguments.dropFirst()), descriptors: descriptors, environment: environment())
                try ProbeRunner(situation).run(writeOut)
            case (let mode?, 1):
                guard let code = mode.runForProbe() else { break }
                return code
            default:
                complain("expected run or list\n\n\(usage)")
                return 125
            }
            return 0
        } catch {
            complain("\(error)")
            return 125
        }
    }
}
