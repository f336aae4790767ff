"""`coffer exposure` beside engines that really run: what was asked of each container equals what the kernel has, or the difference is known."""

import json
import os
import socket
import threading

from harness.engines import IMAGE, Docker, Podman
from harness.registry import BOTH, ROOT, Failure, test

# Fields of the model that the kernel does not show (ComparedField): everything else is compared.
UNSEEN = {"origin", "isolation", "landlock", "mountsLocked", "sysctls", "networkNamespaceInside", "logs"}


def reports(t, *words, **options):
    found = json.loads(t.coffer("exposure", *words, "--format", "json", **options).stdout)
    return {report["target"]: report for report in (found if isinstance(found, list) else [found])}


def profile(t):
    """A filter of somebody's own: two calls are refused, whatever the capabilities are."""
    path = t.directory() / "profile.json"
    path.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
                                "syscalls": [{"names": ["mkdirat", "unshare"], "action": "SCMP_ACT_ERRNO"}]}))
    t.world.own(path)
    return path


def lacking():
    """Capabilities that this machine gives nobody."""
    with open("/proc/self/status", encoding="ascii") as status:
        bounding = next(int(line.split()[1], 16) for line in status if line.startswith("CapBnd:"))
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as last:
        return (1 << (int(last.read()) + 1)) - 1 & ~bounding


# What differs in a container that has every capability, on a machine or under an engine that does not know them all.
EVERY_CAPABILITY = {"capabilities.bounding", "capabilities.effective", "capabilities.permitted"}


def compare(t, found, known):
    """Every difference of every container is known, by the container's name."""
    wrong = []
    for name, report in found.items():
        if report["applied"] is None:
            wrong.append(f"{name}: nothing of it was read from the kernel")
            continue
        fields = {difference["field"] for difference in report["differences"]}
        if fields - known.get(name, set()):
            wrong.append(f"{name}: {json.dumps([entry for entry in report['differences'] if entry['field'] not in known.get(name, set())], indent=1)}")
        unseen = {entry["field"] for entry in report["unseen"]}
        if not t.world.is_root:
            unseen -= {entry["field"] for entry in report["unseen"] if "only root of the host" in entry["reason"]}
        if unseen - UNSEEN:
            wrong.append(f"{name}: the kernel did not show {[entry for entry in report['unseen'] if entry['field'] not in UNSEEN]}")
        if not fields and report["asked"] != report["applied"]:
            wrong.append(f"{name}: no difference, and yet asked {report['asked']}, applied {report['applied']}")
    if wrong:
        raise Failure("\n".join(wrong))


def whose_processes_are_whose(t, engine, found):
    """`pid:N` of the same containers: nothing of the filter is unknown to root, and its calls are counted from the instructions themselves."""
    for name in ("plain", "hard", "profile", "unconfined", "privileged"):
        pid = engine("inspect", "-f", "{{.State.Pid}}", name).stdout.strip()
        (report,) = reports(t, f"pid:{pid}").values()
        factors = {factor["id"]: factor for factor in report["factors"]}
        t.true("unknown" not in factors["syscalls"], f"{name}: {factors['syscalls']}")
        asked = {factor["id"]: factor for factor in found[f"docker:{name}"]["factors"]}
        counts = [int(side["syscalls"]["text"].split()[0]) for side in (factors, asked)]
        applied = [int(entry["applied"]) for entry in found[f"docker:{name}"]["differences"] if entry["field"] == "syscalls"]
        t.equal(counts[0], (applied or counts[1:])[0], f"{name}: calls that reach the kernel")
        # Fields that the kernel does not show, and masks over what this kernel has not, are all that may tell them apart.
        blind = {"syscalls", "landlock", "provenance", "logs", "kernel-parameters", "isolation", "lsm", "process-limits", "open-files", "kernel-files-masked", "kernel-settings"}
        if applied:
            # Another version's filter has other rules for arguments as well.
            blind |= {"socket-families", "nested-user-namespaces", "architectures"}
        for factor in sorted(set(factors) & set(asked)):
            if factor not in blind and not factor.startswith(("syscalls-", "capability-", "volume:", "device")):
                t.equal(round(factors[factor]["badness"], 3), round(asked[factor]["badness"], 3), f"{name}: {factor}")


@test(modes=(ROOT,))
def docker_asked_and_applied(t):
    engine = Docker(t, runtime="runc", bridge=True)
    socket = engine.socket.removeprefix("unix://")
    cases = {
        "plain": [],
        "hard": ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only", "--user", "1000:1000", "--network", "none",
                 "--pids-limit", "64", "--memory", "64m", "--memory-swap", "64m", "--cpus", "0.5", "--cgroupns", "private"],
        # runc gives every capability or none; this one gives what there is.
        "privileged": ["--privileged", *(["--runtime", "coffer"] if lacking() else [])],
        "host": ["--network", "host", "--pid", "host", "--ipc", "host", "--uts", "host"],
        "socket": ["-v", f"{socket}:/var/run/docker.sock"],
        "files": ["-v", "/etc:/host-etc:ro", "-v", "/:/host", "-v", "data:/data", "--tmpfs", "/scratch:size=1m"],
        "caps": ["--cap-add", "NET_ADMIN", "--cap-add", "SYS_PTRACE", "--cap-drop", "CHOWN"],
        "unconfined": ["--security-opt", "seccomp=unconfined", "--security-opt", "systempaths=unconfined"],
        "profile": ["--security-opt", f"seccomp={profile(t)}"],
        "limits": ["--ulimit", "nofile=100:200", "--ulimit", "core=0", "--oom-score-adj", "500", "--memory", "100m", "--cpu-shares", "512",
                   "--cpuset-cpus", "0", "--memory-reservation", "50m"],
        "device": ["--device", "/dev/kmsg", "-p", "127.0.0.1:18080:80"],
        "joined": ["--pid", "container:plain", "--network", "container:plain"],
        "named": ["--user", "root", "--group-add", "27"],
    }
    for name, flags in cases.items():
        engine("run", "-d", "--name", name, *flags, IMAGE, "sleep", "1000")
    environment = {"DOCKER_HOST": engine.socket}
    found = reports(t, "docker:all", environment=environment)
    t.equal({name.removeprefix("docker:") for name in found}, set(cases), "containers")
    # The daemon has the profile of its own version, and the calls that its libseccomp has a name for; ours is a newer one.
    filtered = {f"docker:{name}": {"syscalls"} for name in set(cases) - {"privileged", "unconfined", "profile"}}
    # Its "host" is the network namespace that this daemon lives in. 20.10 knows no capabilities of kernels since 5.8.
    compare(t, found, filtered | {"docker:host": {"syscalls", "network"}, "docker:privileged": EVERY_CAPABILITY})
    t.true(any(entry["field"] == "network" for entry in found["docker:host"]["differences"]), "the daemon's network is taken for the machine's")
    whose_processes_are_whose(t, engine, found)
    result = t.coffer("exposure", "docker:nobody", code=1, environment=environment)
    t.one_sentence(result)
    t.contains(result.stderr, "no container nobody")
    result = t.coffer("exposure", "docker:hard", "docker:privileged", "--max", "7", code=1, environment=environment)
    t.contains(result.stderr, "docker:privileged is at")
    t.true("docker:hard is at" not in result.stderr, "what is below is told as well")
    table = t.coffer("exposure", "docker:all", environment=environment).stdout
    for part in ("ASKED", "APPLIED", "PROVEN", "docker.sock mounted"):
        t.contains(table, part)
    ranks = {name.removeprefix("docker:"): report["exposure"] for name, report in found.items()}
    t.true(ranks["hard"] < ranks["plain"] < ranks["socket"] < ranks["privileged"], f"the order is wrong: {ranks}")


@test(modes=BOTH)
def podman_asked_and_applied(t):
    engine = Podman(t, runtime="runc")
    cases = {
        "plain": [],
        "hard": ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only", "--user", "1000:1000", "--network", "none"],
        "privileged": ["--privileged", *(["--runtime", t.world.runtime] if lacking() else [])],
        # --ipc host binds /dev/mqueue, which not every machine has.
        "host": ["--network", "host", "--pid", "host", "--uts", "host", *(["--ipc", "host"] if t.world.is_root else [])],
        "socket": ["-v", f"{engine.directory}:/run/podman.sock"],
        "files": ["-v", "/etc:/host-etc:ro", "-v", "/usr:/host", "-v", "data:/data", "--tmpfs", "/scratch:size=1m"],
        "caps": ["--cap-add", "NET_ADMIN", "--cap-add", "SYS_PTRACE", "--cap-drop", "CHOWN"],
        "unconfined": ["--security-opt", "seccomp=unconfined", "--security-opt", "unmask=ALL"],
        "profile": ["--security-opt", f"seccomp={profile(t)}"],
        "limits": ["--ulimit", "core=0", "--oom-score-adj", "500"],
        "device": ["--device", "/dev/null:/dev/own"],
        "user": ["--user", "7:8", "--group-add", "27"],
        "cgroupns": ["--cgroupns", "private"],
    }
    if t.world.is_root:
        cases["limits"] += ["--memory", "100m", "--cpu-shares", "512", "--cpuset-cpus", "0", "--memory-reservation", "50m", "--pids-limit", "100"]
    for name, flags in cases.items():
        network = [] if "--network" in flags else ["--network", "none"]
        engine("run", "-d", "--name", name, "--ulimit", "nofile=100:200", "--ulimit", "nproc=100:200", *network, *flags, IMAGE, "sleep", "1000")
    found = reports(t, "podman:all", environment=engine.environment())
    t.equal({name.removeprefix("podman:") for name in found}, set(cases), "containers")
    unseen = {"podman:unconfined": {"maskedPaths", "readonlyPaths"}, "podman:host": {"namespaces.ipc"}}
    known = {name: set(fields) for name, fields in unseen.items()} | {"podman:privileged": EVERY_CAPABILITY}
    if not t.world.is_root:
        # Without a device controller of its own a user's container is held by the host's permissions alone; with the host's network its /sys is the host's.
        known = {name: known.get(name, set()) | {"deviceRules"} for name in found}
        known["podman:host"] |= {"mount /sys/fs/cgroup", "maskedPaths"}
    # podman 4.3's inspect says neither unmask=ALL nor --ipc host: the kernel does.
    compare(t, found, known)
    for name, fields in unseen.items():
        if t.world.is_root or name != "podman:host":
            t.true(fields <= {entry["field"] for entry in found[name]["differences"]}, f"{name}: {found[name]['differences']}")
    result = t.coffer("exposure", "podman:nobody", code=1, environment=engine.environment())
    t.one_sentence(result)
    t.contains(result.stderr, "nobody")


def answering(t, answer):
    """A socket where each question gets the same bytes; they may be none that Docker would send."""
    path = t.directory() / "socket"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    path.chmod(0o777)
    server.listen()

    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.recv(65536)
                    for part in answer():
                        connection.sendall(part)
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()

    def end():
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(10)
    t.cleanups.append(end)
    return {"DOCKER_HOST": f"unix://{path}"}


def http(body, head="HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"):
    return lambda: [head.encode() + (body if isinstance(body, bytes) else body.encode())]


@test(modes=BOTH)
def a_docker_that_cannot_be_asked(t):
    def refused(words, part, environment):
        result = t.coffer("exposure", words, code={1, 125}, environment=environment)
        t.one_sentence(result)
        t.contains(result.stderr, part)

    directory = t.directory()
    refused("docker:web", "there is no Docker at", {"DOCKER_HOST": f"unix://{directory}/nothing"})
    refused("docker:all", "only a daemon on this machine", {"DOCKER_HOST": "tcp://127.0.0.1:2375"})
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(directory / "dead"))
    dead.close()
    (directory / "dead").chmod(0o777)
    refused("docker:all", "nobody answers", {"DOCKER_HOST": f"unix://{directory}/dead"})
    if not t.world.is_root:
        closed = answering(t, http("{}"))
        os.chmod(closed["DOCKER_HOST"].removeprefix("unix://"), 0o600)
        refused("docker:web", "you may not talk to Docker", closed)
    refused("docker:", "no name", answering(t, http("{}")))
    refused("docker:a/../b", "no name", answering(t, http("{}")))


@test(modes=BOTH)
def a_docker_that_lies(t):
    lies = {
        "nothing": lambda: [b""], "no HTTP": lambda: [b"\x00" * 5000], "no end of the head": lambda: [b"HTTP/1.1 200 OK\r\n" * 1000],
        "500": http("{}", "HTTP/1.1 500 No\r\n\r\n"), "no JSON": http("<html>"), "cut": http('{"HostConfig": {'),
        "deep": http("[" * 1_000_000), "wrong": http('{"HostConfig": 7}'),
        "chunks": http("ffffffffffffffff\r\n{}", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        "negative chunk": http("-5\r\n{}", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        "endless": lambda: [b"HTTP/1.1 200 OK\r\n\r\n"] + [b" " * (1 << 20)] * 80,
        "404": http('{"message": "\\u001b[31m"}', "HTTP/1.1 404 Not Found\r\n\r\n"),
    }
    wrong = []
    for name, answer in lies.items():
        result = t.coffer("exposure", "docker:web", code=None, environment=answering(t, answer), timeout=60)
        lines = [line for line in result.stderr.splitlines() if line.strip()]
        if result.code != 1 or len(lines) not in (1, 2) or "\x1b" in result.stderr or len(result.stderr) > 500:
            wrong.append(f"{name}: {result.code} {result.stderr[:300]!r}")
    t.equal(wrong, [], "lies that were believed or not told")
