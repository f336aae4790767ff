import Glibc
import LaunchPlan
import LinuxKernel

/// The options of a bind mount, on its detached tree: before anybody can see it.
enum BindOptions {
    static func set(on tree: borrowing FileDescriptor, _ mount: MountStep) throws(KernelError) {
        // A volume that is still to be filled becomes read-only after that.
        let later = mount.copyUp ? MountAttributes.readOnly : []
        let set = MountAttributes(rawValue: mount.setAttributes).subtracting(later)
        let clear = MountAttributes(rawValue: mount.clearAttributes)
        if !clear.isEmpty { try relax(tree, clear) }
        if !set.isEmpty { try Mounts.setAttributes(tree, set: set, clear: [], recursive: false) }
        let (below, open) = (MountAttributes(rawValue: mount.recursiveSet).subtracting(later), MountAttributes(rawValue: mount.recursiveClear))
        if !below.isEmpty || !open.isEmpty { try Mounts.setAttributes(tree, set: below, clear: open, recursive: true) }
        let propagation = mount.propagation.flatMap { MountPropagation(rawValue: $0) } ?? .private
        try Mounts.setAttributes(tree, propagation: propagation, recursive: mount.recursivePropagation)
    }

    private static let lockable: MountAttributes = [
        .readOnly, .noExecute, .noDevices, .noSetuid, .noAccessTime, .strictAccessTime, .noDirectoryAccessTime,
    ]

    private static func relax(_ tree: borrowing FileDescriptor, _ clear: MountAttributes) throws(KernelError) {
        let free = clear.subtracting(lockable)
        if !free.isEmpty { try Mounts.setAttributes(tree, clear: free, recursive: false) }
        if clear == free { return }
        do {
            try Mounts.setAttributes(tree, clear: clear.intersection(lockable), recursive: false)
        } catch  where error.errno == EPERM {
            // The host has locked the flag on the source; the mount stays as closed as the host has it.
        }
    }
}
