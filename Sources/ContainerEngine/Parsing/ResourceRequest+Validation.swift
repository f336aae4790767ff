extension ResourceRequest {
    /// Checks figures against each other.
    ///
    /// - Throws: `EngineError` in Docker's words.
    public func validate() throws(EngineError) {
        // Docker's minimum: a runtime cannot start a program in less.
        if let memory, memory != 0, memory < 6 << 20 { throw EngineError("Minimum memory limit allowed is 6MB") }
        if let memorySwap, memorySwap > 0 {
            guard let memory, memory > 0 else {
                throw EngineError("You should always set the Memory limit when using Memoryswap limit", remedy: "add --memory")
            }
            if memorySwap < memory {
                throw EngineError("Minimum memoryswap limit should be larger than memory limit", remedy: "raise --memory-swap")
            }
        }
        if let memoryReservation, let memory, memory > 0, memoryReservation > memory {
            throw EngineError("Minimum memory limit can not be less than memory reservation limit")
        }
        if let cpuShares, cpuShares != 0, cpuShares < 2 || cpuShares > 262_144 {
            throw EngineError("invalid CPU shares: \(cpuShares)", remedy: "use 2…262144")
        }
        if let pids, pids < -1 { throw EngineError("invalid PIDs limit: \(pids)", remedy: "use a positive number, or -1 for none") }
        if let oomScoreAdjust, !(-1000...1000).contains(oomScoreAdjust) {
            throw EngineError("Invalid value \(oomScoreAdjust), range for oom score adj is [-1000, 1000]")
        }
    }
}
