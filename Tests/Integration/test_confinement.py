"""What a container at the default level cannot do, read back from inside it."""

import ctypes
import os

from harness.registry import BOTH, ROOT, Unavailable, test

NETWORK = ("pasta", "tun")

# What a filter or a check answers. EINVAL, EBADF or EFAULT would mean that the kernel looked at the arguments: the call was reachable.
DENIALS = {"EPERM", "EACCES", "ENOSYS", "ENOSPC", "EAFNOSUPPORT", "EROFS", "ENOENT", "KILLED", "EIO"}
# Of the attacks, what an extra capability or a switched-off layer is allowed to change.
MOUNT_ATTACKS = ("remount_proc_sys", "umount_proc_sys", "umount_mask")


def status(text):
    """/proc/self/status as a dictionary."""
    return {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}


@test(needs=NETWORK)
def a_level_with_dockers_capabilities_has_its_network(t):
    """NET_RAW of level compat must neither stop the start nor open the host to it."""
    result = t.coffer("run", "--rm", "--level", "compat", t.debian(), "sh", "-c", "grep CapBnd /proc/self/status; ls /sys/class/net")
    t.contains(result.stdout, "00000000a80425fb")
    t.contains(result.stdout, "eth0")
    t.contains(result.stderr, "NET_RAW has no power over the outbound network")
    asked = t.coffer("run", "--rm", "--cap-add", "NET_RAW", t.debian(), "true", code=125)
    t.contains(asked.stderr, "would let the container change the rules that close the host to it")


@test()
def the_hosts_user_namespace_has_no_outbound_network(t):
    result = t.coffer("run", "--rm", "--userns", "host", t.debian(), "true", code=125)
    t.one_sentence(result)
    t.contains(result.stderr, "--userns host has no outbound network: add --network none")
    t.run("--userns", "host", "--network", "none", t.debian(), "true")


@test()
def standard_reads_back(t):
    fields = status(t.run(t.debian(), "cat", "/proc/self/status"))
    t.equal(fields["NoNewPrivs"], "1", "NoNewPrivs")
    t.equal(fields["Seccomp"], "2", "Seccomp")
    for name in ("CapBnd", "CapPrm", "CapEff"):
        t.equal(fields[name], "00000000000004fb", name)
    for name in ("CapInh", "CapAmb"):
        t.equal(fields[name], "0000000000000000", name)
    t.equal(fields["Groups"].split(), ["0"] if fields["Groups"] else [], "supplementary groups")


@test()
def exec_is_confined_as_the_container_is(t):
    container = t.start(t.debian(), "sleep", "300")
    inside = status(t.coffer("exec", container, "cat", "/proc/self/status").stdout)
    first = status(t.coffer("exec", container, "cat", "/proc/1/status").stdout)
    for name in ("NoNewPrivs", "Seccomp", "CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"):
        t.equal(inside[name], first[name], f"{name} of an exec'd process")
    t.equal(inside["NoNewPrivs"], "1", "NoNewPrivs")
    # From outside: Landlock keeps an exec'd program, which has a domain of its own, from looking at process 1 this way.
    pid = t.inspect(container)["State"]["Pid"]
    for name in ("mnt", "pid", "net", "ipc", "uts", "user", "cgroup"):
        t.equal(t.coffer("exec", container, "readlink", f"/proc/self/ns/{name}").stdout.strip(), os.readlink(f"/proc/{pid}/ns/{name}"), name)


@test()
def no_attack_succeeds(t):
    result = t.coffer("run", "--rm", t.static_image("attacks"), "/attacks", code=None)
    lines = [line.split() for line in result.stdout.splitlines()]
    t.true(len(lines) >= 30, f"the attacks ran: {result.stdout}{result.stderr}")
    for name, verdict, *error in lines:
        t.true(verdict == "denied", f"{name}: {verdict}")
        t.true(error[0] in DENIALS, f"{name} reached the kernel: {error[0]}")


@test()
def landlock_holds_alone(t):
    """A whiteout is a node that the kernel lets everybody make, and that hides a file of a lower layer: no filter and no capability stand before it."""
    if ctypes.CDLL(None).syscall(444, None, 0, 1) <= 0:  # landlock_create_ruleset(2), the version
        raise Unavailable("this kernel has no Landlock, or does not use it")
    words = ("--network", "none", "--tmpfs", "/tmp", "--security-opt", "seccomp=unconfined")
    for landlock, verdict in (((), "denied EACCES"), (("--security-opt", "landlock=off"), "SUCCEEDED")):
        shown = t.coffer("run", "--rm", *words, *landlock, t.static_image("attacks"), "/attacks", "mknod_whiteout", code=None).stdout
        t.equal(shown.split("\n")[0], f"mknod_whiteout {verdict}", f"with {landlock}")


@test()
def attacks_as_an_ordinary_user_fail_too(t):
    result = t.coffer("run", "--rm", "-u", "1000:1000", t.static_image("attacks"), "/attacks", code=None)
    t.true("denied" in result.stdout and "SUCCEEDED" not in result.stdout, result.stdout + result.stderr)


@test()
def locked_mounts_hold_alone(t):
    result = t.coffer(
        "run", "--rm", "--cap-add", "SYS_ADMIN", "--security-opt", "landlock=off", "--security-opt", "seccomp=unconfined",
        t.static_image("attacks"), "/attacks", *MOUNT_ATTACKS, code=None)
    verdicts = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    for name in MOUNT_ATTACKS:
        t.true(verdicts.get(name) in ("denied EPERM", "denied EINVAL"), f"{name}: {verdicts.get(name)}\n{result.stderr}")


@test()
def a_read_only_volume_cannot_be_made_writable(t):
    directory = t.directory()
    (directory / "file").write_text("as it was")
    t.world.own(directory)
    script = "mount -o remount,bind,rw /volume; umount /volume; echo changed > /volume/file"
    t.coffer("run", "--rm", "--cap-add", "SYS_ADMIN", "--security-opt", "landlock=off", "--security-opt", "seccomp=unconfined",
             "-v", f"{directory}:/volume:ro", t.debian(), "sh", "-c", script, code=None)
    t.equal((directory / "file").read_text(), "as it was", "the file of a read-only volume")


@test()
def container_root_is_nobody_outside(t):
    container = t.start(t.debian(), "sleep", "300")
    pid = t.inspect(container)["State"]["Pid"]
    with open(f"/proc/{pid}/status") as file:
        uids = status(file.read())["Uid"].split()
    t.true(all(int(uid) not in (0, t.world.uid) for uid in uids), f"container root runs as {uids}")
    with open(f"/proc/{pid}/uid_map") as file:
        mapped = sum(int(line.split()[2]) for line in file)
    t.true(mapped >= 65535, f"{mapped} ids are mapped")


@test(modes=(ROOT,))
def each_container_has_a_range_of_its_own(t):
    first, second = (t.start(t.debian(), "sleep", "300") for _ in range(2))
    uids = set()
    for container in (first, second):
        with open(f"/proc/{t.inspect(container)['State']['Pid']}/status") as file:
            uids.add(int(status(file.read())["Uid"].split()[0]))
    t.equal(len(uids), 2, "container roots outside")
    low, high = sorted(uids)
    t.true(high - low >= 65536, f"ranges overlap: {low} and {high}")


@test(modes=(ROOT,))
def an_explicit_map_does_not_reach_files_of_root(t):
    secret = t.directory() / "test"
    secret.write_text("secret of the host\n")
    secret.chmod(0o600)
    result = t.coffer("run", "--rm", "-v", f"{secret}:/tmp/test", "--uidmap", "0:100000:5000", t.debian(), "cat", "/tmp/test", code=1)
    t.contains(result.stderr, "Permission denied")
    t.true("secret" not in result.stdout, "the file was read")


@test()
def a_volume_without_a_map_says_why_and_what_helps(t):
    directory = t.directory()
    (directory / "file").write_text("x")
    t.world.own(directory)
    directory.chmod(0o700)
    result = t.coffer("run", "--rm", "-v", f"{directory}:/src", t.debian(), "ls", "/src", code=None)
    advice = [line for line in result.stderr.splitlines() if "keep-id" in line]
    t.equal(len(advice), 1, f"lines of advice in {result.stderr!r}")
    t.contains(advice[0], ":U")


@test(modes=("rootless",))
def keep_id_is_the_user_inside_and_out(t):
    directory = t.directory()
    t.run("--userns", "keep-id", "-v", f"{directory}:/src", t.debian(), "touch", "/src/made")
    t.equal((directory / "made").stat().st_uid, t.world.uid, "owner of a file made inside")


@test()
def a_chowned_volume_belongs_to_the_container(t):
    directory = t.directory()
    (directory / "file").write_text("x")
    t.world.own(directory)
    t.equal(t.run("-v", f"{directory}:/data:U", t.debian(), "sh", "-c", "echo y > /data/file && stat -c %u /data/file"), "0", "owner inside")
    # Given back, so that the test can remove it.
    if t.world.is_root:
        t.world.own(directory)


@test()
def host_processes_and_files_are_not_there(t):
    canary = t.directory() / "canary"
    canary.write_text("canary of the host")
    script = f"cat /proc/1/root{canary}; for p in /proc/[0-9]*; do cat $p/root{canary}; done; ls /proc | grep -c '^[0-9]'"
    result = t.coffer("run", "--rm", t.debian(), "sh", "-c", script, code=None)
    t.true("canary of the host" not in result.stdout, "a file of the host was read")
    t.true(int(result.stdout.split()[-1]) <= 5, f"processes seen inside: {result.stdout}")


@test()
def masks_and_read_only_paths(t):
    script = "cat /proc/kcore /proc/keys /proc/timer_list 2>&1 | wc -c; echo 1 > /proc/sys/kernel/panic; echo $?; ls /sys/firmware | wc -l"
    keys, panic, firmware = t.coffer("run", "--rm", t.debian(), "sh", "-c", script + "; true").stdout.split()
    t.true(int(keys) < 300, f"{keys} bytes of masked files were read")
    t.true(panic != "0", "/proc/sys was written")
    t.equal(firmware, "0", "entries of /sys/firmware")


@test()
def no_descriptor_leaks_in(t):
    # 3 is the directory that ls itself reads.
    t.equal(t.run(t.debian(), "ls", "/proc/self/fd").split(), ["0", "1", "2", "3"], "descriptors")
    descriptor = os.open("/etc", os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    try:
        listing = t.coffer("run", "--rm", t.debian(), "ls", "/proc/self/fd", pass_fds=(descriptor,)).stdout
        t.equal(listing.split(), ["0", "1", "2", "3"], "descriptors")
        refused = t.coffer("run", "--rm", "-w", f"/proc/self/fd/{descriptor}", t.debian(), "ls", code=None, pass_fds=(descriptor,))
        t.true(refused.code != 0, "CVE-2024-21626: the working directory is a leaked descriptor")
    finally:
        os.close(descriptor)


@test()
def strict_runs_a_static_program(t):
    result = t.coffer("run", "--rm", "--level", "strict", t.static_image("attacks"), "/attacks", code=None)
    t.true("denied" in result.stdout and "SUCCEEDED" not in result.stdout, result.stdout + result.stderr)


@test()
def strict_runs_python(t):
    program = "import os; open('/tmp/file', 'w').write('x'); print(sum(range(10)), os.access('/', os.W_OK), os.listdir('/tmp'))"
    output = t.run("--level", "strict", "--entrypoint", "python3", t.service("redis"), "-c", program)
    t.equal(output, "45 False ['file']")


@test()
def strict_has_no_capability(t):
    fields = status(t.run("--level", "strict", t.debian(), "cat", "/proc/self/status"))
    t.equal(fields["CapBnd"], "0000000000000000", "CapBnd")
    t.equal(fields["NoNewPrivs"], "1", "NoNewPrivs")


@test(modes=BOTH)
def what_was_applied_is_shown(t):
    container = t.start(t.debian(), "sleep", "300")
    text = t.coffer("inspect", container).stdout
    for step in ("seccomp", "landlock", "capabilities"):
        t.contains(text.lower(), step)
    t.true("applied" in text, "no step says that it was applied")


@test()
def nothing_is_mounted_inside_proc(t):
    """CVE-2019-16884 and its kin: a file that covers one of /proc, by name or through a link of the image's."""
    directory = t.directory()
    (directory / "file").write_text("fake")
    for target in ("/proc/self/attr/exec", "/proc/sys/kernel/core_pattern"):
        result = t.coffer("run", "--rm", "--network", "none", "-v", f"{directory}/file:{target}", t.debian(), "true", code=125)
        t.contains(result.stderr, "inside /proc")
    # What lxcfs serves may be covered.
    shown = t.coffer("run", "--rm", "--network", "none", "-v", f"{directory}/file:/proc/uptime:ro", t.debian(), "cat", "/proc/uptime")
    t.equal(shown.stdout, "fake")
