"""coffer-runtime under containerd: by its own command, and by the interface that a kubelet speaks."""

import os

from harness import cri
from harness.engines import IMAGE, Containerd
from harness.registry import ROOT, Unavailable, test


@test([ROOT])
def ctr_runs_and_tells_exit_codes(t):
    containerd = Containerd(t)
    containerd.load("default")
    run = ("run", "--rm", "--snapshotter", "native", "--runc-binary", t.world.runtime)
    t.equal(containerd(*run, IMAGE, "one", "/bin/sh", "-c", "echo out; exit 5", code=5).stdout, "out\n", "output")
    t.contains(containerd(*run, IMAGE, "one", "nosuch", code=1).stderr, "executable file not found in $PATH")
    groups = ("--mount", "type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=ro")
    limits = containerd(*run, *groups, "--memory-limit", str(64 << 20), IMAGE, "one", "/bin/cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes").stdout
    t.equal(limits, f"{64 << 20}\n", "memory limit")
    shown = containerd(*run, "--uidmap", "0:2300000:65536", "--gidmap", "0:2300000:65536", "--remap-labels", IMAGE, "one", "/bin/cat", "/proc/self/uid_map", code=None)
    if shown.code == 0:
        t.equal(shown.stdout.split(), ["0", "2300000", "65536"], "map")


@test([ROOT])
def ctr_lifecycle(t):
    containerd = Containerd(t)
    containerd.load("default")
    containerd("run", "-d", "--snapshotter", "native", "--runc-binary", t.world.runtime, IMAGE, "one", "/bin/sleep", "100000")
    t.equal(containerd("tasks", "exec", "--exec-id", "two", "one", "/bin/sh", "-c", "echo inside; exit 9", code=9).stdout, "inside\n", "exec")
    containerd("tasks", "pause", "one")
    t.contains(containerd("tasks", "ls").stdout, "PAUSED")
    containerd("tasks", "resume", "one")
    t.contains(containerd("tasks", "ls").stdout, "RUNNING")
    t.contains(containerd("tasks", "metrics", "one").stdout, "memory")
    t.true(len(containerd("tasks", "ps", "one").stdout.splitlines()) == 2, "one process")
    containerd("tasks", "kill", "--signal", "KILL", "one")
    t.eventually(lambda: "STOPPED" in containerd("tasks", "ls").stdout, "killed")
    containerd("tasks", "rm", "one")
    containerd("containers", "rm", "one")


def _kubelet(t, **options):
    containerd = Containerd(t, **options)
    containerd.load("k8s.io")
    runtime = cri.Runtime(t, containerd.socket)
    return containerd, runtime, str(containerd.directory / "logs")


@test([ROOT])
def a_pod_as_a_kubelet_runs_it(t):
    """A pod on the node's network: created, started, asked, limited, stopped, removed."""
    containerd, runtime, logs = _kubelet(t)
    sandbox = runtime.sandbox("pod", logs, network=runtime.NODE)
    container = runtime.container(
        sandbox, "main", IMAGE, ["/bin/sh", "-c", "echo started $FROM; trap 'exit 7' TERM; while :; do sleep 1; done"],
        resources={3: 512, 4: 64 << 20, 5: 100},
        security={3: {1: runtime.NODE, 2: runtime.CONTAINER}, 5: {1: 1000}, 8: [2000], 11: True})
    t.equal(runtime.status(container), ("running", 0), "status")
    t.eventually(lambda: "stdout F started kubelet" in (containerd.directory / "logs/main.log").read_text(), "the log has what was written")
    code, output, errors = runtime.exec(container, "/bin/sh", "-c", "id -u; id -G; echo error >&2; grep NoNewPrivs /proc/self/status; exit 9")
    t.equal((code, errors), (9, "error\n"), "exec")
    t.equal(output.split(), ["1000", "0", "2000", "NoNewPrivs:", "1"], "identity")
    t.equal(runtime.exec(container, "/bin/cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/proc/1/oom_score_adj")[1].split(), [str(64 << 20), "100"], "limits")
    runtime.call("UpdateContainerResources", {1: container, 2: {4: 32 << 20, 6: "0"}})
    shown = runtime.exec(container, "/bin/cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/cpuset/cpuset.cpus")[1].split()
    t.equal(shown, [str(32 << 20), "0"], "limits after update")
    try:
        runtime.exec(container, "nosuch")
        t.true(False, "a program that is not there was run")
    except cri.Refused as refusal:
        t.contains(str(refusal), "executable file not found in $PATH")
    runtime.call("StopContainer", {1: container, 2: 10})
    t.equal(runtime.status(container), ("exited", 7), "status after SIGTERM")
    runtime.call("RemoveContainer", {1: container})
    runtime.call("StopPodSandbox", {1: sandbox[0]})
    runtime.call("RemovePodSandbox", {1: sandbox[0]})


@test([ROOT])
def a_pod_with_a_network_of_its_own(t):
    """Two containers that share a namespace which containerd made beforehand, and a volume; one is killed when its time is over."""
    if not os.path.exists("/usr/lib/cni/ptp"):
        raise Unavailable("this machine has no CNI plugins: install the package containernetworking-plugins")
    _, runtime, logs = _kubelet(t)
    sandbox = runtime.sandbox("pod", logs)
    volume = t.directory()
    mount = {1: "/data", 2: str(volume)}
    first = runtime.container(sandbox, "first", IMAGE, ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"], mounts=[mount])
    second = runtime.container(sandbox, "second", IMAGE, ["/bin/sleep", "100000"], mounts=[{**mount, 3: True}], security={7: True})
    namespaces = [runtime.exec(container, "/bin/readlink", "/proc/self/ns/net", "/proc/self/ns/ipc", "/proc/self/ns/uts")[1] for container in (first, second)]
    t.equal(namespaces[0], namespaces[1], "namespaces of a pod")
    t.equal(runtime.exec(first, "/bin/hostname")[1], "pod\n", "host name")
    t.equal(runtime.exec(first, "/bin/sh", "-c", "echo carried > /data/file")[0], 0, "writing")
    t.equal(runtime.exec(second, "/bin/cat", "/data/file")[1], "carried\n", "the volume")
    t.contains(runtime.exec(second, "/bin/touch", "/data/x")[2], "Read-only file system")
    t.contains(runtime.exec(second, "/bin/touch", "/x")[2], "Read-only file system")
    runtime.call("StopContainer", {1: first, 2: 1})
    t.equal(runtime.status(first), ("exited", 137), "status after the time was over")
    t.equal(runtime.status(second)[0], "running", "the other container")
    runtime.call("StopPodSandbox", {1: sandbox[0]})
    t.equal(runtime.status(second)[0], "exited", "status after the pod was stopped")
    runtime.call("RemovePodSandbox", {1: sandbox[0]})
