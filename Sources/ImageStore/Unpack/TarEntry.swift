/// One member of a tar archive, with everything that extended headers say about it.
struct TarEntry: Equatable {
    enum Kind: Equatable {
        case regular
        case hardLink(target: [UInt8])
        case symbolicLink(target: [UInt8])
        case characterDevice
        case blockDevice
        case directory
        case fifo
    }

    /// As written, never empty, without NUL.
    var path: [UInt8]
    var kind: Kind
    /// Permission bits with set-ID and sticky bits, 07777 at most.
    var mode: UInt32
    var user: UInt32
    var group: UInt32
    /// Bytes of content; 0 for everything but a regular file.
    var size: Int64
    /// Seconds and nanoseconds since 1970.
    var modified: (seconds: Int, nanoseconds: Int)
    var attributes: [(name: [UInt8], value: [UInt8])]

    static func == (left: TarEntry, right: TarEntry) -> Bool {
        left.path == right.path && left.kind == right.kind && left.mode == right.mode && left.user == right.user
            && left.group == right.group && left.size == right.size && left.modified == right.modified
            && left.attributes.elementsEqual(right.attributes) { $0 == $1 }
    }
}
