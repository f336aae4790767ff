import Glibc

/// A system call that failed: which one, why, and on what.
public struct KernelError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The call's name as in its man page.
    public let call: String
    /// The error number (errno(3)).
    public let errno: Int32
    /// What it was done to: a path, a name; "" when there is nothing to name.
    public let subject: String

    public init(call: String, errno: Int32, subject: String = "") {
        self.call = call
        self.errno = errno
        self.subject = subject
    }

    /// The error that the calling thread's `errno` holds now.
    public static func last(_ call: String, _ subject: String = "") -> KernelError {
        KernelError(call: call, errno: Glibc.errno, subject: subject)
    }

    /// The reason in the kernel's words ("Permission denied").
    public var reason: String { String(cString: strerror(errno)) }

    public var description: String {
        subject.isEmpty ? "\(call): \(reason)" : "\(call) \(subject): \(reason)"
    }
}

/// Runs a system call again for as long as a signal interrupts it.
///
/// - Parameter call: returns -1 and sets `errno` on failure.
/// - Throws: `KernelError` with the error number.
@discardableResult
@inlinable
public func retrying<Value: FixedWidthInteger & SignedInteger>(
    _ name: StaticString, _ subject: @autoclosure () -> String = "", _ call: () -> Value
) throws(KernelError) -> Value {
    while true {
        let value = call()
        if value != -1 { return value }
        let number = Glibc.errno
        if number != EINTR { throw KernelError(call: name.description, errno: number, subject: subject()) }
    }
}
