import LaunchPlan
import LinuxKernel
import OCISpec
import StrictJSON

/// Hands the listener of a filter to the agent behind `seccomp.listenerPath` (runtime-spec, config-linux.md, "The Container Process State").
enum FilterListener {
    private struct ProcessState: Codable {
        var ociVersion = RuntimeSpec.currentVersion
        var fds = ["seccompFd"]
        var pid: Int32
        var metadata: String?
        var state: RuntimeContainerState
    }

    static func deliver(_ listener: borrowing FileDescriptor, _ plan: LaunchPlan, _ state: RuntimeContainerState?) throws {
        for step in plan.steps {
            if case .systemCallFilter(let filter) = step { return try deliver(listener, filter.profile, state) }
        }
        throw InitMessageError.unexpected
    }

    static func deliver(_ listener: borrowing FileDescriptor, _ profile: RuntimeSpec.Seccomp, _ state: RuntimeContainerState?) throws {
        guard let path = profile.listenerPath, let state else { throw InitMessageError.unexpected }
        let own = try listener.duplicate()
        try performing(.systemCallFilter, "failed to connect with seccomp agent \(path)") {
            let agent = try UnixSocket.connect(path, .stream)
            let text = try StrictJSONEncoder().encode(
                ProcessState(pid: state.pid ?? 0, metadata: profile.listenerMetadata, state: state))
            try agent.sendMessage(text, with: own)
        }
    }
}
