import Glibc
import LaunchPlan
import LinuxKernel

extension LaunchFailure {
    /// A failed system call as one sentence: what was being done, on what, why, and what to do about it.
    init(_ step: LaunchStep.Kind, doing: String, _ error: KernelError, remedy: String = "") {
        let subject = error.subject.isEmpty ? "" : " (\(error.subject))"
        self.init(
            step: step.rawValue, call: error.call, errno: error.errno, subject: error.subject,
            message: "\(doing): \(error.call)\(subject): \(error.reason)" + (remedy.isEmpty ? "" : "; \(remedy)"))
    }

    /// A failure that no system call reported.
    init(_ step: LaunchStep.Kind, _ message: String, errno: Int32 = 0, subject: String = "") {
        self.init(step: step.rawValue, call: "", errno: errno, subject: subject, message: message)
    }
}

/// Runs a part of a step and gives its failure the step's name.
@discardableResult
func performing<Value: ~Copyable>(
    _ step: LaunchStep.Kind, _ doing: @autoclosure () -> String, _ body: () throws -> Value
) throws -> Value {
    do {
        return try body()
    } catch let error as KernelError {
        throw LaunchFailure(step, doing: doing(), error)
    } catch let error as LaunchFailure {
        throw error
    } catch {
        throw LaunchFailure(step, "\(doing()): \(error)")
    }
}
