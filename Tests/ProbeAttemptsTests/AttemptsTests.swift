import Glibc
import Probe
import Testing

@testable import ProbeAttempts

@Suite("Attempts of the probes")
struct AttemptsTests {
    static func situation(_ request: ProbeRequest = ProbeRequest(), environment: [String] = []) -> Situation {
        Situation(request, descriptors: [], environment: environment)
    }

    @Test("every row of the table has an attempt, and every attempt a row")
    func sameIDs() throws {
        let rows = try ProbeTable.builtIn().rows.map(\.id)
        #expect(Set(Attempts.ids) == Set(rows))
        #expect(Attempts.ids.count == Set(Attempts.ids).count, "an id is claimed by two attempts")
        #expect(Attempts.table.count == rows.count)
    }

    @Test("what needs a fact that the request does not carry is inconclusive, and tries nothing")
    func factsThatAreMissing() throws {
        let situation = Self.situation()
        for row in try ProbeTable.builtIn().rows where !row.needs.isEmpty {
            let attempt = try #require(Attempts.table[row.id])
            let finding = attempt(situation)
            #expect(finding.outcome == .inconclusive, "\(row.id): \(finding.detail)")
            #expect(finding.detail.contains("request"), "\(row.id): \(finding.detail)")
        }
    }

    @Test("a reply is a denial, or shows that the kernel looked at it")
    func replies() {
        #expect(Reply(errno: 0).whenItSucceeds("a").outcome == .reached)
        #expect(Reply(errno: EINVAL).whenItSucceeds("a").outcome == .held)
        #expect(Reply(errno: EINVAL).whenItIsLookedAt("a").outcome == .reached)
        for number in [EPERM, EACCES, ENOSYS] {
            let finding = Reply(errno: number).whenItIsLookedAt("a")
            #expect(finding.outcome == .held && finding.errno == number)
        }
        #expect(Reply(errno: ECONNREFUSED).whenItIsLookedAt("a", also: [ECONNREFUSED]).outcome == .held)
        #expect(errnoName(EPERM) == "EPERM" && errnoName(4095) == "errno 4095")
    }

    @Test("lines of mountinfo are read, escapes too")
    func mountinfo() throws {
        let text = """
            22 27 0:21 / /proc rw,nosuid,relatime shared:5 - proc proc rw
            23 22 0:6 /null /proc/kcore ro,noatime - devtmpfs dev rw,size=4k
            24 22 8:1 /home/a\\040b /mnt/c\\134d rw master:2 propagate_from:1 - ext4 /dev/sda1 rw,errors=remount-ro
            a line that is none
            """
        let mounts = MountEntry.parse(text)
        #expect(mounts.count == 3)
        #expect(mounts[0].tags == ["shared:5"] && mounts[0].type == "proc" && !mounts[0].isReadOnly)
        #expect(mounts[0].keptFlags == 2 | 1 << 21)
        #expect(mounts[1].isReadOnly && mounts[1].root == "/null" && mounts[1].keptFlags == 1024)
        #expect(mounts[2].root == "/home/a b" && mounts[2].target == "/mnt/c\\d" && mounts[2].tags.count == 2)
    }

    @Test("addresses are told from zeros")
    func addresses() {
        func shows(_ text: String) -> Bool { Attempts.addressAtStart(Array(text.utf8)) }
        #expect(shows("0000000000000000 T _text\nffffffff81000000 T a\n"))
        #expect(!shows("0000000000000000 T _text\n0000000000000000 T a\n"))
        #expect(shows("00000000-00000fff : Reserved\n") && !shows("00000000-00000000 : Reserved\n  00000000-00000000 : System RAM\n"))
        #expect(Attempts.addressAtEnd(Array("veth 40960 0 - Live 0xffffffffc0000000\n".utf8)))
        #expect(!Attempts.addressAtEnd(Array("veth 40960 0 - Live 0x0000000000000000\n".utf8)))
    }

    @Test("secrets are found in an environment that has them, and nowhere else")
    func environment() throws {
        let open = Self.situation(environment: ["SSH_AUTH_SOCK=/tmp/a", "API_TOKEN=1", "PATH=/bin"])
        let closed = Self.situation(environment: ["PATH=/bin", "TOKENS=1"])
        for (id, outcome) in [("env-secrets", ProbeOutcome.reached), ("env-tokens", .information)] {
            let attempt = try #require(Attempts.table[id])
            #expect(attempt(open).outcome == outcome)
            #expect(attempt(closed).outcome == .held)
        }
    }
}
