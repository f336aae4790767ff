import ContainerEngine
import Glibc
import Rendering
import Synchronization

/// What every command starts from: the environment, the state root, the engine on it.
enum Invocation {
    /// The environment of this process.
    static var environment: [String: String] {
        var result: [String: String] = [:]
        var entry = environ
        while let variable = entry.pointee {
            let text = String(cString: variable)
            if let separator = text.firstIndex(of: "=") {
                result[String(text[..<separator])] = String(text[text.index(after: separator)...])
            }
            entry += 1
        }
        return result
    }

    /// The state root, made when it is missing.
    static func stateRoot() throws(EngineError) -> StateRoot {
        let root = try StateRoot.locate(option: GlobalOptions.root, environment: environment)
        try root.prepare()
        return root
    }

    static func engine() throws(EngineError) -> Engine { try Engine(root: stateRoot(), environment: environment, warn: warn) }
}

extension Invocation {
    private static let warned = Mutex<Set<String>>([])

    /// One line on standard error, once.
    @Sendable static func warn(_ text: String) {
        guard warned.withLock({ $0.insert(text).inserted }) else { return }
        Terminal.write("coffer: warning: \(HumanUnits.printable(text))\n", to: 2)
    }

    /// Ends a command over several containers: every failure gets its line, and the exit code is 1.
    static func finish(_ failures: [EngineError]) throws {
        for failure in failures { Terminal.write("coffer: \(HumanUnits.printable(failure.description))\n", to: 2) }
        if !failures.isEmpty { throw ContainedExit(code: 1) }
    }
}

extension Invocation {
    /// Does something to each of several containers and prints what it answers; failures do not keep the others from it.
    static func forEach(_ names: [String], _ action: (String) throws(EngineError) -> String?) throws {
        var failures: [EngineError] = []
        for name in names {
            do throws(EngineError) {
                if let line = try action(name) { Terminal.write(line + "\n", to: 1) }
            } catch {
                failures.append(error)
            }
        }
        try finish(failures)
    }

    /// Ends a command as the container in the foreground did.
    static func end(_ end: ForegroundEnd?) throws {
        if case .exited(let code) = end, code != 0 { throw ContainedExit(code: code) }
    }

    /// Lines for the user, on standard error.
    static func tell(_ notes: [String]) {
        for note in notes { Terminal.write("coffer: \(HumanUnits.printable(note))\n", to: 2) }
    }
}
