import LaunchPlan
import OCISpec

/// `linux.netDevices` of a configuration, checked (runtime-spec 1.3, config-linux.md, "Network Devices").
enum NetworkDevicePlan {
    /// Devices with a name of their own come first: a template takes what they leave.
    static func steps(_ linux: RuntimeSpec.Linux, _ namespaces: NamespacePlan, networkInside: Bool) throws -> [LaunchStep] {
        guard let members = linux.netDevices, !members.isEmpty else { return [] }
        guard namespaces.new.contains("net") || namespaces.joins("net") else {
            throw PlanError(
                "linux.netDevices needs a network namespace that is not the host's: add {\"type\": \"network\"} to linux.namespaces")
        }
        // That one exists only when the payload's process has made it, on its own side of the second user namespace.
        if networkInside { throw PlanError("linux.netDevices cannot be combined with NET_ADMIN or NET_RAW over a network namespace of its own") }
        let devices = try members.sorted { $0.key < $1.key }.map { try device($0.key, $0.value.name ?? "") }
        var taken: [String: String] = [:]
        for device in devices where !device.isTemplate {
            if let other = taken.updateValue(device.hostName, forKey: device.name) {
                throw PlanError("linux.netDevices: \(other) and \(device.hostName) would both be \(device.name) in the container")
            }
        }
        return (devices.filter { !$0.isTemplate } + devices.filter(\.isTemplate)).map { .networkDevice($0) }
    }

    private static func device(_ hostName: String, _ name: String) throws -> NetworkDeviceStep {
        if hostName == "lo" { throw PlanError("linux.netDevices names lo: a loopback device cannot leave its network namespace") }
        guard isName(hostName) else { throw PlanError(refusal(of: hostName)) }
        let device = NetworkDeviceStep(hostName: hostName, name: name.isEmpty ? hostName : name)
        let fixed = device.isTemplate ? device.name.dropLast(NetworkDeviceStep.template.count) : device.name[...]
        // The template's two characters stand for at least one digit.
        guard isName(device.isTemplate ? fixed + "0" : fixed) else { throw PlanError(refusal(of: name)) }
        return device
    }

    private static func refusal(of name: String) -> String {
        "linux.netDevices: \"\(name)\" is no name of a network device: 1 to 15 bytes, no white space, \"/\", \":\" or \"%\" (but \"%d\" at the end of a new name)"
    }

    /// What the kernel takes for one (net/core/dev.c, dev_valid_name), and no characters that a terminal obeys.
    private static func isName(_ name: some StringProtocol) -> Bool {
        let bytes = Array(name.utf8)
        // 0xa0 is white space to the kernel, which reads Latin-1.
        return (1...15).contains(bytes.count) && name != "." && name != ".."
            && bytes.allSatisfy { $0 > 0x20 && $0 != 0x7f && $0 != 0xa0 && !"/:%".utf8.contains($0) }
    }
}
