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
        let (output, errors) = try output(of: rows)
        let (answers, isComplete) = ProbeOutput.read(output)
        if answers.isEmpty { throw EngineError("coffer-probe gave no answer: \(errors)", code: .failure) }
        let results = rows.map { ProbeResult($0, ProbeEvidence(base: answers[$0.id]), in: .host) }
        return ProbeReport(
            target: "this machine", user: "an ordinary user", weaknesses: [], results: results,
            shortfalls: isComplete ? [] : ["coffer-probe did not come to its end: \(errors)"])
    }

    private static func output(of rows: [ProbeRow]) throws(EngineError) -> ([UInt8], String) {
        do {
            let request = String(decoding: try ProbeRequest(probes: rows.map(\.id)).encoded(), as: UTF8.self)
            let (readEnd, writeEnd) = try makePipe()
            let reading = FileDescriptor(owning: readEnd)
            let writing = FileDescriptor(owning: writeEnd)
            let process = try SpawnedProcess.start(
                try ProbeProgram.locate(), ["coffer-probe", "run", request], descriptors: [nil, writing.rawValue, nil])
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
