import Testing

@testable import ContainerRuntime

@Suite("what a container may say to the service manager")
struct NotificationMessageTests {
    private func passed(_ text: String) -> [String] { NotificationMessage(Array(text.utf8)).lines.map(\.text) }

    @Test("what the program says of itself is passed on, in its order")
    func own() {
        let lines = ["RELOADING=1", "MONOTONIC_USEC=18446744073709551615", "STATUS=ü 3/5"]
        #expect(passed(lines.joined(separator: "\n")) == lines)
        #expect(passed("READY=1\n\nSTOPPING=1\nWATCHDOG=1\n") == ["READY=1", "STOPPING=1", "WATCHDOG=1"])
    }

    /// Every other assignment of sd_notify(3) and sd_pid_notify_with_fds(3).
    @Test(
        "what is said of processes, descriptors and the manager itself is not",
        arguments: [
            "MAINPID=1", "MAINPIDFD=1", "FDSTORE=1", "FDSTOREREMOVE=1", "FDNAME=x", "FDPOLL=0", "ERRNO=2", "BUSERROR=x", "VARLINKERROR=x",
            "EXIT_STATUS=0",
            "BARRIER=1", "NOTIFYACCESS=all", "WATCHDOG_USEC=1", "WATCHDOG=trigger", "EXTEND_TIMEOUT_USEC=1", "RESTART_RESET=1", "X_OWN=1",
            "READY=0", "READY=1 ", " READY=1", "ready=1", "READY", "=", "", "MONOTONIC_USEC=-1", "MONOTONIC_USEC=1e3", "MONOTONIC_USEC=", "READY=1\0",
        ])
    func foreign(_ line: String) {
        #expect(passed(line) == [])
        #expect(passed("\(line)\nREADY=1") == ["READY=1"])
    }

    @Test("a status is short, and nothing that steers a terminal")
    func status() {
        #expect(passed("STATUS=\u{1B}]0;x\u{7}\u{202E}\u{85}\u{2028}end") == ["STATUS=?]0;x????end"])
        #expect(passed("STATUS=" + String(repeating: "a", count: 4000)) == ["STATUS=" + String(repeating: "a", count: 256)])
        #expect(NotificationMessage([0x53, 0x54, 0x41, 0x54, 0x55, 0x53, 0x3D, 0xFF, 0xC0]).lines.count == 1)
    }
}
