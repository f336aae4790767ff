/// Reads a tar archive strictly: ustar, PAX, GNU long names and base-256 numbers; everything that readers are known to
/// understand differently is an error.
final class TarReader {
    private let source: ByteSource
    private let limits: UnpackLimits
    /// Content of the current entry that has not been read, and its padding.
    private var unread: Int64 = 0
    private var padding: Int64 = 0
    private(set) var entries = 0
    private var ended = false

    init(_ source: ByteSource, limits: UnpackLimits) {
        self.source = source
        self.limits = limits
    }

    /// The next entry, or nil at the end of the archive, which has then been read to the end of the stream.
    func next() throws -> TarEntry? {
        try skipContent()
        if ended { return nil }
        var pax: PAXRecords?
        var longName: [UInt8]?
        var longLink: [UInt8]?
        var headerBytes = 0
        while true {
            guard let block = try source.next(TarHeader.blockSize), let header = try TarHeader(block) else {
                if pax != nil || longName != nil || longLink != nil {
                    throw UnpackFailure("the archive ends after an extended header", isEarlyEnd: true)
                }
                try end()
                return nil
            }
            if "xgLK".utf8.contains(header.typeFlag) {
                guard header.size >= 0, header.size <= Int64(limits.headerBytes - headerBytes) else {
                    throw UnpackFailure("an extended header is longer than \(limits.headerBytes) bytes")
                }
                headerBytes += Int(header.size) + TarHeader.blockSize
            }
            switch header.typeFlag {
            case UInt8(ascii: "x"):
                guard pax == nil else { throw UnpackFailure("an entry has two extended headers") }
                pax = try PAXRecords(try body(header))
            case UInt8(ascii: "g"):
                try PAXRecords.checkGlobal(try body(header))
            case UInt8(ascii: "L"):
                guard longName == nil else { throw UnpackFailure("an entry has two long names") }
                longName = try longText(header)
            case UInt8(ascii: "K"):
                guard longLink == nil else { throw UnpackFailure("an entry has two long link targets") }
                longLink = try longText(header)
            default:
                if (pax?.path != nil && longName != nil) || (pax?.linkPath != nil && longLink != nil) {
                    throw UnpackFailure("an entry has both a PAX and a GNU name")
                }
                return try entry(
                    header, pax, name: pax?.path ?? longName ?? header.name, link: pax?.linkPath ?? longLink ?? header.linkName)
            }
        }
    }

    /// Hands the content of the current entry on, piece by piece.
    func content(_ body: (UnsafeRawBufferPointer) throws -> Void) throws {
        let count = unread
        unread = 0
        try source.forEach(count, body)
    }

    private func skipContent() throws {
        try source.forEach(unread) { _ in }
        unread = 0
        try source.forEach(padding) { _ in }
        padding = 0
    }

    /// Only zeros may follow the end: a second archive behind it would be seen by some readers and not by others.
    private func end() throws {
        ended = true
        if try !source.drain() { throw UnpackFailure("there is data after the end of the archive") }
    }

    private func body(_ header: TarHeader) throws -> [UInt8] {
        var bytes: [UInt8] = []
        try source.forEach(header.size) { bytes += $0 }
        try source.forEach(Self.padding(of: header.size)) { _ in }
        return bytes
    }

    private func longText(_ header: TarHeader) throws -> [UInt8] {
        let bytes = try body(header)
        let text = bytes.prefix { $0 != 0 }
        guard bytes[text.endIndex...].allSatisfy({ $0 == 0 }) else { throw UnpackFailure("a long name contains a NUL byte") }
        return Array(text)
    }

    private static func padding(of size: Int64) -> Int64 { (512 - size % 512) % 512 }

    private func entry(_ header: TarHeader, _ pax: PAXRecords?, name: [UInt8], link: [UInt8]) throws -> TarEntry {
        entries += 1
        guard entries <= limits.entries else { throw UnpackFailure("the archive has more than \(limits.entries) entries") }
        guard !name.isEmpty else { throw UnpackFailure("an entry has no name") }
        guard name.count <= limits.pathBytes else {
            throw UnpackFailure("the path \(printable(name)) is longer than \(limits.pathBytes) bytes")
        }
        let size = pax?.size ?? header.size
        guard size >= 0 else { throw UnpackFailure("the size of \(printable(name)) is negative") }
        let kind = try kind(header.typeFlag, name: name, link: link)
        // Content behind an entry that can have none: some readers skip it, others read it as the next header.
        guard kind == .regular || size == 0 else { throw UnpackFailure("\(printable(name)) has content, but is not a regular file") }
        unread = size
        padding = Self.padding(of: size)
        // 4294967295 is "as it was" to chown(2): whoever extracts would own it.
        guard let user = UInt32(exactly: pax?.user ?? header.user), let group = UInt32(exactly: pax?.group ?? header.group),
            user != .max, group != .max
        else {
            throw UnpackFailure("the owner of \(printable(name)) is not a valid ID")
        }
        return TarEntry(
            path: name, kind: kind, mode: UInt32(truncatingIfNeeded: header.mode & 0o7777), user: user, group: group, size: size,
            modified: pax?.modified ?? (Int(header.modified), 0), attributes: pax?.attributes ?? [])
    }

    private func kind(_ flag: UInt8, name: [UInt8], link: [UInt8]) throws -> TarEntry.Kind {
        switch flag {
        case 0, UInt8(ascii: "0"), UInt8(ascii: "7"):
            // V7 has no type for directories but a slash at the end.
            return flag == 0 && name.last == UInt8(ascii: "/") ? .directory : .regular
        case UInt8(ascii: "1"), UInt8(ascii: "2"):
            guard !link.isEmpty else { throw UnpackFailure("the link \(printable(name)) has no target") }
            guard link.count <= limits.pathBytes else {
                throw UnpackFailure("the target of the link \(printable(name)) is longer than \(limits.pathBytes) bytes")
            }
            return flag == UInt8(ascii: "1") ? .hardLink(target: link) : .symbolicLink(target: link)
        case UInt8(ascii: "3"): return .characterDevice
        case UInt8(ascii: "4"): return .blockDevice
        case UInt8(ascii: "5"): return .directory
        case UInt8(ascii: "6"): return .fifo
        case UInt8(ascii: "S"): throw UnpackFailure("\(printable(name)) is a sparse file, which is not supported in a layer")
        default: throw UnpackFailure("\(printable(name)) has the unknown type \(printable([flag]))")
        }
    }
}
