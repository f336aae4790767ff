import Glibc

/// A moment of the proleptic Gregorian calendar in UTC, with nanoseconds, as RFC 3339 writes it.
public struct Timestamp: Sendable, Hashable, Comparable {
    /// Seconds since 1970-01-01T00:00:00Z.
    public let seconds: Int64
    /// Nanoseconds within the second, 0 to 999,999,999.
    public let nanoseconds: Int32

    public init(seconds: Int64, nanoseconds: Int32 = 0) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }

    /// The current time of the system's clock.
    public static var now: Timestamp {
        var value = timespec()
        // CLOCK_REALTIME with a valid pointer cannot fail (clock_gettime(2)).
        clock_gettime(CLOCK_REALTIME, &value)
        return Timestamp(seconds: Int64(value.tv_sec), nanoseconds: Int32(value.tv_nsec))
    }

    /// Go's zero time, 0001-01-01T00:00:00Z, which Docker prints for "never".
    public static let zero = Timestamp(seconds: -62_135_596_800)

    /// The seconds from an earlier moment to this one, negative when it is later.
    public func seconds(since other: Timestamp) -> Double {
        Double(seconds - other.seconds) + Double(nanoseconds - other.nanoseconds) / 1e9
    }

    public static func < (left: Timestamp, right: Timestamp) -> Bool {
        (left.seconds, left.nanoseconds) < (right.seconds, right.nanoseconds)
    }

    /// Reads RFC 3339, with any number of fraction digits and any offset; nil for anything else.
    public init?(rfc3339 text: String) {
        let bytes = Array(text.utf8)
        func number(_ range: Range<Int>) -> Int64? {
            guard range.upperBound <= bytes.count else { return nil }
            var result: Int64 = 0
            for byte in bytes[range] {
                guard (0x30...0x39).contains(byte) else { return nil }
                result = result * 10 + Int64(byte - 0x30)
            }
            return result
        }
        guard bytes.count >= 20, bytes[4] == 0x2d, bytes[7] == 0x2d, bytes[10] | 0x20 == 0x74, bytes[13] == 0x3a,
            bytes[16] == 0x3a, let year = number(0..<4), let month = number(5..<7), let day = number(8..<10),
            let hour = number(11..<13), let minute = number(14..<16), let second = number(17..<19),
            (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60, second <= 60
        else { return nil }
        var position = 19
        var fraction: Int32 = 0
        if bytes[position] == 0x2e {
            let start = position + 1
            position = start
            while position < bytes.count, (0x30...0x39).contains(bytes[position]) { position += 1 }
            guard position > start else { return nil }
            for index in start..<start + 9 {
                fraction = fraction * 10 + (index < position ? Int32(bytes[index] - 0x30) : 0)
            }
        }
        var offset: Int64 = 0
        guard position < bytes.count else { return nil }
        if bytes[position] | 0x20 == 0x7a {
            guard position + 1 == bytes.count else { return nil }
        } else {
            guard position + 6 == bytes.count, bytes[position] == 0x2b || bytes[position] == 0x2d,
                bytes[position + 3] == 0x3a, let hours = number(position + 1..<position + 3),
                let minutes = number(position + 4..<position + 6)
            else { return nil }
            offset = (hours * 60 + minutes) * 60 * (bytes[position] == 0x2d ? -1 : 1)
        }
        let days = Self.days(year: year, month: month, day: day)
        self.init(seconds: days * 86400 + hour * 3600 + minute * 60 + second - offset, nanoseconds: fraction)
    }

    /// RFC 3339 in UTC with as many fraction digits as are needed: `2024-05-01T10:00:00.123Z`.
    public var rfc3339: String {
        let (date, time) = parts
        return date + "T" + time + fraction + "Z"
    }

    /// Go's default text of a time in UTC, which `CreatedAt` of Docker's listings holds: `2024-05-01 10:00:00 +0000 UTC`.
    public var goText: String {
        let (date, time) = parts
        return date + " " + time + " +0000 UTC"
    }

    private var fraction: String {
        guard nanoseconds > 0 else { return "" }
        let digits = String(nanoseconds)
        var padded = Substring(String(repeating: "0", count: 9 - digits.count) + digits)
        while padded.last == "0" { padded = padded.dropLast() }
        return "." + padded
    }

    private var parts: (date: String, time: String) {
        func two(_ value: Int64) -> String { value < 10 ? "0\(value)" : "\(value)" }
        let days = Int64((Double(seconds) / 86400).rounded(.down))
        let rest = seconds - days * 86400
        let (year, month, day) = Self.date(days: days)
        let digits = String(year)
        let padded = String(repeating: "0", count: max(0, 4 - digits.count)) + digits
        return ("\(padded)-\(two(month))-\(two(day))", "\(two(rest / 3600)):\(two(rest / 60 % 60)):\(two(rest % 60))")
    }

    /// Days since 1970-01-01. Years start in March here, so that a leap day is the last day of a year.
    private static func days(year: Int64, month: Int64, day: Int64) -> Int64 {
        let shifted = month <= 2 ? year - 1 : year
        let era = (shifted >= 0 ? shifted : shifted - 399) / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    private static func date(days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let month = monthFromMarch + (monthFromMarch < 10 ? 3 : -9)
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * monthFromMarch + 2) / 5 + 1)
    }
}
