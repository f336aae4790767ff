import StrictJSON

/// What a container's monitor and whoever is attached to it tell each other (unix SOCK_SEQPACKET): each packet is one byte for the
/// kind, then the body, at most `AttachFrame.limit` bytes of it.
///
///     client → monitor   0 stdin data · 1 end of stdin · 2 resize (rows u16le, columns u16le) · 3 stdin data may come
///     monitor → client   1 stdout data · 2 stderr data · 3 exit (code i32le) · 10 started (JSON {"pid":N}) · 11 failed (JSON LaunchFailure)
public enum AttachFrame {
    /// Bytes of a body.
    public static let limit = 32768

    /// A packet to the monitor.
    public enum FromClient: Sendable, Equatable {
        case input([UInt8])
        case endOfInput
        case resize(rows: UInt16, columns: UInt16)
        /// This client holds the payload's stdin: when it goes, that ends, unless it stays open for good.
        case beginsInput

        public var encoded: [UInt8] {
            switch self {
            case .input(let bytes): [0] + bytes
            case .endOfInput: [1]
            case .resize(let rows, let columns):
                [2, UInt8(truncatingIfNeeded: rows), UInt8(rows >> 8), UInt8(truncatingIfNeeded: columns), UInt8(columns >> 8)]
            case .beginsInput: [3]
            }
        }

        /// - Throws: `InitMessageError.unknownKind` for what cannot be a packet.
        public init(decoding packet: [UInt8]) throws(InitMessageError) {
            let body = Array(packet.dropFirst())
            switch packet.first {
            case 0: self = .input(body)
            case 1 where body.isEmpty: self = .endOfInput
            case 2 where body.count == 4:
                self = .resize(rows: UInt16(body[0]) | UInt16(body[1]) << 8, columns: UInt16(body[2]) | UInt16(body[3]) << 8)
            case 3 where body.isEmpty: self = .beginsInput
            default: throw .unknownKind
            }
        }
    }

    /// A packet from the monitor.
    public enum FromMonitor: Sendable, Equatable {
        case output([UInt8])
        case errorOutput([UInt8])
        case exited(code: Int32)
        /// The container runs; its first process, as the host numbers it.
        case started(pid: Int32)
        case failed(LaunchFailure)

        public func encoded() throws -> [UInt8] {
            switch self {
            case .output(let bytes): return [1] + bytes
            case .errorOutput(let bytes): return [2] + bytes
            case .exited(let code):
                let word = UInt32(bitPattern: code)
                return [3] + (0..<4).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) }
            case .started(let pid): return [10] + JSONWriter.compact.write(["pid": .number(JSONNumber(pid))])
            case .failed(let failure): return [11] + (try StrictJSONEncoder().encode(failure))
            }
        }

        /// - Throws: for an unknown kind or a body that does not fit it.
        public init(decoding packet: [UInt8]) throws {
            let body = Array(packet.dropFirst())
            switch packet.first {
            case 1: self = .output(body)
            case 2: self = .errorOutput(body)
            case 3 where body.count == 4:
                self = .exited(code: Int32(bitPattern: body.reversed().reduce(0) { $0 << 8 | UInt32($1) }))
            case 10:
                guard let pid = try JSONParser().parse(body)["pid"]?.number?.integer(Int32.self) else { throw InitMessageError.unknownKind }
                self = .started(pid: pid)
            case 11: self = .failed(try StrictJSONDecoder().decode(LaunchFailure.self, from: body))
            default: throw InitMessageError.unknownKind
            }
        }
    }
}
