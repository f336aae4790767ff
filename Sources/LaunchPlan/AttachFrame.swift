import StrictJSON

/// One packet between a container's monitor and whoever is attached to it (unix SOCK_SEQPACKET): one byte for the kind,
/// then the body, at most `AttachFrame.limit` bytes of it.
public enum AttachFrame: Sendable, Equatable {
    // to the monitor
    case input([UInt8])
    case endOfInput
    case resize(rows: UInt16, columns: UInt16)
    // from the monitor
    case output([UInt8])
    case errorOutput([UInt8])
    case exited(code: Int32)
    case started(pid: Int32)
    case failed(LaunchFailure)

    /// Bytes of a body.
    public static let limit = 32768

    private struct Started: Codable { var pid: Int32 }

    public func encoded() throws -> [UInt8] {
        switch self {
        case .input(let bytes): return [0] + bytes
        case .endOfInput: return [1]
        case .resize(let rows, let columns):
            return [2, UInt8(truncatingIfNeeded: rows), UInt8(rows >> 8), UInt8(truncatingIfNeeded: columns), UInt8(columns >> 8)]
        case .output(let bytes): return [1] + bytes
        case .errorOutput(let bytes): return [2] + bytes
        case .exited(let code):
            let word = UInt32(bitPattern: code)
            return [3] + (0..<4).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) }
        case .started(let pid): return [10] + (try StrictJSONEncoder().encode(Started(pid: pid)))
        case .failed(let failure): return [11] + (try StrictJSONEncoder().encode(failure))
        }
    }

    /// Decodes what a client sent.
    public init(fromClient packet: [UInt8]) throws {
        let body = packet.dropFirst()
        switch packet.first {
        case 0: self = .input(Array(body))
        case 1 where body.isEmpty: self = .endOfInput
        case 2 where body.count == 4:
            let bytes = Array(body).map(UInt16.init)
            self = .resize(rows: bytes[0] | bytes[1] << 8, columns: bytes[2] | bytes[3] << 8)
        default: throw InitMessageError.unknownKind
        }
    }

    /// Decodes what the monitor sent.
    public init(fromMonitor packet: [UInt8]) throws {
        let body = Array(packet.dropFirst())
        switch packet.first {
        case 1: self = .output(body)
        case 2: self = .errorOutput(body)
        case 3 where body.count == 4:
            self = .exited(code: Int32(bitPattern: body.reversed().reduce(0) { $0 << 8 | UInt32($1) }))
        case 10: self = .started(pid: try StrictJSONDecoder().decode(Started.self, from: body).pid)
        case 11: self = .failed(try StrictJSONDecoder().decode(LaunchFailure.self, from: body))
        default: throw InitMessageError.unknownKind
        }
    }
}
