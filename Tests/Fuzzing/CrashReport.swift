import Glibc

func environment(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

/// Says which case a thread was at when the program crashes, or does not come to an end: the text is kept where a signal's handler can write it from.
enum CrashReport {
    private static let slots = 64
    private static let slotBytes = 4096
    /// Seconds of a thread's own processor time for one case: none needs a hundredth of it.
    private static let limit = 20

    private struct State: @unchecked Sendable {
        /// One thread each, 0 for none, and the length of its text.
        let threads = UnsafeMutablePointer<pthread_t>.allocate(capacity: slots)
        let lengths = UnsafeMutablePointer<Int>.allocate(capacity: slots)
        let texts = UnsafeMutablePointer<UInt8>.allocate(capacity: slots * slotBytes)
        /// When the thread began its case, in seconds of its processor time, and its clock.
        let began = UnsafeMutablePointer<Int>.allocate(capacity: slots)
        let clocks = UnsafeMutablePointer<clockid_t>.allocate(capacity: slots)
        let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)

        init() {
            threads.initialize(repeating: 0, count: slots)
            lengths.initialize(repeating: 0, count: slots)
            texts.initialize(repeating: 0, count: slots * slotBytes)
            began.initialize(repeating: 0, count: slots)
            clocks.initialize(repeating: 0, count: slots)
            lock.initialize(to: pthread_mutex_t())
            for number in [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGABRT, SIGFPE] {
                signal(number) { number in
                    CrashReport.tell(CrashReport.slot(of: pthread_self()))
                    signal(number, SIG_DFL)
                    raise(number)
                }
            }
            var watcher = pthread_t()
            pthread_create(&watcher, nil, { _ in CrashReport.watch() }, nil)
            pthread_detach(watcher)
        }
    }

    private static let state = State()

    /// Gives the calling thread a slot.
    static func install() {
        pthread_mutex_lock(state.lock)
        defer { pthread_mutex_unlock(state.lock) }
        guard slot(of: pthread_self()) == nil, let free = (0..<slots).first(where: { state.threads[$0] == 0 }) else { return }
        pthread_getcpuclockid(pthread_self(), state.clocks + free)
        state.threads[free] = pthread_self()
    }

    /// The calling thread begins a case.
    static func begin(_ text: String) {
        guard let slot = slot(of: pthread_self()) else { return }
        let bytes = Array(text.utf8.prefix(slotBytes - 1)) + [UInt8(ascii: "\n")]
        for (position, byte) in bytes.enumerated() { state.texts[slot * slotBytes + position] = byte }
        state.lengths[slot] = bytes.count
        state.began[slot] = seconds(state.clocks[slot])
    }

    /// The calling thread is done.
    static func finish() {
        guard let slot = slot(of: pthread_self()) else { return }
        state.lengths[slot] = 0
        state.threads[slot] = 0
    }

    private static func slot(of thread: pthread_t) -> Int? {
        var slot = 0
        while slot < slots {
            if state.threads[slot] == thread { return slot }
            slot += 1
        }
        return nil
    }

    /// Async-signal-safe.
    private static func tell(_ slot: Int?) {
        guard let slot, state.lengths[slot] > 0 else { return }
        write(2, state.texts + slot * slotBytes, state.lengths[slot])
    }

    private static func seconds(_ clock: clockid_t) -> Int {
        var time = timespec()
        return clock_gettime(clock, &time) == 0 ? time.tv_sec : 0
    }

    private static func watch() -> Never {
        while true {
            sleep(1)
            for slot in 0..<slots where state.threads[slot] != 0 && state.lengths[slot] > 0 {
                if seconds(state.clocks[slot]) - state.began[slot] < limit { continue }
                tell(slot)
                let complaint = "  → not done after \(limit) s of processor time\n"
                complaint.withCString { _ = write(2, $0, complaint.utf8.count) }
                abort()
            }
        }
    }
}
