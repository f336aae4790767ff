"""coffer-probe: each probe finds the hole where there is one, and finds none in a container."""

import pathlib
import shutil
import signal
import socket
import subprocess

from harness.probing import FOUND, TABLE, Canaries, answers, listed, processes_of, request
from harness.registry import ROOT, test

# The namespaces of the control `user-namespace` of Sources/Probe/ProbeKinds.swift.
USER_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc", "--net", "--ipc", "--uts", "--cgroup")
PRIVILEGED = ("unshare", "--mount", "--pid", "--fork", "--mount-proc")
LIMITS = {"processes": 20, "memoryBytes": 8 << 20, "diskBytes": 1 << 20, "sharedMemoryBytes": 1 << 20, "openFiles": 40, "processorPercent": 1}


def bare(t, document, *wrapper, **options):
    """What the program answers when it is run on the host."""
    return answers(t, t.command(*wrapper, t.world.programs / "coffer-probe", "run", input=document, **options).stdout)


def inside(t, document, *flags, image=None):
    """What it answers in a container; the program is mounted there, read-only."""
    program = t.world.programs / "coffer-probe"
    return answers(t, t.coffer("run", "--rm", "-i", "-v", f"{program}:/coffer-probe:ro", *flags, image or t.debian(), "/coffer-probe", "run", input=document).stdout)


def check_found(t, found, ids, exceptions=()):
    """Each of the probes found its hole, or the kernel has nothing to find it in."""
    problems = [f"{name}: {found[name]}" for name in ids if name not in exceptions and found[name]["outcome"] not in FOUND + ("absent",)]
    t.true(not problems, "probes that do not find the hole: " + "\n".join(problems))
    return sum(found[name]["outcome"] in FOUND for name in ids)


def check_held(t, found):
    reached = [f"{name}: {answer['detail']}" for name, answer in found.items() if answer["outcome"] == "reached"]
    t.true(not reached, "\n".join(reached))
    # What could not be tried, although everything was arranged for it, was not shown to be held.
    open_ends = [f"{name}: {answer['detail']}" for name, answer in found.items() if answer["outcome"] == "inconclusive" and "request" not in answer["detail"]]
    return open_ends


@test()
def the_program_has_every_probe_of_the_table(t):
    ids = t.command(t.world.programs / "coffer-probe", "list").stdout.split()
    t.equal(sorted(ids), sorted(TABLE), "probes of the program")


@test()
def what_is_no_request_is_refused(t):
    program = t.world.programs / "coffer-probe"
    for words, text in ((("run",), "not json"), (("run",), request(["no-such-probe"])), (("run",), request(seconds=0)), (("try",), ""), ((), "")):
        result = t.command(program, *words, input=text, code=125)
        t.equal(result.stdout, "", "answers to a wrong request")
        t.contains(result.stderr, "coffer-probe: ")


@test()
def every_probe_finds_the_hole_in_a_plain_user_namespace(t):
    canaries = Canaries(t)
    found = bare(t, request(facts={**canaries.facts, "callerFile": str(canaries.caller)}, limits=LIMITS), *USER_NAMESPACE)
    count = check_found(t, found, [name for name, row in TABLE.items() if row["control"] == "user-namespace"], {"res-processor", "info-mountinfo"})
    # Where nothing of the host is bound to another place, mountinfo names no path of it.
    t.true(found["info-mountinfo"]["outcome"] in ("information", "held"), str(found["info-mountinfo"]))
    # How much of a processor there is to have depends on who else is there.
    t.true(found["res-processor"]["outcome"] in ("reached", "held"), str(found["res-processor"]))
    t.true(count >= 89, f"{count} probes found something")


@test(modes=(ROOT,))
def every_probe_finds_the_hole_as_privileged_root(t):
    found = bare(t, request(), *PRIVILEGED)
    missing = without_capability()
    check_found(t, found, [name for name, row in TABLE.items() if row["control"] == "privileged"], missing)


@test(modes=(ROOT,))
def every_probe_finds_the_hole_on_the_host(t):
    canaries = Canaries(t)
    found = bare(t, request(facts=canaries.facts))
    # The audit system answers the first process namespace alone, and the tests have one of their own; so they may have of control groups. Names are
    # asked for elsewhere.
    hidden = {"net-dns", "cap-audit-control"} | ({"cgroup-release-agent", "info-cgroup-path"} if not any(pathlib.Path("/sys/fs/cgroup").glob("*/release_agent")) else set())
    if "sessionKeyring" not in canaries.facts:
        hidden.add("sys-host-keyring")
    check_found(t, found, [name for name, row in TABLE.items() if row["control"] == "host"], hidden)


def without_capability():
    """Probes of a capability that this machine's root has not got itself."""
    bounding = next(int(line.split()[1], 16) for line in pathlib.Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd"))
    numbers = {"CAP_SYS_RESOURCE": 24, "CAP_SYS_ADMIN": 21, "CAP_SYS_RAWIO": 17, "CAP_BPF": 39, "CAP_PERFMON": 38, "CAP_SYS_TIME": 25}
    return {name for name, row in TABLE.items() if row.get("capability") in numbers and not bounding >> numbers[row["capability"]] & 1}


# Arranged weaknesses: a script that makes one, and the probes that must find it. $1 is the program, standard input the request.
SOCKETS = {
    "engine-docker": "/run/docker.sock", "engine-containerd": "/run/containerd/containerd.sock", "engine-podman": "/run/podman/podman.sock",
    "engine-crio": "/run/crio/crio.sock", "engine-buildkit": "/run/buildkit/buildkitd.sock", "engine-kubelet": "/var/lib/kubelet/pod-resources/kubelet.sock",
    "engine-other": "/var/lib/incus/unix.socket", "sock-dbus": "/run/dbus/system_bus_socket", "sock-systemd": "/run/systemd/private",
    "sock-display": "/run/user/1000/wayland-0", "sock-agent": "/run/user/1000/keyring/ssh",
}
LISTEN = """mount -t tmpfs none /run && mount -t tmpfs none /var/lib && /usr/bin/python3 -c '
import os, socket, sys
kept = []
for path in sys.argv[2:]:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    kept.append(socket.socket(socket.AF_UNIX))
    kept[-1].bind(path)
    kept[-1].listen()
open("/run/mounted", "w").close()
os.system("mount --bind /run/docker.sock /run/mounted")
sys.exit(os.waitstatus_to_exitcode(os.spawnv(os.P_WAIT, sys.argv[1], [sys.argv[1], "run"]) << 8))
' "$1" """ + " ".join(SOCKETS.values())
OUTSIDE = """mount -t tmpfs none /mnt && mkdir -p /mnt/root/below && cp "$1" /mnt/root/probe && cd /mnt && exec 9< /mnt && exec /usr/bin/python3 -c '
import os
os.set_inheritable(9, True)
os.chroot("/mnt/root")
os.execv("/probe", ["/probe", "run"])'"""
ARRANGED = {
    "sockets": (LISTEN, [*SOCKETS, "sock-mounted"], {}),
    "read-only": ('mount --bind /usr /usr && mount -o remount,bind,ro /usr && mount --bind /dev/null /proc/keys && exec "$1" run', ["mount-remount", "mount-unmask"], {}),
    "shared": ('mount --make-shared /proc && exec "$1" run', ["mount-propagation"], {}),
    "outside": (OUTSIDE, ["fd-extra", "fd-directory", "cwd-outside", "chroot-escape"], {}),
    "false proc": ('mount -t tmpfs none /proc && mkdir /proc/self && exec "$1" run', ["proc-genuine"], {}),
    "binfmt": ('mount -t binfmt_misc none /proc/sys/fs/binfmt_misc && exec "$1" run', ["proc-binfmt-register"], {}),
    "environment": ('SSH_AUTH_SOCK=/x API_TOKEN=1 exec "$1" run', ["env-secrets", "env-tokens"], {}),
    "inheritable": ('exec setpriv --inh-caps=+net_raw "$1" run', ["cap-inheritable"], {}),
    "deleted init": ('rm "$0"; "$1" run', ["init-exe"], {}),
}


@test()
def every_probe_finds_an_arranged_weakness(t):
    program = t.world.programs / "coffer-probe"
    for name, (script, ids, facts) in ARRANGED.items():
        shell = t.directory() / "sh"
        shutil.copy("/bin/sh", shell)
        shell.chmod(0o755)
        t.world.own(shell)
        text = t.command(*USER_NAMESPACE, shell, "-c", script, shell, program, input=request(ids, facts)).stdout
        check_reached(t, answers(t, text), ids, name)


def check_reached(t, found, ids, name):
    problems = [f"{name}: {each}: {found[each]}" for each in ids if found[each]["outcome"] not in FOUND]
    t.true(not problems, "\n".join(problems))


@test()
def a_procfs_of_others_and_the_keyring_of_the_host_are_found(t):
    words = [word for word in USER_NAMESPACE if word != "--mount-proc"]
    check_reached(t, bare(t, request(["mount-host-proc"]), *words), ["mount-host-proc"], "procfs of the host")
    keyring = int(t.command("/usr/bin/python3", "-c", "import ctypes; print(ctypes.CDLL(None).syscall(250, 0, -3, 0))").stdout)
    found = bare(t, request(["sys-host-keyring"], {"sessionKeyring": keyring}))
    t.true(found["sys-host-keyring"]["outcome"] == "reached" or keyring == -1, f"{found}: {keyring}")


@test(modes=(ROOT,))
def what_only_real_root_can_arrange_is_found(t):
    program = t.world.programs / "coffer-probe"
    for script, name in (('mount -t tracefs none /mnt || mount -t securityfs none /mnt || mount -t debugfs none /mnt; exec "$0" run', "mount-kernel-fs"),
                         ('exec setpriv --groups=4,5 "$0" run', "id-groups")):
        text = t.command(*PRIVILEGED, "sh", "-c", script, program, input=request([name])).stdout
        check_found(t, answers(t, text), [name])


@test()
def races_are_run_and_found(t):
    place = t.directory()
    t.world.own(place)
    facts = {"raceDirectory": str(place), "raceTarget": "/nowhere", "engineName": "coffer-engine"}
    engine = place / "coffer-engine"
    shutil.copy("/bin/sleep", engine)
    engine.chmod(0o755)
    t.background(engine, "60")
    ids = ["race-exec", "race-link-swap", "race-copy-swap"]
    found = bare(t, request(ids, facts, seconds=2))
    t.equal(found["race-exec"]["outcome"], "reached", str(found["race-exec"]))
    for name in ids[1:]:
        t.equal(found[name]["outcome"], "tried", str(found[name]))
    writer = t.background("sh", "-c", f"while :; do echo label | dd of={place}/proc/self/attr/exec conv=nocreat 2>/dev/null; sleep 0.05; done")
    found = bare(t, request(["race-fake-proc"], facts, seconds=3))
    writer.kill()
    t.equal(found["race-fake-proc"]["outcome"], "reached", str(found))
    t.equal([path.name for path in place.iterdir()], ["coffer-engine"], "what races left behind")


@test()
def a_race_alone_reaches_nothing(t):
    place = t.directory()
    t.world.own(place)
    found = bare(t, request(["race-fake-proc", "race-exec"], {"raceDirectory": str(place), "engineName": "coffer-nobody"}, seconds=2))
    t.equal([answer["outcome"] for answer in found.values()], ["tried", "inconclusive"], str(found))


@test()
def a_probe_that_takes_too_long_is_ended_and_named(t):
    # Each of these takes the connection and says nothing, which a probe waits a second for.
    silent = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
    t.cleanups += [one.close for one in silent]
    endpoints = [dict(role="metadata", transport="tcp", address="127.0.0.1", port=one.getsockname()[1]) for one in silent]
    found = bare(t, request(["net-metadata", "id-root"], {"endpoints": endpoints}, seconds=1))
    t.equal(sorted(found), ["id-root", "net-metadata"], "the ids of the answers")
    t.equal(found["net-metadata"]["outcome"], "inconclusive", str(found))


@test()
def nothing_is_reached_at_standard(t):
    check_held(t, inside(t, request(facts=Canaries(t).facts)))


@test()
def nothing_is_reached_at_strict(t):
    check_held(t, inside(t, request(facts=Canaries(t).facts), "--level", "strict"))


@test()
def limits_hold(t):
    limits = {"processes": 40, "diskBytes": 8 << 20, "diskDirectory": "/tmp", "sharedMemoryBytes": 4 << 20, "openFiles": 64}
    flags = ["--pids-limit", "40", "--shm-size", "4m", "--tmpfs", "/tmp:size=8m", "--ulimit", "nofile=64:64"]
    ids = ["res-processes", "res-disk", "res-shared-memory", "res-files"]
    if t.world.is_root:
        flags += ["--memory", "32m"]
        limits["memoryBytes"] = 32 << 20
        ids.append("res-memory")
    found = inside(t, request(ids, limits=limits), *flags)
    t.equal({name: answer["outcome"] for name, answer in found.items()}, {name: "held" for name in ids}, str(found))


# A container's own weakness: the flag that makes it, and the probes that say so.
WEAKNESSES = {
    "SYS_ADMIN": (["--cap-add", "SYS_ADMIN"], ["cap-dangerous"]),
    "no filter": (["--security-opt", "seccomp=unconfined"], ["sys-filter", "sys-keyctl", "sock-vsock", "sys-int80", "sys-socket-high-bits"]),
    "new privileges": (["--security-opt", "no-new-privileges=false"], ["suid-no-new-privileges"]),
    "environment": (["-e", "SSH_AUTH_SOCK=/x"], ["env-secrets"]),
    "unmasked": (["--security-opt", "unmask=/proc/interrupts"], ["info-interrupts"]),
    "unknown calls": (["--level", "compat", "--network", "none"], ["sys-unknown"]),
}


@test()
def a_weakness_of_the_container_is_found_and_no_other(t):
    for name, (flags, ids) in WEAKNESSES.items():
        check_reached(t, inside(t, request(ids), *flags), ids, name)
        held = inside(t, request(ids))
        t.true(all(answer["outcome"] == "held" for answer in held.values()), f"without {name}: {held}")


@test(modes=(ROOT,))
def what_the_documentation_says_is_found_here_is_found_here(t):
    arranged = {name for _, ids, _ in ARRANGED.values() for name in ids} | {name for _, ids in WEAKNESSES.values() for name in ids}
    # Those of the settings of the table are all found, by the tests above.
    arranged |= {name for name, row in TABLE.items() if row["control"] in ("user-namespace", "privileged", "host")}
    t.equal(listed("Found by the program's own tests") - arranged, set(), "docs/PROBES.md")


@test()
def a_socket_of_an_engine_in_a_container_is_found(t):
    place = t.directory() / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen()
        place.chmod(0o777)
        ids = ["engine-docker", "sock-mounted"]
        check_reached(t, inside(t, request(ids), "-v", f"{place}:/var/run/docker.sock"), ids, "docker.sock")


@test()
def a_program_that_is_ended_leaves_no_process_and_no_last_line(t):
    place = t.directory()
    t.world.own(place)
    process = t.world.popen([t.world.programs / "coffer-probe", "run", request(["race-link-swap", "id-root"], {"raceDirectory": str(place)}, seconds=30)], stdout=subprocess.PIPE)
    t.eventually(lambda: any(place.iterdir()), "the race has begun")
    process.send_signal(signal.SIGKILL)
    output, _ = process.communicate(timeout=20)
    t.true(b"complete" not in output, output.decode())
    # Its child dies with it (PR_SET_PDEATHSIG); what is left of a probe that was killed are its files.
    t.eventually(lambda: not processes_of("coffer-probe"), "no process is left")
