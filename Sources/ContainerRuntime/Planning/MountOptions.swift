import LaunchPlan
import LinuxKernel

/// The options of an OCI mount (runtime-spec, "Linux mount options"), taken apart.
struct MountOptions {
    var set: MountAttributes = []
    var clear: MountAttributes = []
    var recursiveAttributes = false
    var bind = false
    var recursiveBind = false
    var propagation: MountPropagation?
    var copyUp = false
    var idMapped = false
    /// What is left: parameters of the file system itself.
    var parameters: [MountOption] = []

    private enum Effect {
        case set(MountAttributes), clear(MountAttributes), bind(recursive: Bool), propagate(MountPropagation)
        case copyUp, idMapped, nothing
    }

    /// One table: option, effect. An "r" before a flag makes it reach submounts (Linux 5.12).
    private static let table: [String: Effect] = [
        "ro": .set(.readOnly), "rw": .clear(.readOnly), "nosuid": .set(.noSetuid), "suid": .clear(.noSetuid),
        "nodev": .set(.noDevices), "dev": .clear(.noDevices), "noexec": .set(.noExecute), "exec": .clear(.noExecute),
        "noatime": .set(.noAccessTime), "atime": .clear(.noAccessTime), "strictatime": .set(.strictAccessTime),
        "relatime": .clear([.noAccessTime, .strictAccessTime]), "nodiratime": .set(.noDirectoryAccessTime),
        "diratime": .clear(.noDirectoryAccessTime), "nosymfollow": .set(.noSymlinkFollow),
        "symfollow": .clear(.noSymlinkFollow), "bind": .bind(recursive: false), "rbind": .bind(recursive: true),
        "private": .propagate(.private), "rprivate": .propagate(.private), "slave": .propagate(.slave),
        "rslave": .propagate(.slave), "shared": .propagate(.shared), "rshared": .propagate(.shared),
        "unbindable": .propagate(.unbindable), "runbindable": .propagate(.unbindable), "tmpcopyup": .copyUp,
        "idmap": .idMapped, "ridmap": .idMapped, "defaults": .nothing, "async": .nothing, "norelatime": .nothing,
        "nostrictatime": .nothing, "nomand": .nothing, "silent": .nothing, "loud": .nothing, "noiversion": .nothing,
    ]

    init(_ options: [String]) {
        for option in options {
            if let effect = Self.table[option] {
                apply(effect)
            } else if option.hasPrefix("r"), let effect = Self.table[String(option.dropFirst())], isAttribute(effect) {
                recursiveAttributes = true
                apply(effect)
            } else if let equals = option.firstIndex(of: "=") {
                parameters.append(MountOption(key: String(option[..<equals]), value: String(option[option.index(after: equals)...])))
            } else if !option.isEmpty {
                parameters.append(MountOption(key: option, value: nil))
            }
        }
    }

    private func isAttribute(_ effect: Effect) -> Bool {
        switch effect {
        case .set, .clear: true
        default: false
        }
    }

    private mutating func apply(_ effect: Effect) {
        switch effect {
        case .set(let attribute):
            set.insert(attribute)
            clear.remove(attribute)
        case .clear(let attribute):
            clear.insert(attribute)
            set.remove(attribute)
        case .bind(let recursive):
            bind = true
            recursiveBind = recursive
        case .propagate(let kind): propagation = kind
        case .copyUp: copyUp = true
        case .idMapped: idMapped = true
        case .nothing: break
        }
    }
}
