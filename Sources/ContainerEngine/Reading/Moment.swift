import Rendering

extension Timestamp {
    /// - Parameter nanoseconds: since the epoch.
    public init(nanoseconds: Int64) {
        self.init(seconds: nanoseconds / 1_000_000_000, nanoseconds: Int32(nanoseconds % 1_000_000_000))
    }

    /// With all nine digits, as Docker stores log times: `2024-05-01T10:00:00.123456789Z`.
    public var rfc3339Nano: String {
        let digits = String(nanoseconds)
        let base = Timestamp(seconds: seconds).rfc3339.dropLast()
        return base + "." + String(repeating: "0", count: 9 - digits.count) + digits + "Z"
    }
}
