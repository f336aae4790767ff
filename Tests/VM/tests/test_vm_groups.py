"""Control groups v2: that limits bind, with systemd's scopes and with directories, as root and as the user of the guest."""

import json
import pathlib
import uuid

from harness.registry import BOTH, ROOT, ROOTLESS, test

GROUP = "/sys/fs/cgroup"


def inside(t, *flags, files=()):
    """What a container reads in its own group's files, by name."""
    script = "; ".join(f"echo {name} $(cat {GROUP}/{name})" for name in files)
    lines = t.run("--network", "none", *flags, t.debian(), "sh", "-c", script).splitlines()
    return dict(line.split(" ", 1) for line in lines)


@test(guest="apparmor", modes=BOTH)
def run_limits_are_read_back(t):
    found = inside(t, "-m", "64m", "--memory-swap", "96m", "--cpus", "0.5", "--pids-limit", "77", "--cpu-shares", "1024",
                   files=("memory.max", "memory.swap.max", "cpu.max", "cpu.weight", "pids.max"))
    t.equal(found, {"memory.max": str(64 << 20), "memory.swap.max": str(32 << 20), "cpu.max": "50000 100000", "cpu.weight": "100",
                    "pids.max": "77"}, "the group's files")


@test(guest="apparmor", modes=BOTH)
def a_container_sees_its_own_group_alone(t):
    script = f"cat /proc/self/cgroup; stat -fc %T {GROUP}; echo 1 > {GROUP}/pids.max"
    result = t.coffer("run", "--rm", "--network", "none", t.debian(), "sh", "-c", script, code=None)
    lines = result.stdout.splitlines()
    t.contains(result.stderr, "Read-only file system")
    t.equal(lines, ["0::/", "cgroup2fs"], "group and file system")


@test(guest="apparmor", modes=BOTH)
def too_much_memory_is_137_and_said_so(t):
    name = t.coffer("run", "-d", "--network", "none", "-m", "50m", t.static_image("exhaust"), "/exhaust", "memory").stdout.strip()
    t.equal(t.coffer("wait", name).stdout.strip(), "137", "exit code")
    state = t.inspect(name)["State"]
    t.equal((state["OOMKilled"], state["ExitCode"]), (True, 137), "OOMKilled and exit code")


@test(guest="apparmor", modes=BOTH)
def processes_stop_at_the_limit(t):
    output = t.run("--network", "none", "--pids-limit", "32", t.static_image("exhaust"), "/exhaust", "processes", "200").split()
    t.equal(output[1], "EAGAIN", "what fork said")
    t.true(int(output[0]) <= 32, f"{output[0]} processes were made")


@test(guest="apparmor", modes=BOTH)
def half_a_processor_is_half_a_processor(t):
    container = t.start("--network", "none", "--cpus", "0.5", t.debian(), "sh", "-c", "while :; do :; done")
    group = pathlib.Path(t.inspect(container)["Coffer"]["Cgroups"][0])
    t.eventually(lambda: throttled(group) > 3, "the group is throttled")


def throttled(group):
    """How many periods of the group the quota has ended."""
    return int(next(line.split()[1] for line in (group / "cpu.stat").read_text().splitlines() if line.startswith("nr_throttled")))


@test(guest="apparmor", modes=BOTH)
def pause_freezes_the_group(t):
    container = t.start("--network", "none", t.debian(), "sh", "-c", "while :; do date +%s%N > /tick; sleep 0.1; done")
    group = pathlib.Path(t.inspect(container)["Coffer"]["Cgroups"][0])
    t.coffer("pause", container)
    t.eventually(lambda: "frozen 1" in (group / "cgroup.events").read_text(), "the group is frozen")
    t.equal(t.inspect(container)["State"]["Status"], "paused")
    t.coffer("unpause", container)
    t.eventually(lambda: "frozen 0" in (group / "cgroup.events").read_text(), "the group runs")
    t.equal(t.coffer("exec", container, "cat", "/proc/self/cgroup").stdout, "0::/\n", "the group of what exec starts")


@test(guest="apparmor", modes=(ROOTLESS,))
def systemd_agrees_about_a_users_limits(t):
    systemd_agrees(t, "--user")


@test(guest="apparmor", modes=(ROOT,))
def systemd_agrees_about_roots_limits(t):
    systemd_agrees(t)


def systemd_agrees(t, *options):
    container = t.start("--network", "none", "-m", "64m", "--memory-swap", "64m", "--cpus", "0.25", "--pids-limit", "55", t.debian(), "sleep", "300")
    full = t.inspect(container)["Id"]
    names = ("MemoryMax", "MemorySwapMax", "CPUQuotaPerSecUSec", "TasksMax", "Delegate", "ActiveState")
    shown = t.command("systemctl", *options, "show", f"coffer-{full}.scope", *[f"--property={name}" for name in names]).stdout
    values = dict(line.split("=", 1) for line in shown.splitlines())
    t.equal(values, {"MemoryMax": str(64 << 20), "MemorySwapMax": "0", "CPUQuotaPerSecUSec": "250ms", "TasksMax": "55", "Delegate": "yes",
                     "ActiveState": "active"}, "systemctl show")
    group = pathlib.Path(t.inspect(container)["Coffer"]["Cgroups"][0])
    t.equal(group.name, f"coffer-{full}.scope", "the group")
    t.coffer("rm", "-f", container)
    t.eventually(lambda: not group.exists(), "the scope is gone")


# The OCI runtime, with a bundle of its own.

def bundle(t, arguments, resources, **linux):
    """An OCI bundle with a root of busybox-like static programs; root's world, or the user's with a namespace."""
    directory = t.directory()
    root = directory / "rootfs"
    for name in ("bin", "proc", "sys/fs/cgroup", "dev", "tmp"):
        (root / name).mkdir(parents=True)
    (root / "bin/busybox").write_bytes(pathlib.Path("/bin/busybox").read_bytes())
    (root / "bin/busybox").chmod(0o755)
    for name in ("sh", "cat", "sleep", "mknod", "dd", "ls", "head"):
        (root / "bin" / name).symlink_to("busybox")
    t.world.own(directory)
    t.command(t.world.runtime, "spec", "--bundle", directory, *([] if t.world.is_root else ["--rootless"]))
    spec = json.loads((directory / "config.json").read_text())
    spec["process"].update(terminal=False, args=["/bin/sh", "-c", arguments])
    spec["linux"].setdefault("resources", {}).update(resources)
    spec["linux"].update(linux)
    (directory / "config.json").write_text(json.dumps(spec))
    return directory


MANAGERS = {"cgroupfs": ("/coffer-vm/{}", ["--cgroup-manager", "cgroupfs"]), "systemd": ("{slice}:coffervm:{}", ["--systemd-cgroup"])}


def run_bundle(t, manager, arguments, resources, code=0):
    name = uuid.uuid4().hex[:8]
    form, options = MANAGERS[manager]
    path = form.format(name, slice="system.slice" if t.world.is_root else "user.slice")
    directory = bundle(t, arguments, resources, cgroupsPath=path)
    return t.command(t.world.runtime, *options, "run", "--bundle", directory, name, code=code)


def limits_bind(t, manager):
    resources = {"memory": {"limit": 48 << 20, "swap": 48 << 20, "reservation": 16 << 20}, "cpu": {"shares": 2048, "quota": 20000, "period": 50000},
                 "pids": {"limit": 40}, "unified": {"memory.high": str(40 << 20)}}
    names = ("memory.max", "memory.swap.max", "memory.low", "memory.high", "cpu.max", "cpu.weight", "pids.max")
    result = run_bundle(t, manager, "; ".join(f"cat {GROUP}/{name}" for name in names), resources)
    expected = [48 << 20, 0, 16 << 20, 40 << 20, "20000 50000", 174, 40]
    t.equal(result.stdout.split("\n")[:7], [str(value) for value in expected], "the group's files")


@test(guest="apparmor", modes=(ROOT,))
def the_runtimes_limits_bind_with_directories(t):
    limits_bind(t, "cgroupfs")


@test(guest="apparmor", modes=(ROOT,))
def the_runtimes_limits_bind_with_systemd(t):
    limits_bind(t, "systemd")


@test(guest="apparmor", modes=(ROOT,))
def device_rules_hold(t):
    # What a list allows works and what it denies does not, by both managers. A node may be made, as under every runtime; it opens nothing.
    devices = [{"allow": False, "access": "rwm"}]
    script = "mknod /tmp/kmsg c 1 11 && echo made; head -c 1 /tmp/kmsg >/dev/null 2>&1 || echo closed; head -c 1 /dev/zero | wc -c"
    for manager in MANAGERS:
        name = uuid.uuid4().hex[:8]
        form, options = MANAGERS[manager]
        directory = bundle(t, script, {"devices": devices}, cgroupsPath=form.format(name, slice="system.slice"))
        spec = json.loads((directory / "config.json").read_text())
        spec["root"]["readonly"] = False
        for kind in spec["process"]["capabilities"]:
            spec["process"]["capabilities"][kind] = sorted({*spec["process"]["capabilities"][kind], "CAP_MKNOD", "CAP_SYSLOG"})
        (directory / "config.json").write_text(json.dumps(spec))
        result = t.command(t.world.runtime, *options, "run", "--bundle", directory, name, code=None)
        t.equal(result.stdout.split(), ["made", "closed", "1"], f"{manager}: {result.stderr}")


@test(guest="apparmor", modes=(ROOT,))
def writing_to_a_disk_is_throttled(t):
    disk = pathlib.Path("/sys/block/vda/dev").read_text().strip()
    major, minor = map(int, disk.split(":"))
    resources = {"blockIO": {"throttleWriteBpsDevice": [{"major": major, "minor": minor, "rate": 1 << 20}]}}
    for manager in MANAGERS:
        t.equal(run_bundle(t, manager, f"cat {GROUP}/io.max", resources).stdout.strip(), f"{disk} rbps=max wbps=1048576 riops=max wiops=max", manager)
