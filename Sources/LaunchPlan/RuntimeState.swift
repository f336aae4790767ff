import StrictJSON

/// What the monitor writes as `state.json`: the container's dynamic state. The monitor is its only writer.
public struct RuntimeState: Codable, Sendable, Equatable {
    public static let fileName = "state.json"

    public enum Status: String, Codable, Sendable { case running, exited }

    public var status: Status
    /// The payload's PID 1, as the host sees it.
    public var pid: Int32
    /// Start time of `pid` in clock ticks since boot (proc_pid_stat(5), field 22), so that a reused PID is noticed.
    public var pidStartTicks: UInt64
    /// The monitor, as the host sees it.
    public var monitorPid: Int32
    public var monitorStartTicks: UInt64
    /// Nanoseconds since the epoch.
    public var startedAt: Int64
    /// Nanoseconds since the epoch; 0 while running.
    public var finishedAt: Int64
    /// 0…255; 128+n when signal n ended the payload. Meaningless while running.
    public var exitCode: Int32
    public var oomKilled: Bool
    /// Cgroup directories that belong to this container, absolute host paths; empty where none could be had.
    public var cgroupPaths: [String]
    /// What each step of the launch came to.
    public var outcomes: Deferred<[StepOutcome]>
    /// The boot that this state belongs to (/proc/sys/kernel/random/boot_id).
    public var bootID: String
    /// IPv4 address inside, where an outbound network exists.
    public var ipAddress: String?

    public init(
        status: Status, pid: Int32, pidStartTicks: UInt64, monitorPid: Int32, monitorStartTicks: UInt64, startedAt: Int64,
        finishedAt: Int64, exitCode: Int32, oomKilled: Bool, cgroupPaths: [String], outcomes: [StepOutcome], bootID: String,
        ipAddress: String?
    ) {
        self.status = status
        self.pid = pid
        self.pidStartTicks = pidStartTicks
        self.monitorPid = monitorPid
        self.monitorStartTicks = monitorStartTicks
        self.startedAt = startedAt
        self.finishedAt = finishedAt
        self.exitCode = exitCode
        self.oomKilled = oomKilled
        self.cgroupPaths = cgroupPaths
        self.outcomes = Deferred(outcomes)
        self.bootID = bootID
        self.ipAddress = ipAddress
    }
}

extension RuntimeState {
    /// By the document and not by type: it is read by every command that names a container, and the first container of a keyed type costs more
    /// than the rest of the reading.
    public init(from decoder: any Decoder) throws {
        let members = try JSONMembers(of: try JSONValue(from: decoder), path: decoder.codingPath)
        guard let status = Status(rawValue: try members.string("status")) else {
            throw members.error("status", "expected running or exited, found “\(try members.string("status"))”")
        }
        self.status = status
        pid = try members.integer("pid")
        pidStartTicks = try members.integer("pidStartTicks")
        monitorPid = try members.integer("monitorPid")
        monitorStartTicks = try members.integer("monitorStartTicks")
        startedAt = try members.integer("startedAt")
        finishedAt = try members.integer("finishedAt")
        exitCode = try members.integer("exitCode")
        oomKilled = try members.bool("oomKilled")
        cgroupPaths = try members.strings("cgroupPaths")
        outcomes = Deferred(document: try members.value("outcomes"))
        bootID = try members.string("bootID")
        ipAddress = try members.isPresent("ipAddress") ? try members.string("ipAddress") : nil
    }

    /// The state.json of a container that has ended, made of the one from when it was started.
    ///
    /// By the document, not by type: a monitor that decodes no type while its container runs stays small, and decoding the first
    /// one costs a millisecond.
    ///
    /// - Parameter finishedAt: nanoseconds since the epoch.
    /// - Throws: `JSONSyntaxError` or `InitMessageError.unexpected` when `document` is no state.
    public static func ended(_ document: [UInt8], exitCode: Int32, oomKilled: Bool, finishedAt: Int64) throws -> [UInt8] {
        guard var object = try JSONParser().parse(document).object, object["status"] == .string(Status.running.rawValue) else {
            throw InitMessageError.unexpected
        }
        object["status"] = .string(Status.exited.rawValue)
        object["exitCode"] = .number(JSONNumber(exitCode))
        object["oomKilled"] = .bool(oomKilled)
        object["finishedAt"] = .number(JSONNumber(finishedAt))
        return JSONWriter.compact.write(.object(object))
    }
}
