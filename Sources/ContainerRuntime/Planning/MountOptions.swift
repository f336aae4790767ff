import LaunchPlan
import LinuxKernel

/// The options of an OCI mount (runtime-spec, "Linux mount options"), taken apart.
struct MountOptions {
    var set: MountAttributes = []
    var clear: MountAttributes = []
    /// What "rro" and the like set and clear, submounts included.
    var recursiveSet: MountAttributes = []
    var recursiveClear: MountAttributes = []
    var bind = false
    var recursiveBind = false
    var propagation: MountPropagation?
    /// "rslave" and the like.
    var recursivePropagation = false
    var copyUp = false
    /// "idmap", or "ridmap" for submounts too.
    var idMap: IDMap?
    /// One flag of a mount was given at least, to be set or to be cleared; not counted are those that reach submounts.
    var givesFlags = false
    /// One of the flags that times of access go by.
    var givesAccessTime = false
    var links: MountLinks = []
    /// What is left: parameters of the file system itself.
    var parameters: [MountOption] = []

    enum IDMap: Sendable { case one, recursive }

    private enum Effect {
        case set(MountAttributes), clear(MountAttributes), bind(recursive: Bool), propagate(MountPropagation, recursive: Bool)
        case copyUp, idMap(IDMap), links(MountLinks), nothing
        /// A flag, with no effect of its own.
        case idle
    }

    /// All names, for `features`.
    static let names: [String] =
        (table.keys + table.compactMap { isAttribute($0.value) && !["suid", "dev", "exec"].contains($0.key) ? "r" + $0.key : nil }
        + ["rsuid", "rdev", "rexec"]).sorted()

    /// One table: option, effect. An "r" before a flag makes it reach submounts (Linux 5.12).
    private static let table: [String: Effect] = [
        "ro": .set(.readOnly), "rw": .clear(.readOnly), "nosuid": .set(.noSetuid), "suid": .clear(.noSetuid),
        "nodev": .set(.noDevices), "dev": .clear(.noDevices), "noexec": .set(.noExecute), "exec": .clear(.noExecute),
        "noatime": .set(.noAccessTime), "atime": .clear(.noAccessTime), "strictatime": .set(.strictAccessTime),
        "relatime": .clear([.noAccessTime, .strictAccessTime]), "nodiratime": .set(.noDirectoryAccessTime),
        "diratime": .clear(.noDirectoryAccessTime), "nosymfollow": .set(.noSymlinkFollow),
        "symfollow": .clear(.noSymlinkFollow), "bind": .bind(recursive: false), "rbind": .bind(recursive: true),
        "private": .propagate(.private, recursive: false), "rprivate": .propagate(.private, recursive: true),
        "slave": .propagate(.slave, recursive: false), "rslave": .propagate(.slave, recursive: true),
        "shared": .propagate(.shared, recursive: false), "rshared": .propagate(.shared, recursive: true),
        "unbindable": .propagate(.unbindable, recursive: false), "runbindable": .propagate(.unbindable, recursive: true),
        "tmpcopyup": .copyUp, "idmap": .idMap(.one), "ridmap": .idMap(.recursive), "defaults": .nothing, "async": .idle, "norelatime": .idle,
        "nostrictatime": .idle, "nomand": .idle, "silent": .idle, "loud": .idle, "noiversion": .idle,
        "src-nofollow": .links(.source), "dest-nofollow": .links(.destination), "copy-symlink": .links(.copied),
    ]

    init(_ options: [String]) {
        for option in options {
            if let effect = Self.table[option] {
                apply(effect)
                note(option, effect)
            } else if option.hasPrefix("r"), let effect = Self.table[String(option.dropFirst())], Self.isAttribute(effect) {
                applyRecursively(effect)
            } else if let equals = option.firstIndex(of: "=") {
                parameters.append(MountOption(key: String(option[..<equals]), value: String(option[option.index(after: equals)...])))
            } else if !option.isEmpty {
                parameters.append(MountOption(key: option, value: nil))
            }
        }
    }

    private mutating func note(_ option: String, _ effect: Effect) {
        switch effect {
        case .set, .clear, .idle: givesFlags = true
        default: break
        }
        if ["noatime", "nodiratime", "relatime", "strictatime"].contains(option) { givesAccessTime = true }
    }

    private static func isAttribute(_ effect: Effect) -> Bool {
        switch effect {
        case .set, .clear: true
        default: false
        }
    }

    private mutating func applyRecursively(_ effect: Effect) {
        apply(effect)
        switch effect {
        case .set(let attribute):
            recursiveSet.insert(attribute)
            recursiveClear.remove(attribute)
        case .clear(let attribute):
            recursiveClear.insert(attribute)
            recursiveSet.remove(attribute)
        default: break
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
        case .propagate(let kind, let recursive):
            propagation = kind
            recursivePropagation = recursive
        case .copyUp: copyUp = true
        case .idMap(let kind): idMap = kind
        case .links(let kind): links.insert(kind)
        case .nothing, .idle: break
        }
    }
}
