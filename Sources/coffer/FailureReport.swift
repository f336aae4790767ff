import ArgumentParser
import ContainerEngine
import Glibc
import LaunchPlan
import Rendering

/// A command line that is wrong in itself.
enum UsageError: Error, Equatable {
    case unknownFlag(String)
    /// At least so many arguments are needed.
    case tooFewArguments(Int)
    case message(String)
}

/// The contained command ended; the program ends with the same code and says nothing more.
struct ContainedExit: Error {
    let code: Int32
}

/// How a failed command ends: one message on standard error and Docker's exit code.
struct FailureReport {
    let message: String
    let code: Int32
    /// Help and version are no failures and go to standard output.
    let isSuccess: Bool

    init(_ error: any Error, arguments: [String]) {
        let verb = Self.verb(of: arguments)
        switch error {
        case let exit as ContainedExit:
            self.init(message: "", code: exit.code)
        case let exit as ExitCode:
            self.init(message: "", code: exit.rawValue)
        case let usage as UsageError:
            self.init(message: Self.text(usage, verb), code: 125)
        case let template as TemplateError:
            self.init(message: "coffer: \(template.description)", code: 64)
        case let engine as EngineError:
            let isRun = ["run", "create"].contains(verb.last ?? "") && verb.first != "volume"
            let hint = isRun ? "\n\nRun 'coffer \(verb.joined(separator: " ")) --help' for more information" : ""
            let code = engine.code == .engine && !isRun ? EngineError.Code.failure.rawValue : engine.code.rawValue
            self.init(message: "coffer: \(ErrorSentence.of(engine.description))\(hint)", code: code)
        default:
            self.init(parsing: error, verb)
        }
    }

    private init(message: String, code: Int32, isSuccess: Bool = false) {
        self.message = message
        self.code = code
        self.isSuccess = isSuccess
    }

    /// What ArgumentParser says of an error, in Docker's form.
    private init(parsing error: any Error, _ verb: [String]) {
        if Coffer.exitCode(for: error) == .success {
            self.init(message: Coffer.fullMessage(for: error), code: 0, isSuccess: true)
            return
        }
        let text = Coffer.message(for: error)
        let first = String(text.prefix { $0 != "\n" })
        if first.hasPrefix("Unknown option '") {
            let flag = first.dropFirst("Unknown option '".count).prefix { $0 != "'" }
            self.init(message: Self.text(.unknownFlag(String(flag)), verb), code: 125)
        } else {
            self.init(message: Self.text(.message(first), verb), code: 125)
        }
    }

    private static func text(_ error: UsageError, _ verb: [String]) -> String {
        let command = (["coffer"] + verb).joined(separator: " ")
        let summary =
            switch error {
            case .unknownFlag(let flag) where flag.hasPrefix("--"): "unknown flag: \(flag.prefix { $0 != "=" })"
            case .unknownFlag(let flag): "unknown shorthand flag: '\(flag.dropFirst().prefix(1))' in \(flag)"
            case .tooFewArguments(let count):
                "'\(command)' requires at least \(count) argument\(count == 1 ? "" : "s")"
            case .message(let message): message
            }
        return "coffer: \(ErrorSentence.of(summary))\n\nRun '\(command) --help' for more information"
    }

    /// The command's name, "container run" or "run", as far as the arguments say one.
    private static func verb(of arguments: [String]) -> [String] {
        let words = arguments.prefix { !$0.hasPrefix("-") }
        let isGroup = Coffer.groups.contains(words.first ?? "")
        return Array(words.prefix(isGroup ? 2 : 1))
    }

    func exit() -> Never {
        if !message.isEmpty { Terminal.write(message + "\n", to: isSuccess ? 1 : 2) }
        Glibc.exit(code)
    }
}
