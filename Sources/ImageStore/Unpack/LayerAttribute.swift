/// Which extended attributes of a layer are kept.
///
/// - `user.*` is the image's own, except `user.overlay.*`, by which a layer could redirect or copy from other layers.
/// - `security.capability` is kept and bound to the container's root (vfs_ns_cap_data, Linux 4.14): outside of the
///   container's user namespace it means nothing, inside it works only where the user has lifted no_new_privs.
/// - Everything else (`trusted.*`, `system.*` with IDs of another system, `security.*` labels) is not the image's to say.
enum LayerAttribute {
    private static let capability = Array("security.capability".utf8)

    /// The value to set, or nil when the attribute is dropped.
    static func value(_ name: [UInt8], _ value: [UInt8], rootID: UInt32, path: [UInt8]) throws -> [UInt8]? {
        if name == capability { return try capabilities(value, rootID: rootID, path: path) }
        guard name.starts(with: "user.".utf8), !name.starts(with: "user.overlay.".utf8) else { return nil }
        guard name.count <= 255, !name.contains(0), value.count <= 65536 else {
            throw UnpackFailure("\(printable(path)) has the extended attribute \(printable(name)), which is too long or not valid")
        }
        return value
    }

    /// File capabilities, whatever their revision, as revision 3 of this container root.
    private static func capabilities(_ value: [UInt8], rootID: UInt32, path: [UInt8]) throws -> [UInt8] {
        let bad = UnpackFailure("the file capabilities of \(printable(path)) are not valid")
        // struct vfs_cap_data: magic, then two pairs of 32-bit words; revision 3 adds the root's ID. All little-endian.
        guard value.count == 20 || value.count == 24, value[0] <= 1, value[1] == 0, value[2] == 0 else { throw bad }
        guard value[3] == (value.count == 20 ? 2 : 3) else { throw bad }
        let effective = value[0]
        return [effective, 0, 0, 3] + value[4..<20] + (0..<4).map { UInt8(truncatingIfNeeded: rootID >> ($0 * 8)) }
    }
}
