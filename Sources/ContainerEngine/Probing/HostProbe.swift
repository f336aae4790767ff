import Glibc
import LinuxKernel
import Probe
import Probing

/// `coffer probe --host`: what the machine itself leaves open to the user who calls. No twin, no privileges, nothing changed.
public enum HostProbe {
    /// - Parameter only: beginnings of ids; empty for all that say something about a host.
    /// - Throws: `EngineError` for root, to whom everything is open.
    public static func run(only: [String]) throws(EngineError) -> ProbeReport {
        if geteuid() == 0 {
            throw EngineError("root may do everything on its host", remedy: "run coffer probe --host as an ordinary user", code: .failure)
        }
        let rows: [ProbeRow]
        do {
            rows = try ProbeTable.builtIn().rows.filter { row in
                row.host && row.needs.isEmpty && (only.isEmpty || only.contains { row.id.hasPrefix($0) })
            }
        } catch {
            throw EngineError("\(error)")
        }
        let (output, errors) = try DirectProbe.run(ProbeRequest(probes: rows.map(\.id)), leavingOpen: nil)
        let (answers, isComplete) = ProbeOutput.read(output)
        if answers.isEmpty { throw EngineError("coffer-probe gave no answer: \(errors)", code: .failure) }
        let results = rows.map { ProbeResult($0, ProbeEvidence(base: answers[$0.id]), in: .host) }
        return ProbeReport(
            target: "this machine", user: "an ordinary user", weaknesses: [], results: results,
            shortfalls: isComplete ? [] : ["coffer-probe did not come to its end: \(errors)"])
    }
}

/// `coffer-probe` run by itself, as whoever calls.
enum DirectProbe {
    /// - Parameter path: a directory that is left open in it, with this program as its standard input; nil for nothing.
    /// - Returns: its output, and how it ended in words.
    static func run(_ request: ProbeRequest, leavingOpen path: String?) throws(EngineError) -> ([UInt8], String) {
        do {
            let text = String(decoding: try request.encoded(), as: UTF8.self)
            let (readEnd, writeEnd) = try makePipe()
            let reading = FileDescriptor(owning: readEnd)
            let writing = FileDescriptor(owning: writeEnd)
            let directory = try path.map { path throws(KernelError) in try FileDescriptor.open(path, O_RDONLY | O_DIRECTORY).release() } ?? -1
            let file = path == nil ? -1 : try FileDescriptor.open(try InstalledProgram.ownPath(), O_RDONLY).release()
            defer { for descriptor in [directory, file] where descriptor >= 0 { close(descriptor) } }
            var descriptors: [Int32?] = [file < 0 ? nil : file, writing.rawValue, nil]
            if directory >= 0 { descriptors.append(directory) }
            let process = try SpawnedProcess.start(try ProbeProgram.locate(), ["coffer-probe", "run", text], descriptors: descriptors)
            try writing.close()
            let output = try reading.readAll(limit: 4 << 20)
            let end = try process.wait()
            return (output, "it ended with \(end.exitCode)")
        } catch let error as EngineError {
            throw error
        } catch {
            throw EngineError("coffer-probe cannot be run: \(error)")
        }
    }
}
