import Testing

@testable import Exposure

/// What `systemctl show` prints is the unit as its file says it.
@Suite struct ShownUnitsTests {
    /// The lines of `systemctl show` of systemd 252 that the model asks for, of a hardened unit.
    private static let shown = """
        Type=simple
        NotifyAccess=none
        Id=web.service
        LoadState=loaded
        DefaultDependencies=yes
        Delegate=no
        IPAddressAllow=127.0.0.0/8 ::1/128
        IPAddressDeny=0.0.0.0/0 ::/0
        DevicePolicy=closed
        DeviceAllow=/dev/null rw
        MemoryMax=infinity
        TasksMax=4915
        UMask=0077
        CapabilityBoundingSet=cap_net_bind_service
        AmbientCapabilities=cap_net_bind_service
        DynamicUser=no
        RemoveIPC=yes
        User=web
        PrivateTmp=yes
        PrivateDevices=yes
        ProtectClock=yes
        ProtectKernelTunables=yes
        ProtectKernelModules=yes
        ProtectKernelLogs=yes
        ProtectControlGroups=yes
        PrivateNetwork=no
        PrivateUsers=yes
        PrivateMounts=no
        ProtectHome=yes
        ProtectSystem=strict
        NoNewPrivileges=yes
        SystemCallFilter=brk close execve exit exit_group mmap read write
        SystemCallArchitectures=native
        LockPersonality=yes
        RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
        KeyringMode=private
        ProtectProc=invisible
        ProcSubset=pid
        ProtectHostname=yes
        MemoryDenyWriteExecute=yes
        RestrictRealtime=yes
        RestrictSUIDSGID=yes
        RestrictNamespaces=yes
        """

    @Test func equalsTheFile() throws {
        let lines = Self.shown.split(separator: "\n").map(String.init).filter { !$0.hasPrefix("Id=") && !$0.hasPrefix("LoadState=") }
        let file = try UnitFile(Array(("[Service]\n" + lines.joined(separator: "\n") + "\n").utf8), name: "web.service")
        let written = try UnitSettings(name: "web.service", files: [file]).subject("web.service")
        let subjects = try ShownUnits.subjects(Array(Self.shown.utf8), name: "-")
        #expect(ShownUnits.accepts(Array(Self.shown.utf8)))
        #expect(subjects == [written])
        #expect(written.systemd.map { $0.tenths < 20 } == true)
    }

    @Test func severalUnitsAndOthers() throws {
        let two =
            Self.shown
            + "\n\nId=x.socket\nLoadState=loaded\n\nId=open.service\nLoadState=loaded\nRestrictNamespaces=no\nSystemCallFilter=~\nRestrictAddressFamilies=~\n"
        let subjects = try ShownUnits.subjects(Array(two.utf8), name: "-")
        #expect(subjects.map(\.name) == ["web.service", "open.service"])
        // Lists of nothing are no lists.
        let open = try UnitSettings(name: "open.service", files: []).subject("open.service")
        #expect(subjects.last?.systemd == open.systemd)
    }

    @Test func whatIsNotLoadedIsRefused() {
        for text in ["Id=a.service\nLoadState=not-found\n", "Id=a.service\nLoadState=masked\n", "Id=a.socket\nLoadState=loaded\n"] {
            #expect(throws: ExposureError.self) { try ShownUnits.subjects(Array(text.utf8), name: "-") }
        }
        #expect(!ShownUnits.accepts(Array("services:\n  Id=: 1\n".utf8)))
    }
}
