import Rendering

extension ContainerListing {
    /// What `ps` can show: Docker's fields, and the level of confinement.
    public static let listing = Listing(
        columns: [
            .init("ID", "CONTAINER ID"), .init("Image", "IMAGE"), .init("Command", "COMMAND"), .init("CreatedAt", "CREATED AT"),
            .init("RunningFor", "CREATED"), .init("Status", "STATUS"), .init("State", "STATE"), .init("Ports", "PORTS"),
            .init("Names", "NAMES"), .init("Labels", "LABELS"), .init("LocalVolumes", "LOCAL VOLUMES"),
            .init("Mounts", "MOUNTS"), .init("Networks", "NETWORKS"), .init("Size", "SIZE"), .init("Level", "LEVEL"), .init("Exposure", "EXPOSURE"),
        ],
        defaultColumns: ["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Exposure", "Names"],
        rowType: "*formatter.ContainerContext")

    /// The same with SIZE in the table (`-s`).
    public static let listingWithSize = Listing(
        columns: listing.columns, defaultColumns: listing.defaultColumns + ["Size"], rowType: listing.rowType)

    /// - Parameters:
    ///   - truncated: cut IDs to twelve digits and commands to twenty characters.
    ///   - now: the moment that "CREATED" counts to.
    public func row(truncated: Bool, now: Timestamp = .now) -> TemplateValue {
        let shown = truncated ? HumanUnits.ellipsis(command, width: 20) : command
        let mountNames = mounts.map { truncated ? HumanUnits.ellipsis($0, width: 15) : $0 }
        return .object([
            ("ID", .string(truncated ? HumanUnits.shortID(id) : id)),
            ("Image", .string(image)),
            ("Command", .string("\"" + HumanUnits.printable(shown).map { $0 == "\"" ? "\\\"" : String($0) }.joined() + "\"")),
            ("CreatedAt", .string(Timestamp(seconds: created.seconds).goText)),
            ("RunningFor", .string(HumanUnits.since(created, now: now))),
            ("Status", .string(status)),
            ("State", .string(state)),
            ("Ports", .string(ports)),
            ("Names", .string(name)),
            ("Labels", .string(labels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ","))),
            ("LocalVolumes", .string("\(localVolumes)")),
            ("Mounts", .string(mountNames.joined(separator: ","))),
            ("Networks", .string(network)),
            ("Size", .string(size ?? "0B")),
            ("Level", .string(level)),
            ("Exposure", .string(exposure)),
            ("Label", .map(labels.mapValues { .string($0) })),
        ])
    }
}
