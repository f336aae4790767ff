/// Values as D-Bus marshals them (D-Bus specification, "Marshaling"), as far as systemd's interface needs them. Little-endian.
struct DBusWriter {
    private(set) var bytes: [UInt8] = []

    mutating func align(_ boundary: Int) {
        while bytes.count % boundary != 0 { bytes.append(0) }
    }

    mutating func byte(_ value: UInt8) { bytes.append(value) }

    mutating func uint32(_ value: UInt32) {
        align(4)
        withUnsafeBytes(of: value.littleEndian) { bytes += $0 }
    }

    mutating func uint64(_ value: UInt64) {
        align(8)
        withUnsafeBytes(of: value.littleEndian) { bytes += $0 }
    }

    mutating func string(_ value: String) {
        uint32(UInt32(value.utf8.count))
        bytes += Array(value.utf8) + [0]
    }

    mutating func signature(_ value: String) {
        bytes.append(UInt8(value.utf8.count))
        bytes += Array(value.utf8) + [0]
    }

    /// An array; its length counts from the first element, after the padding.
    mutating func array(alignment: Int, _ body: (inout DBusWriter) -> Void) {
        uint32(0)
        let length = bytes.count - 4
        align(alignment)
        let start = bytes.count
        body(&self)
        withUnsafeBytes(of: UInt32(bytes.count - start).littleEndian) { bytes.replaceSubrange(length..<length + 4, with: $0) }
    }

    /// One property of systemd's: a name and a variant.
    mutating func property(_ name: String, _ value: DBusVariant) {
        align(8)
        string(name)
        variant(value)
    }

    mutating func variant(_ value: DBusVariant) {
        signature(value.signature)
        switch value {
        case .string(let text): string(text)
        case .objectPath(let text): string(text)
        case .boolean(let flag): uint32(flag ? 1 : 0)
        case .uint64(let number): uint64(number)
        case .uint32(let number): uint32(number)
        case .uint32s(let numbers): array(alignment: 4) { writer in for number in numbers { writer.uint32(number) } }
        case .bytes(let list): array(alignment: 1) { writer in for byte in list { writer.byte(byte) } }
        case .signature(let text): signature(text)
        }
    }
}

/// The types of a property's value that are used here.
enum DBusVariant: Equatable {
    case string(String), objectPath(String), boolean(Bool), uint64(UInt64), uint32(UInt32), uint32s([UInt32]), bytes([UInt8]), signature(String)

    var signature: String {
        switch self {
        case .string: "s"
        case .objectPath: "o"
        case .boolean: "b"
        case .uint64: "t"
        case .uint32: "u"
        case .uint32s: "au"
        case .bytes: "ay"
        case .signature: "g"
        }
    }
}

/// A message that does not follow the specification: the bus is not one, or is broken.
struct DBusFormatError: Error, CustomStringConvertible {
    let description: String
}

/// Reads what `DBusWriter` writes; every length is checked against what is there.
struct DBusReader {
    private let bytes: [UInt8]
    private(set) var offset: Int

    init(_ bytes: [UInt8], at offset: Int = 0) {
        self.bytes = bytes
        self.offset = offset
    }

    mutating func align(_ boundary: Int) { offset = (offset + boundary - 1) / boundary * boundary }

    mutating func byte() throws -> UInt8 {
        guard offset < bytes.count else { throw DBusFormatError(description: "a message ends too early") }
        offset += 1
        return bytes[offset - 1]
    }

    mutating func uint32() throws -> UInt32 {
        align(4)
        var value: UInt32 = 0
        for shift in 0..<4 { value |= UInt32(try byte()) << (8 * UInt32(shift)) }
        return value
    }

    mutating func string() throws -> String { try text(length: Int(try uint32())) }

    mutating func signature() throws -> String { try text(length: Int(try byte())) }

    private mutating func text(length: Int) throws -> String {
        guard length >= 0, offset + length < bytes.count else { throw DBusFormatError(description: "a text is longer than its message") }
        let text = String(decoding: bytes[offset..<offset + length], as: UTF8.self)
        offset += length + 1
        return text
    }
}

/// One message (D-Bus specification, "Message Protocol").
struct DBusMessage {
    enum Kind: UInt8 { case call = 1, reply, error, signal }

    var kind: Kind
    var serial: UInt32
    var path = ""
    var interface = ""
    var member = ""
    var destination = ""
    var errorName = ""
    var replySerial: UInt32 = 0
    var signature = ""
    var body: [UInt8] = []

    init(call member: String, of interface: String, on path: String, to destination: String, serial: UInt32) {
        kind = .call
        self.serial = serial
        self.path = path
        self.interface = interface
        self.member = member
        self.destination = destination
    }

    /// The header's size field limits what is read before anything is believed.
    static let fixedHeader = 16
    static let limit = 1 << 20

    func encoded() -> [UInt8] {
        var writer = DBusWriter()
        for byte in [UInt8(ascii: "l"), kind.rawValue, 0, 1] { writer.byte(byte) }
        writer.uint32(UInt32(body.count))
        writer.uint32(serial)
        writer.array(alignment: 8) { writer in
            func field(_ code: UInt8, _ value: DBusVariant) {
                writer.align(8)
                writer.byte(code)
                writer.variant(value)
            }
            field(1, .objectPath(path))
            if !interface.isEmpty { field(2, .string(interface)) }
            field(3, .string(member))
            if !destination.isEmpty { field(6, .string(destination)) }
            if !signature.isEmpty { field(8, .signature(signature)) }
        }
        writer.align(8)
        return writer.bytes + body
    }

    /// The length of a whole message from its first 16 bytes.
    static func length(ofHeader header: [UInt8]) throws -> Int {
        guard header.count >= fixedHeader, header[0] == UInt8(ascii: "l") else {
            throw DBusFormatError(description: "the bus sends messages of another byte order")
        }
        var reader = DBusReader(header, at: 4)
        let body = Int(try reader.uint32())
        reader = DBusReader(header, at: 12)
        let fields = Int(try reader.uint32())
        let length = fixedHeader + (fields + 7) / 8 * 8 + body
        guard body <= limit, fields <= limit, length <= limit else { throw DBusFormatError(description: "a message of the bus is too long") }
        return length
    }

    init(decoding bytes: [UInt8]) throws {
        guard bytes.count >= Self.fixedHeader, let kind = Kind(rawValue: bytes[1]) else {
            throw DBusFormatError(description: "a message of an unknown kind")
        }
        self.kind = kind
        var reader = DBusReader(bytes, at: 4)
        let bodyLength = Int(try reader.uint32())
        serial = try reader.uint32()
        let end = Int(try reader.uint32()) + Self.fixedHeader
        while reader.offset < end {
            reader.align(8)
            let code = try reader.byte()
            switch try reader.signature() {
            case "s", "o":
                let text = try reader.string()
                switch code {
                case 1: path = text
                case 2: interface = text
                case 3: member = text
                case 4: errorName = text
                default: break
                }
            case "g": signature = try reader.signature()
            case "u":
                let number = try reader.uint32()
                if code == 5 { replySerial = number }
            case let other: throw DBusFormatError(description: "a header field of the type \(other)")
            }
        }
        reader.align(8)
        guard reader.offset + bodyLength == bytes.count else { throw DBusFormatError(description: "a message has another length than it says") }
        body = Array(bytes[reader.offset...])
    }
}
