import ContainerRuntime
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec
import StrictJSON

/// `events [--stats] [--interval SECONDS] ID`: resource use now, or again and again with every out-of-memory kill, a line of JSON each.
enum EventsCommand {
    private struct Event: Codable {
        var type: String
        var id: String
        var data: ResourceUse?
    }

    static func run(_ arguments: [String], _ global: GlobalOptions) throws -> Int32 {
        let options = try ParsedOptions(arguments, ["stats": false, "interval": true])
        let directory = try global.container(options)
        try options.expectOperands(1)
        let interval = try Self.interval(options.value("interval") ?? "5s")
        let record = try directory.load()
        guard try directory.status(of: record) != .stopped else { throw PlanError("container not running: \(record.id)") }
        if options.isSet("stats") {
            try show(Event(type: "stats", id: record.id, data: try ResourceUse.read(record.state.cgroupPaths)))
            return 0
        }
        var kills = try CgroupDirectories.oomKills(record.state.cgroupPaths)
        // Looked for at least every second: who waits for the end of a container, or for the killer, does not wait for its statistics.
        let step = min(interval, 1000)
        var elapsed = 0
        while try directory.status(of: record) != .stopped {
            usleep(UInt32(step) * 1000)
            elapsed += step
            let now = try CgroupDirectories.oomKills(record.state.cgroupPaths)
            for _ in 0..<max(0, now - kills) { try show(Event(type: "oom", id: record.id, data: nil)) }
            kills = now
            if elapsed < interval { continue }
            elapsed = 0
            try show(Event(type: "stats", id: record.id, data: try ResourceUse.read(record.state.cgroupPaths)))
        }
        return 0
    }

    /// Milliseconds: "5s", "100ms", "2m" or a number of seconds.
    private static func interval(_ text: String) throws -> Int {
        let digits = text.prefix { $0.isNumber }
        let units = ["": 1000, "s": 1000, "ms": 1, "m": 60_000]
        guard let number = Int(digits), let unit = units[String(text.dropFirst(digits.count))], number > 0, number < 1_000_000 else {
            throw OptionError("--interval \(text) is not a time such as 5s or 100ms")
        }
        return number * unit
    }

    private static func show(_ event: Event) throws { try output(try StrictJSONEncoder().encode(event)) }
}
