import LaunchPlan
import LinuxKernel
extension ContainerInit {
    func installEgressRules() throws {}
    func copyTree(from: borrowing FileDescriptor, to: borrowing FileDescriptor) throws {}
}
enum NetlinkRoute { static func bringUp(_ n: String) throws(KernelError) {} }
