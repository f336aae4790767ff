/// A value as Go's text/template sees it: what templates are run over, and what listings and `inspect` print.
///
/// It differs from JSON where users of Docker can notice: a struct knows its fields (an unknown one is an error, in a map it
/// is `<no value>`), and a nil list prints `[]` where a nil interface prints `<no value>`.
public indirect enum TemplateValue: Sendable, Equatable {
    /// Go's invalid value: the result of looking up a key that a map does not have. Prints `<no value>`.
    case missing
    /// Nil of the given kind; `null` as JSON.
    case null(NullKind)
    case bool(Bool)
    case int(Int64)
    case uint(UInt64)
    case float(Double)
    case string(String)
    case list([TemplateValue])
    /// A Go map: keys are sorted whenever they are printed or ranged over.
    case map([String: TemplateValue])
    /// A Go struct: fields keep their order, and asking for one it does not have is an error.
    case object(Fields)

    /// What a nil would have held; it decides how templates print it.
    public enum NullKind: Sendable, Equatable {
        case interface, list, map
    }

    /// The ordered fields of a struct.
    public struct Fields: Sendable, Equatable {
        public private(set) var names: [String]
        private var values: [String: TemplateValue]

        /// A later duplicate of a name replaces the value of the first.
        public init(_ pairs: [(String, TemplateValue)] = []) {
            names = []
            values = [:]
            names.reserveCapacity(pairs.count)
            for (name, value) in pairs { self[name] = value }
        }

        /// The value of a field, or nil when the struct has no such field.
        public subscript(name: String) -> TemplateValue? {
            get { values[name] }
            set {
                if values[name] == nil, newValue != nil { names.append(name) }
                if newValue == nil { names.removeAll { $0 == name } }
                values[name] = newValue
            }
        }

        /// Name and value of every field, in order.
        public var pairs: [(name: String, value: TemplateValue)] {
            names.compactMap { name in values[name].map { (name, $0) } }
        }
    }

    /// A struct of the given fields, in that order.
    public static func object(_ pairs: [(String, TemplateValue)]) -> TemplateValue {
        .object(Fields(pairs))
    }

    /// A nil interface.
    public static var null: TemplateValue { .null(.interface) }

    /// Go's truth: false for false, 0, nil and whatever is empty; structs are always true.
    var isTrue: Bool {
        switch self {
        case .missing, .null: false
        case .bool(let value): value
        case .int(let value): value != 0
        case .uint(let value): value != 0
        case .float(let value): value != 0
        case .string(let value): !value.isEmpty
        case .list(let values): !values.isEmpty
        case .map(let values): !values.isEmpty
        case .object: true
        }
    }

    /// The Go type's name, as error messages and `%T` print it.
    var typeName: String {
        switch self {
        case .missing, .null(.interface): "<nil>"
        case .null(.list), .list: "[]interface {}"
        case .null(.map), .map: "map[string]interface {}"
        case .bool: "bool"
        case .int: "int"
        case .uint: "uint64"
        case .float: "float64"
        case .string: "string"
        case .object: "struct"
        }
    }

    /// The pairs of a map in the order of their keys' bytes, as Go prints and ranges over them.
    var sortedPairs: [(key: String, value: TemplateValue)] {
        guard case .map(let values) = self else { return [] }
        return values.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }.map { ($0.key, $0.value) }
    }
}

extension TemplateValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByArrayLiteral, ExpressibleByFloatLiteral
{
    public init(stringLiteral value: String) { self = .string(value) }
    public init(integerLiteral value: Int64) { self = .int(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(floatLiteral value: Double) { self = .float(value) }
    public init(arrayLiteral elements: TemplateValue...) { self = .list(elements) }
}

/// Which fields of a JSON document are maps and lists in Docker's types, so that `{{.Config.Labels.x}}` of an absent label
/// prints `<no value>` where `{{.Cnofig}}` is an error, and a null `Entrypoint` prints `[]`.
public struct TypeHints: Sendable {
    /// Fields whose value is a map from arbitrary keys.
    public var maps: Set<String>
    /// Fields whose value is a list, also when it is null.
    public var lists: Set<String>

    public init(maps: Set<String>, lists: Set<String>) {
        self.maps = maps
        self.lists = lists
    }

    /// The fields of `docker inspect` for containers, images, networks and volumes.
    public static let inspect = TypeHints(
        maps: [
            "Labels", "Volumes", "ExposedPorts", "Networks", "Ports", "PortBindings", "Options", "Sysctls", "Tmpfs",
            "StorageOpt", "Annotations", "Containers", "DriverOpts", "Data", "Opts",
        ],
        lists: [
            "Entrypoint", "Cmd", "Env", "OnBuild", "Shell", "Args", "Mounts", "Binds", "CapAdd", "CapDrop", "Dns",
            "DnsOptions", "DnsSearch", "ExtraHosts", "GroupAdd", "Links", "SecurityOpt", "Devices", "DeviceRequests",
            "DeviceCgroupRules", "Ulimits", "MaskedPaths", "ReadonlyPaths", "RepoTags", "RepoDigests", "Layers",
            "ExecIDs", "Aliases", "DNSNames", "VolumesFrom", "Test",
        ])
}
