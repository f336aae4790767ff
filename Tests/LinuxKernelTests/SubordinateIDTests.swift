import Testing

@testable import LinuxKernel

@Suite struct SubordinateIDTests {
    private func parse(_ text: String, name: String? = "alice", id: UInt32 = 1000) throws -> [SubordinateRange] {
        try SubordinateIDs.parse(Array(text.utf8), name: name, id: id, file: "/etc/subuid")
    }

    @Test func rangesByNameAndByNumberInOrder() throws {
        let text = "bob:100000:65536\nalice:200000:65536\n\n# alice:1:2\n1000:400000:10\nalice2:7:7\n"
        #expect(try parse(text) == [SubordinateRange(start: 200_000, count: 65536), SubordinateRange(start: 400_000, count: 10)])
        #expect(try parse(text, name: nil) == [SubordinateRange(start: 400_000, count: 10)])
        #expect(try parse("").isEmpty)
    }

    @Test(
        "a line of the user's own must be right",
        arguments: [
            "alice:100000", "alice:100000:1:2", "alice:+100000:65536", "alice:100000:-1", "alice:0x10:5", "alice: 100000:65536",
            "alice:100000:65536 ", "alice:100000:0", "alice:4294967295:1", "alice:4294900000:100000", "alice:99999999999:1", "alice::",
            "alice:0:65536", "alice:900:200",
        ])
    func malformed(_ line: String) {
        #expect(throws: IDMapError.malformedSubordinateLine(file: "/etc/subuid", line: 2, text: line)) {
            try parse("bob:1:1\n\(line)\n")
        }
    }

    @Test func mistakesOfOthersAreNotThisUsers() throws {
        #expect(try parse("bob:x:y\nalice:200000:5\n:::\n").count == 1)
    }

    @Test func rangesThatTogetherExceedTheIDSpaceAreRefused() {
        #expect(throws: IDMapError.self) { try parse("alice:2000:4000000000\nalice:3000:4000000000\n") }
    }

    @Test func ownerMapsPutTheUserFirst() {
        let ids = SubordinateIDs(
            users: [SubordinateRange(start: 100_000, count: 10), SubordinateRange(start: 500_000, count: 5)],
            groups: [SubordinateRange(start: 100_000, count: 8)])
        let maps = ids.ownerMaps(user: 1000, group: 100)
        #expect(
            maps.users == [
                IDMapping(inside: 0, outside: 1000, count: 1), IDMapping(inside: 1, outside: 100_000, count: 10),
                IDMapping(inside: 11, outside: 500_000, count: 5),
            ])
        #expect(maps.contiguousCount == 9)
        #expect(OwnerNamespace(maps: maps, imageIDOffset: 1).imageIDCount == 8)
    }

    @Test func mappingsTranslateBothWays() {
        let mapping = IDMapping(inside: 10, outside: 1000, count: 5)
        #expect(mapping.outside(of: 10) == 1000 && mapping.outside(of: 14) == 1004)
        #expect(mapping.outside(of: 9) == nil && mapping.outside(of: 15) == nil)
        #expect(mapping.inside(of: 1004) == 14 && mapping.inside(of: 1005) == nil && mapping.inside(of: 999) == nil)
        #expect(IDMapping(inside: 0, outside: 0, count: .max).outside(of: .max) == nil)
    }

    @Test(
        "maps that the kernel would refuse are refused in words",
        arguments: [
            [], [IDMapping(inside: 0, outside: 0, count: 0)], [IDMapping(inside: 1, outside: 0, count: .max)],
            [IDMapping(inside: 0, outside: 0, count: 10), IDMapping(inside: 5, outside: 100, count: 10)],
            [IDMapping(inside: 0, outside: 0, count: 10), IDMapping(inside: 50, outside: 9, count: 10)],
            (0..<341).map { IDMapping(inside: $0, outside: $0, count: 1) },
        ])
    func invalidMaps(_ mappings: [IDMapping]) {
        #expect(throws: IDMapError.self) { try IDMaps.validate(mappings, .user) }
    }

    @Test func errorsNameTheRemedy() {
        let missing = IDMapError.noSubordinateRange(user: "alice", file: "/etc/subuid").description
        #expect(
            missing == "no subordinate ID range for user alice in /etc/subuid: add one with "
                + "`usermod --add-subuids 100000-165535 --add-subgids 100000-165535 alice`")
        #expect(IDMapError.programMissing("newuidmap").description == "newuidmap not found: install the package uidmap")
        #expect(IDMapError.refusedNamespace(28).description.contains("user.max_user_namespaces"))
        #expect(IDMapError.restrictedByAppArmor.description.contains("kernel.apparmor_restrict_unprivileged_userns"))
    }

    @Test func aSpawnedProcessGetsItsDescriptorsAndNoOthers() throws {
        let kept = try FileDescriptor.open("/dev/null", 0).duplicate()
        let (status, text) = try SpawnedProcess.run("/bin/sh", ["sh", "-c", "ls /proc/self/fd >&2; exit 7"])
        #expect(status == .exited(7))
        // 3 is ls's own.
        #expect(text == "0 1 2 3")
        #expect(kept.rawValue >= 3)
    }
}
