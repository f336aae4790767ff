/// Makes ArgumentParser understand what Docker's flag parser does and it does not: `--flag=true`, `--flag=false`.
enum DockerFlags {
    /// Long flags that take no value. `--rm=false` is then the same as leaving it out.
    static let booleans: Set<String> = [
        "detach", "interactive", "tty", "init", "rm", "quiet", "read-only", "publish-all", "privileged", "explain", "all",
        "no-trunc", "digests", "no-prune", "latest", "size", "force", "volumes", "follow", "timestamps", "details", "archive", "follow-link",
        "no-stdin", "link",
    ]

    /// `coffer run --help` as `coffer help run`: commands that pass their last arguments on untouched would pass this on too.
    static func withHelpFirst(_ arguments: [String]) -> [String] {
        guard let position = arguments.firstIndex(of: "--help"),
            position == 1 || position == 2 && Coffer.groups.contains(arguments[0])
        else { return arguments }
        return ["help"] + arguments[..<position]
    }

    /// The same arguments with every `--flag=true` as `--flag` and every `--flag=false` left out. Looks only at what comes
    /// before the first argument that is no flag and behind the command's name, so that a contained command stays as it is.
    static func normalised(_ arguments: [String]) -> [String] {
        guard arguments.contains(where: { $0.hasSuffix("=true") || $0.hasSuffix("=false") }) else { return arguments }
        var result: [String] = []
        for (position, argument) in arguments.enumerated() {
            if argument == "--" { return result + arguments[position...] }
            let parts = argument.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2, parts[0].hasPrefix("--"), booleans.contains(String(parts[0].dropFirst(2))) else {
                result.append(argument)
                continue
            }
            switch parts[1] {
            case "true", "1": result.append(parts[0])
            case "false", "0": break
            default: result.append(argument)
            }
        }
        return result
    }
}
