"""`coffer probe docker:NAME` and `podman:NAME` beside engines that really run: a twin is like the container that it stands for, and the advice helps."""

import re
import socket as sockets

from harness.engines import IMAGE, Docker, Podman
from harness.probing import FOUND, TABLE, Canaries, answers, having, listed, probe, request, section
from harness.registry import BOTH, ROOT, test


def inside(t, engine):
    """What the prober's program finds in a container of the engine, with that engine's own runtime and profile."""
    program = t.world.programs / "coffer-probe"
    canaries = Canaries(t)
    words = ("run", "--rm", "-i", "--network", "none", "-v", f"{program}:/coffer-probe:ro", "-v", f"{canaries.caller}:/caller:ro", IMAGE)
    found = answers(t, engine(*words, "/coffer-probe", "run", input=request(facts={**canaries.facts, "callerFile": "/caller"})).stdout)
    return {name for name, answer in found.items() if answer["outcome"] in FOUND}


def twin_of(t, engine, target, environment):
    """What a twin of a container of the engine lets through."""
    engine("run", "-d", "--name", "plain", "--network", "none", IMAGE, "sleep", "1000")
    report = probe(t, "--quiet", "--no-peel", target, environment=environment)
    return {name for name in having(report, "reachable") | having(report, "information") if not name.startswith("carried-")}


def agrees(t, real, twin, title):
    """The two found the same, but for what docs/PROBES.md explains. Limits are another matter: a twin's are lower."""
    limits = {name for name, row in TABLE.items() if row["kind"] == "resource"}
    t.equal((real ^ twin) - limits, listed(title), f"what parts a container from its twin, and “{title}” of docs/PROBES.md")


def measured(t, real, column):
    """The table of what was measured by hand says what is so."""
    rows = re.findall(r"^\| (`.*?`) \|(.*)\|$", section("PROBES.md", "Measured by hand"), re.MULTILINE)
    t.true(len(rows) >= 7, f"{len(rows)} rows")
    for names, cells in rows:
        said = cells.split("|")[column].strip()
        for name in re.findall(r"`([a-z0-9-]+)`", names):
            t.equal("reachable" if name in real else "held", said, f"{name} in docs/PROBES.md, column {column}")


@test(modes=(ROOT,))
def docker_and_a_twin_of_its_container_agree(t):
    engine = Docker(t, runtime="runc")
    real, twin = inside(t, engine), twin_of(t, engine, "docker:plain", {"DOCKER_HOST": engine.socket})
    agrees(t, real, twin, "Docker and its twins")
    measured(t, real, 1)
    measured(t, twin, 2)


@test(modes=BOTH)
def podman_and_a_twin_of_its_container_agree(t):
    engine = Podman(t, runtime="runc")
    real, twin = inside(t, engine), twin_of(t, engine, "podman:plain", engine.environment())
    agrees(t, real, twin, "Podman and its twins")
    measured(t, real, 0)
    measured(t, twin, 0)


# A weakness that a container has already: the flags that make it, and the finding that says so.
WEAKNESSES = {
    "pid": (["--pid", "host"], "carried-host-pid"),
    "admin": (["--cap-add", "SYS_ADMIN"], "carried-capability"),
    "network": (["--network", "host"], "carried-host-network"),
    "device": (["--device", "/dev/fuse"], "carried-device"),
    "privileged": (["--privileged"], "carried-privileged"),
}


def advice(t, engine, kind, weaknesses, environment):
    """Each weakness is told first, with the flag that makes it; a container that is run without that flag has not got it."""
    def report(name, flags):
        network = [] if "--network" in flags else ["--network", "none"]
        # runc gives every capability or none, and some machines have not all of them.
        runtime = ["--runtime", "coffer"] if kind == "docker" and "--privileged" in flags else []
        engine("run", "-d", "--name", name, *network, *runtime, *flags, IMAGE, "sleep", "1000")
        return probe(t, "--quiet", "--no-peel", f"{kind}:{name}", environment=environment)

    plain = having(report("follows", []), "reachable")
    found = {}
    for name, (flags, finding) in weaknesses.items():
        found[name] = report(name, flags)
        first = found[name]["probes"][0]
        t.equal((first["id"], first["verdict"]), (finding, "reachable"), f"the first finding about {' '.join(flags)}")
        # The words of the advice are the words that were said: following it leaves a container like the plain one.
        t.contains(first["remedy"], "leave out")
        t.contains(first["remedy"], " ".join(flags))
        t.true(finding not in plain, f"{finding} is gone when the advice is followed")
    t.true({"pid-view"} <= having(found["pid"], "reachable") - plain, "processes of the host")
    t.true({"cap-sys-admin", "cap-dangerous"} & (having(found["admin"], "reachable") - plain), "the capability")
    t.true({"ns-same-network", "net-host-loopback"} <= having(found["network"], "reachable") - plain, "the host's network")
    privileged = {name for name in having(found["privileged"], "reachable") if not name.startswith("carried-")}
    t.true(len(privileged) >= 30, f"a privileged container reaches {len(privileged)} things")
    t.true(len(privileged - plain) >= 15, f"privileged adds {sorted(privileged - plain)}")
    return found, plain


@test(modes=(ROOT,))
def docker_containers_are_told_their_weakness_first(t):
    engine = Docker(t, runtime="runc", bridge=True)
    socket = engine.socket.removeprefix("unix://")
    weaknesses = {
        **WEAKNESSES, "socket": (["-v", f"{socket}:/var/run/docker.sock"], "carried-socket"),
        "parameters": (["--security-opt", "systempaths=unconfined"], "carried-proc-sys"),
    }
    found, plain = advice(t, engine, "docker", weaknesses, {"DOCKER_HOST": engine.socket})
    t.true({"engine-docker"} <= having(found["socket"], "reachable") - plain, "the socket was connected to")
    t.true({"proc-core-pattern"} <= having(found["parameters"], "reachable") - plain, "parameters of the kernel")


@test(modes=BOTH)
def podman_containers_are_told_their_weakness_first(t):
    engine = Podman(t, runtime="runc")
    socket = t.directory() / "podman.sock"
    listener = sockets.socket(sockets.AF_UNIX)
    t.cleanups.append(listener.close)
    listener.bind(str(socket))
    t.world.own(socket)
    weaknesses = {**WEAKNESSES, "socket": (["-v", f"{socket}:/run/podman.sock"], "carried-socket")}
    # What podman 4.3 keeps back about a user's container, no twin can have.
    if not t.world.is_root:
        del weaknesses["device"]
    found, plain = advice(t, engine, "podman", weaknesses, engine.environment())
    t.true({"engine-podman", "sock-mounted"} & (having(found["socket"], "reachable") - plain), "the socket was connected to")
