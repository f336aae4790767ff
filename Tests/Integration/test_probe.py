"""`coffer probe`: twins of containers are attacked, and what is said of them holds."""

import json
import os
import pathlib
import re
import signal
import socket as sockets
import time

from harness.bundles import Bundle
from harness.registry import BOTH, ROOT, ROOTLESS, Unavailable, test

# What containment.md measured by hand as reachable under a configuration like Podman's default.
SEVEN = {"ns-user-unshare", "dev-whiteout", "sys-keyctl", "sock-vsock", "sys-tiocsti", "sys-int80"}
VERDICTS = {"reachable", "contained", "information", "not applicable", "inconclusive"}


def probe(t, *words, code=(0, 1), **options):
    """The report as a dictionary, checked as far as every report must hold."""
    if not (t.world.programs / "coffer-probe").exists():
        raise Unavailable("coffer-probe is not built")
    result = t.coffer("probe", *words, "--format", "json", code=set(code) if not isinstance(code, int) else code, **options)
    report = json.loads(result.stdout)
    for one in report["probes"]:
        t.true({"id", "verdict", "layer", "control", "remedy", "detail"} <= one.keys(), f"members are missing: {one}")
        t.true(one["verdict"] in VERDICTS, f"no verdict: {one}")
        t.true(one["verdict"] != "reachable" or one["remedy"], f"nothing mends {one['id']}")
    t.equal(result.code == 1, any(one["verdict"] == "reachable" for one in report["probes"]), "exit code 1 means that something is reachable")
    return report


def default(t):
    """The report of a run without any flag, which does not change from one test to the next."""
    if "probed" not in t.world.__dict__:
        t.world.probed = probe(t, "--no-peel")
    return t.world.probed


def having(report, verdict):
    return {one["id"] for one in report["probes"] if one["verdict"] == verdict}


def details(report, verdict):
    return {one["id"]: one["detail"] for one in report["probes"] if one["verdict"] == verdict}


def known(report):
    """Information findings that docs/THREAT-MODEL.md does not give a reason for."""
    page = (pathlib.Path(__file__).resolve().parents[2] / "docs/THREAT-MODEL.md").read_text()
    return {name: detail for name, detail in details(report, "information").items() if f"`{name}`" not in page}


def nothing_is_left(t):
    t.equal(list((t.world.state / "containers").iterdir()) if (t.world.state / "containers").exists() else [], [], "directories")
    groups = [path for path in pathlib.Path("/sys/fs/cgroup").glob("**/coffer/probe-*")]
    t.equal(groups, [], "control groups")


@test(modes=BOTH)
def standard_has_nothing_reachable(t):
    report = probe(t, "--no-peel", t.static_image("attacks"))
    t.equal(details(report, "reachable"), {}, "reachable at level standard")
    t.equal(details(report, "inconclusive"), {}, "inconclusive at level standard")
    t.true(len(having(report, "contained")) > 100, f"too few were tried: {report['totals']}")
    t.equal(known(report), {}, "information without a reason in docs/THREAT-MODEL.md")
    nothing_is_left(t)
    # An image with files where an engine binds its own, and nothing of the kind on the host yet.
    t.equal(details(probe(t, "--no-peel", t.debian()), "reachable"), {}, "reachable in a Debian image")


@test(modes=BOTH)
def strict_has_nothing_reachable(t):
    report = probe(t, "--no-peel", "--level", "strict")
    t.equal(details(report, "reachable"), {}, "reachable at level strict")
    t.equal(known(report), {}, "information without a reason in docs/THREAT-MODEL.md")
    nothing_is_left(t)


@test(modes=BOTH)
def layers_are_found_by_peeling(t):
    report = probe(t, "--only", "sys-keyctl", "--only", "sys-io-uring", "--only", "dev-whiteout", "--only", "mount-tmpfs", "--only", "suid-no-new")
    found = {one["id"]: one for one in report["probes"]}
    t.equal(found["sys-keyctl"]["layer"], "seccomp")
    t.equal(found["sys-io-uring"]["layer"], "seccomp")
    t.equal(found["suid-no-new-privileges"]["layer"], "no-new-privileges")
    t.true("landlock" in found["dev-whiteout"]["layers"], f"{found['dev-whiteout']}")
    t.true(found["mount-tmpfs"]["depth"] > 1, f"several layers hold a mount: {found['mount-tmpfs']}")
    for one in found.values():
        t.true(one["control"] != "none here", f"the control was not seen to succeed: {one}")


@test(modes=BOTH)
def other_engines_defaults_beside_ours(t):
    reports = json.loads(t.coffer("probe", "--level", "compare", "--no-peel", "--format", "json", timeout=300).stdout)
    by_name = {report["target"]: report for report in reports}
    t.equal(list(by_name), ["coffer run --level standard", "coffer run --level strict", "coffer run --level compat", "docker run", "podman run",
                            "docker run --privileged"], "columns")
    t.equal(SEVEN - having(by_name["podman run"], "reachable"), set(), "measured by hand, and not found")
    privileged = {one for one in having(by_name["docker run --privileged"], "reachable") if not one.startswith("carried-")}
    t.true(len(privileged) >= 30, f"only {len(privileged)} reachable for a privileged container")
    for level in ("standard", "strict"):
        t.equal(having(by_name[f"coffer run --level {level}"], "reachable"), set(), f"reachable at {level}")
    t.true(having(by_name["docker run"], "reachable"), "nothing reachable in Docker's default")


@test(modes=BOTH)
def the_page_of_the_comparison_needs_nothing_else(t):
    page = t.coffer("probe", "--no-peel", "--only", "ns-user", "--format", "html", code={0, 1}).stdout
    t.contains(page, "ns-user-unshare")
    t.true(re.search(r"(?:src|href)=[\"']?(?:https?:)?//", page) is None, "the page asks for something from elsewhere")
    t.true("<script" not in page, "the page has a script")


@test(modes=BOTH)
def a_container_is_probed_and_exposure_shows_it(t):
    container = t.start(t.debian(), "sleep", "300")
    before = t.inspect(container)
    report = probe(t, "--no-peel", container)
    t.equal(details(report, "reachable"), {}, "reachable in a container of the default level")
    after = t.inspect(container)
    t.equal((after["State"]["Pid"], after["State"]["Status"]), (before["State"]["Pid"], "running"), "the container itself is not touched")
    shown = json.loads(t.coffer("exposure", container, "--format", "json").stdout)
    t.equal(shown["proven"]["reachable"], [], "proven")
    t.equal(shown["proven"]["exposure"], shown["exposure"], "what held is as closed as it was asked to be")
    t.contains(t.coffer("exposure", container).stdout, "proven on 20")


# Each: flags, the finding that comes first, a part of its remedy.
CARRIED = [
    (["-v", "{socket}:/var/run/docker.sock"], "carried-socket", "-v "),
    (["--pid", "host"], "carried-host-pid", "--pid host"),
    (["--cap-add", "SYS_ADMIN"], "carried-capability", "--cap-add SYS_ADMIN"),
    (["--network", "host"], "carried-host-network", "--network host"),
    (["--security-opt", "systempaths=unconfined"], "carried-proc-sys", "systempaths"),
    (["--device", "/dev/fuse"], "carried-device", "--device /dev/fuse"),
]


def _carried(t, position):
    flags, name, remedy = CARRIED[position]
    socket = t.directory() / "docker.sock"
    listener = sockets.socket(sockets.AF_UNIX)
    listener.bind(str(socket))
    os.chown(socket, t.world.uid, t.world.gid)
    t.cleanups.append(listener.close)
    flags = [flag.format(socket=socket) for flag in flags]
    report = probe(t, "--no-peel", *flags, code=1)
    first = report["probes"][0]
    t.equal((first["id"], first["verdict"]), (name, "reachable"), "the first finding")
    t.contains(first["remedy"], remedy)
    # Following the advice removes it, and whatever came of it.
    t.equal(details(default(t), "reachable"), {}, "after the flag was left out")
    return report


@test(modes=BOTH)
def a_docker_socket_is_told_first(t):
    report = _carried(t, 0)
    t.true({"engine-docker", "sock-mounted"} & having(report, "reachable"), f"the socket was not connected to: {having(report, 'reachable')}")


@test(modes=BOTH)
def the_hosts_processes_are_told_first(t):
    report = _carried(t, 1)
    t.true("pid-view" in having(report, "reachable"), f"the canary was not seen: {having(report, 'reachable')}")


@test(modes=BOTH)
def a_strong_capability_is_told_first(t):
    report = _carried(t, 2)
    t.true({"cap-sys-admin", "cap-dangerous"} & having(report, "reachable"), f"{having(report, 'reachable')}")


@test(modes=BOTH)
def the_hosts_network_is_told_first(t):
    report = _carried(t, 3)
    t.true({"net-host-loopback", "ns-same-network"} <= having(report, "reachable"), f"{having(report, 'reachable')}")


@test(modes=BOTH)
def writable_kernel_parameters_are_told_first(t):
    _carried(t, 4)


@test(modes=BOTH)
def a_device_is_told_first(t):
    if not os.path.exists("/dev/fuse"):
        raise Unavailable("this machine has no /dev/fuse")
    report = _carried(t, 5)
    t.true("carried-device" in having(report, "reachable"), "the device")


def _foreign(t, name, text, *expected):
    path = t.directory() / name
    path.write_text(text)
    os.chown(path, t.world.uid, t.world.gid)
    report = probe(t, "--no-peel", path, code=1)
    t.equal(set(expected) - having(report, "reachable"), set(), f"findings of {name}")
    return report


@test(modes=BOTH)
def a_pod_is_probed_in_its_own_words(t):
    report = _foreign(t, "pod.yaml", """
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  hostPID: true
  containers:
  - name: app
    image: nginx
    securityContext: {runAsUser: 0, seccompProfile: {type: RuntimeDefault}}
""", "carried-host-pid", "pid-view")
    t.contains(report["probes"][0]["remedy"], "spec.hostPID")
    t.true(any("root is empty" in note for note in report["notes"]), f"what is missing is said: {report['notes']}")


@test(modes=BOTH)
def a_bundle_is_probed_in_its_own_words(t):
    bundle = Bundle(t)
    for one in bundle.config["process"]["capabilities"].values():
        one.append("CAP_SYS_PTRACE")
    bundle.write()
    report = probe(t, "--no-peel", bundle.path, code=1)
    first = report["probes"][0]
    found = {one["id"]: one for one in report["probes"]}
    t.contains(found["carried-capability"]["remedy"], "CAP_SYS_PTRACE out of process.capabilities")
    t.true(first["id"].startswith("carried-"), f"{first}")


@test(modes=(ROOTLESS,))
def the_host_from_an_ordinary_user(t):
    report = json.loads(t.coffer("probe", "--host", "--format", "json", code={0, 1}).stdout)
    t.true(len(report["probes"]) > 20, f"too few: {report['totals']}")
    t.true(having(report, "reachable"), "an ordinary user reaches more of this kernel than a container")


@test(modes=(ROOT,))
def root_is_told_that_it_may_do_everything(t):
    t.one_sentence(t.coffer("probe", "--host", code=1))


@test(modes=BOTH)
def wrong_targets_get_one_sentence(t):
    for words in (["no-such-target"], ["pid:1"], ["x.service"], ["--only", "no-such-probe"], ["--level", "loose"], ["--level", "compare", "x"]):
        t.one_sentence(t.coffer("probe", *words, code={1, 125}))
    nothing_is_left(t)


@test(modes=(ROOT,))
def the_table_in_the_documentation_is_the_programs(t):
    page = (pathlib.Path(__file__).resolve().parents[2] / "docs/PROBING.md").read_text()
    table = t.coffer("probe", "--list", "--format", "markdown").stdout
    t.true(table in page, "docs/PROBING.md has another table: put in what `coffer probe --list --format markdown` prints")


@test(modes=(ROOT,))
def every_control_was_seen_or_is_marked(t):
    page = (pathlib.Path(__file__).resolve().parents[2] / "docs/PROBING.md").read_text()
    marked = set(re.findall(r"`([a-z0-9-]+)`", page.split("## Never seen to succeed")[1].split("\n## ")[0]))
    report = default(t)
    unseen = {one["id"]: one.get("controlDetail") for one in report["probes"] if one["verdict"] == "contained" and one["control"] == "none here"}
    t.equal({name: why for name, why in unseen.items() if name not in marked}, {}, "held, never seen to succeed, and not marked in docs/PROBING.md")


@test(modes=BOTH)
def the_table_of_probes(t):
    lines = t.coffer("probe", "--list").stdout.splitlines()
    t.true(len(lines) > 89, f"{len(lines)} lines")
    t.true(any(line.startswith("ns-user-unshare") for line in lines), "ns-user-unshare")


def _interrupted(t, number):
    """Probes, ends the prober while twins run, and returns its exit code."""
    process = t.background(t.world.coffer, "probe", "--quiet", stdout=-3, stderr=-3)
    containers = t.world.state / "containers"
    t.eventually(lambda: containers.exists() and any(path.name.isdigit() for one in containers.iterdir() for path in one.iterdir()), "a twin is there")
    time.sleep(0.2)
    process.send_signal(number)
    return process.wait(30)


@test(modes=BOTH)
def a_prober_that_is_told_to_stop_leaves_nothing(t):
    for number in (signal.SIGINT, signal.SIGTERM):
        t.true(_interrupted(t, number) in (128 + number, -number), f"the exit code of signal {number}")
        nothing_is_left(t)


@test(modes=BOTH)
def a_prober_that_is_killed_is_cleaned_up_after(t):
    t.equal(_interrupted(t, signal.SIGKILL), -signal.SIGKILL, "the exit code")
    t.equal(t.coffer("ps", "-a", "-q").stdout, "", "no twin is listed")
    nothing_is_left(t)
