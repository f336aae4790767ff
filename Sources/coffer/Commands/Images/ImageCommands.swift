import ArgumentParser
import ContainerEngine
import Glibc
import ImageStore
import LinuxKernel
import OCISpec
import PullMessages
import Rendering

/// What the commands about images share.
enum ImageCommands {
    /// The image store of this state root. No database is opened: that is the containers'.
    static func store() throws -> ImageStore { try told { try Invocation.stateRoot().imageStore(warn: Invocation.warn) } }

    /// Runs `body`; what an image, a registry or the store refuses becomes one sentence and exit code 1.
    static func told<Value>(_ body: () throws -> Value) throws -> Value {
        do {
            return try body()
        } catch let failure as PullFailure {
            if let signal = failure.signal {
                Terminal.write("coffer: \(HumanUnits.printable(failure.message))\n", to: 2)
                throw ContainedExit(code: 128 + signal)
            }
            throw EngineError(failure.message, code: .failure)
        } catch let error as ImageStoreError {
            throw EngineError(error.description, code: .failure)
        } catch let error as ImageReferenceError {
            throw EngineError(error.description, code: .failure)
        } catch let error as KernelError {
            throw EngineError(error.description, code: .failure)
        }
    }

    /// Does something for each name; a failure does not keep it from the others, and the exit code is then 1.
    static func forEach(_ names: [String], _ body: (String) throws -> Void) throws {
        if names.isEmpty { throw UsageError.tooFewArguments(1) }
        var failures: [EngineError] = []
        for name in names {
            do {
                try told { try body(name) }
            } catch let error as EngineError {
                failures.append(error)
            }
        }
        try Invocation.finish(failures)
    }

    /// The platform that `--platform` names.
    static func platform(_ text: String?) throws -> Platform? {
        guard let text else { return nil }
        guard let platform = Platform(text) else {
            throw EngineError("invalid platform: '\(text)'", remedy: "write for example linux/arm64", code: .failure)
        }
        return platform
    }

    /// A container that uses the image, by name; for `rmi` and `prune`.
    static func user(of image: Digest, _ engine: Engine) throws -> String? {
        try engine.database.containers(ofImage: image.description).first?.name
    }

    static func print(_ line: String) { Terminal.write(HumanUnits.printable(line) + "\n", to: 1) }
}

/// Shows how far the layers of an image are.
struct LayerBars: Sendable {
    let bars: ProgressBars

    init(isQuiet: Bool) { bars = ProgressBars(isQuiet: isQuiet) }

    /// During a pull.
    func show(_ digest: Digest, _ event: LayerEvent) {
        switch event {
        case .waiting: bars.set(digest.short, "Waiting", isPassing: true)
        case .exists: bars.set(digest.short, "Already exists")
        case .downloading(let done, let total): advance(digest, "Downloading", done, total)
        case .retrying(let reason): bars.set(digest.short, "Retrying (\(reason))")
        case .downloaded: bars.set(digest.short, "Download complete", isPassing: true)
        case .extracting(let done, let total): advance(digest, "Extracting", done, total)
        case .complete: bars.set(digest.short, "Pull complete")
        }
    }

    /// During a load or an import.
    func show(_ progress: TransferProgress) {
        switch progress.phase {
        case .copying: advance(progress.digest, "Loading", progress.completed, progress.total)
        case .extracting: advance(progress.digest, "Extracting", progress.completed, progress.total)
        case .exists: bars.set(progress.digest.short, "Already exists")
        case .done: bars.set(progress.digest.short, "Complete")
        }
    }

    private func advance(_ digest: Digest, _ text: String, _ done: Int64, _ total: Int64) {
        // A whole archive has no digest.
        let label = digest.hex.contains { $0 != "0" } ? digest.short : "archive"
        bars.advance(label, text, done: UInt64(max(0, done)), total: total > 0 ? UInt64(total) : nil)
    }
}
