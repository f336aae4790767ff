"""`coffer exposure` of systemd units says what systemd's own tool says, to the tenth."""

import json
import pathlib
import random
import re
import subprocess

from harness.registry import BOTH, Unavailable, test

FLAGS = ("PrivateNetwork NoNewPrivileges PrivateDevices PrivateMounts PrivateTmp PrivateUsers ProtectClock ProtectControlGroups ProtectKernelLogs "
         "ProtectKernelModules ProtectKernelTunables RestrictSUIDSGID RestrictRealtime LockPersonality MemoryDenyWriteExecute ProtectHostname "
         "DynamicUser RemoveIPC Delegate").split()
CAPABILITIES = "SETUID SYS_ADMIN SYS_PTRACE CHOWN DAC_OVERRIDE NET_ADMIN SYS_MODULE SYS_TIME KILL NET_RAW SYSLOG MAC_ADMIN BPF LEASE".split()
CHOICES = {
    "User": ["web", "root", "nobody", "0", "1000", ""], "SupplementaryGroups": ["video", "a b", ""], "UMask": ["0077", "0027", "0007", "0", "x"],
    "KeyringMode": ["shared", "private", "inherit"], "NotifyAccess": ["all", "main", "none"],
    "ProtectHome": ["yes", "read-only", "tmpfs", "no", "maybe"], "ProtectSystem": ["strict", "full", "yes", "no"],
    "ProtectProc": ["invisible", "noaccess", "ptraceable", "default"], "ProcSubset": ["pid", "all"], "RootDirectory": ["/srv/x", "/", ""],
    "DevicePolicy": ["closed", "strict", "auto"], "DeviceAllow": ["/dev/null rw", "char-rtc r", "/nowhere", ""],
    "IPAddressDeny": ["any", "0.0.0.0/0", "::/0 0.0.0.0/0", ""], "IPAddressAllow": ["localhost", "127.0.0.9", "10.0.0.0/8", "link-local", ""],
    "RestrictAddressFamilies": ["none", "AF_UNIX", "~AF_PACKET", "AF_INET AF_INET6", "~AF_NETLINK AF_ALG", "AF_BOGUS", ""],
    "RestrictNamespaces": ["yes", "no", "user", "~user mnt", "cgroup ipc", "bogus", ""],
    "SystemCallArchitectures": ["native", "native x86", "x86-64", ""],
    "SystemCallFilter": ["@system-service", "~@mount @swap", "~@privileged", "@basic-io chroot:EPERM", "read", "~ptrace", "@obsolete", "chroot", ""],
    "CapabilityBoundingSet": ["", "~"] + ["CAP_" + name for name in CAPABILITIES] + ["~CAP_SYS_ADMIN CAP_SYS_PTRACE", "12"],
    "AmbientCapabilities": ["CAP_KILL", ""],
}


def systemd_says(unit):
    answer = subprocess.run(["systemd-analyze", "security", "--offline=true", unit], capture_output=True, text=True)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", answer.stdout)
    return found and found[1]


def needs_252():
    try:
        version = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True).stdout.split()[1]
    except FileNotFoundError:
        raise Unavailable("systemd-analyze is not installed") from None
    if version != "252":
        raise Unavailable(f"systemd-analyze is of systemd {version}, and the model is 252's")


def compare(t, units):
    differ, compared = [], 0
    for unit in units:
        theirs = systemd_says(unit)
        if theirs is None:
            continue
        ours = json.loads(t.coffer("exposure", unit, "--format", "json").stdout)["systemd"]
        compared += 1
        if ours != theirs:
            differ.append(f"{unit}: systemd {theirs}, ours {ours}")
    t.equal(differ, [], "units that differ")
    return compared


@test(modes=BOTH)
def every_unit_of_this_system(t):
    needs_252()
    units = sorted(str(path) for path in pathlib.Path("/lib/systemd/system").glob("*.service"))
    t.true(compare(t, units) > 20, "the system has too few units to compare")


@test(modes=BOTH)
def units_made_at_random(t):
    needs_252()
    directory = t.directory()
    dice = random.Random(252)
    units = []
    for number in range(60):
        lines = [f"{dice.choice(FLAGS)}={dice.choice(['yes', 'no', 'true', '0', 'what'])}" for _ in range(dice.randrange(10))]
        for key in dice.choices(list(CHOICES), k=dice.randrange(16)):
            lines.append(f"{key}={dice.choice(CHOICES[key])}")
        dice.shuffle(lines)
        early = "[Unit]\nDefaultDependencies=no\n" if dice.random() < 0.2 else ""
        unit = directory / f"random-{number}.service"
        unit.write_text(early + "[Service]\nExecStart=/bin/true\n" + "\n".join(lines) + "\n")
        if dice.random() < 0.3:
            dropins = directory / f"{unit.name}.d"
            dropins.mkdir()
            dropins.chmod(0o755)
            (dropins / "50-more.conf").write_text("[Service]\nPrivateTmp=yes \\\n# a remark\n\nNoNewPrivileges=yes\nCapabilityBoundingSet=\n")
        units.append(str(unit))
    t.true(compare(t, units) >= 50, "too few of the units could be compared")


@test(modes=BOTH)
def the_threshold_ends_with_1(t):
    unit = t.directory() / "open.service"
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    t.coffer("exposure", unit, "--max", "10", code=0)
    result = t.coffer("exposure", unit, "--max", "5", code=1)
    t.contains(result.stdout, "UNSAFE")
    t.contains(result.stderr, "above 5")


@test(modes=BOTH)
def wrong_targets_are_told(t):
    for words in (["./nothing.service"], ["--max", "11", "x.service"], ["--defaults", "x.service"]):
        t.one_sentence(t.coffer("exposure", *words, code={1, 64, 125}))
