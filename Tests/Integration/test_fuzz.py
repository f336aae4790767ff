"""Spoiled configurations and images through the built programs: no crash, no hang, nothing left behind, and every refusal one clear sentence with its code.

A spoiled config.json is run as root here. `Tame` therefore takes back, after every spoiling, whatever could reach the machine: what may be bound, mounted,
made as a device, run as a hook, set as a kernel parameter or named as a control group is what is on its lists, and nothing else.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess

from harness import spoil
from harness.context import Result
from harness.machine import Snapshot
from harness.registry import ROOT, Failure, Unavailable, test

PREFIX = f"/coffer-fuzz-{os.getpid()}"
SECONDS = 30
# Of a program that stopped itself, or was stopped by the kernel for touching what is not there.
CRASHES = {-4, -5, -6, -7, -8, -11, 132, 133, 134, 135, 136, 139}
PROGRAMS = ("true", "false", "id", "pwd", "sleep")


class Tame:
    """Takes back what could harm the machine."""

    TYPES = ("proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "bind", "rbind", "none", "", "nosuchfs", "x\0y")
    SYSCTLS = ("net.core.somaxconn", "kernel.msgmax", "kernel.shm_rmid_forced", "net.nosuch", "kernel.nosuch", "", "a b", "net..x", "net/core")
    VALUES = ("4096", "8192", "1", "x", "", "-1", "1\n2")
    NET_DEVICES = ("fuzz-none0", "lo", "", "a/b", "a b", "..", "fuzz-none%d", "x" * 16, "a\0b")
    PATHS = ("/dev/fuzz", "/dev/null", "/dev/a/b", "rel", "", "/dev/../fuzz", "/dev/" + "x" * 300)

    def __init__(self, directory):
        self.directory = directory
        self.sources = (str(directory / "canary"), str(directory / "canary/marker"), "rootfs", "nosuch", "", "/nonexistent", "a\0b")
        self.roots = ("rootfs", "nosuch", "", "/nonexistent", str(directory / "rootfs"), "canary/marker", "a\0b", "x" * 5000)
        self.hooks = tuple(str(directory / name) for name in ("hook", "hook-fails", "hook-waits", "nosuch", "rootfs")) + ("hook", "", "a\0b")

    def config(self, config):
        """The configuration; members of the wrong type stay wrong."""
        if not isinstance(config, dict):
            return config
        self._one_of(config.get("root"), "path", self.roots)
        for mount in _dicts(config.get("mounts")):
            self._one_of(mount, "type", self.TYPES)
            self._one_of(mount, "source", self.sources)
        hooks = config.get("hooks")
        for hook in _dicts([hook for point in (hooks.values() if isinstance(hooks, dict) else ()) if isinstance(point, list) for hook in point]):
            self._one_of(hook, "path", self.hooks)
        self.process(config.get("process"))
        linux = config.get("linux")
        if isinstance(linux, dict):
            self._linux(linux)
        return config

    def process(self, process):
        arguments = process.get("args") if isinstance(process, dict) else None
        if isinstance(arguments, list) and arguments and isinstance(arguments[0], str):
            self._one_of(arguments, 0, PROGRAMS[:-1] + ("/bin/true", "nosuch", "", "/", "/bin", "/etc/passwd", "./bin/true", "a\0b"))
        return process

    def _linux(self, linux):
        for namespace in _dicts(linux.get("namespaces")):
            if isinstance(namespace.get("path"), str):
                self._one_of(namespace, "path", ("", "/nonexistent", "rel", str(self.directory / "canary/marker"), "a\0b"))
        for device in _dicts(linux.get("devices")):
            self._one_of(device, "path", self.PATHS)
            for member, allowed in (("major", (1, 0, -1, 2**32, 2**63 - 1)), ("minor", (3, 5, -1, 2**32))):
                if isinstance(device.get(member), int) and device[member] not in allowed:
                    device[member] = allowed[device[member] % len(allowed)]
            if device.get("type") == "b":
                device["major"] = device["minor"] = 0
        controls = linux.get("sysctl")
        if isinstance(controls, dict):
            linux["sysctl"] = {self._chosen(name, self.SYSCTLS): self._chosen(value, self.VALUES) for name, value in controls.items()}
        devices = linux.get("netDevices")
        if isinstance(devices, dict):
            # Of the machine, none: a start that succeeds would take it away.
            linux["netDevices"] = {self._chosen(name, self.NET_DEVICES): value for name, value in devices.items()}
        if isinstance(linux.get("cgroupsPath"), str):
            self._one_of(linux, "cgroupsPath", (f"{PREFIX}/one", f"{PREFIX}/a/b/c", f"{PREFIX}/../{PREFIX[1:]}/x", f"{PREFIX}/" + "x" * 300, f"{PREFIX}/a\0b"))
        seccomp = linux.get("seccomp")
        if isinstance(seccomp, dict) and isinstance(seccomp.get("listenerPath"), str):
            self._one_of(seccomp, "listenerPath", ("/nonexistent/agent", "rel", ""))
        self.resources(linux.get("resources"))

    def resources(self, resources):
        """Limits that would only make the program wait for ever, or wait for the machine's disk, are none."""
        if not isinstance(resources, dict):
            return resources
        memory, cpu, blocks = (resources.get(name) for name in ("memory", "cpu", "blockIO"))
        if isinstance(memory, dict):
            memory.pop("disableOOMKiller", None)
        if isinstance(cpu, dict) and isinstance(cpu.get("quota"), int) and 1000 <= cpu["quota"] < 100_000:
            cpu["quota"] = 100_000
        for entry in _dicts([entry for group in (blocks.values() if isinstance(blocks, dict) else ()) if isinstance(group, list) for entry in group]):
            if entry.get("major") not in (-1, 2**31, 2**63 - 1):
                entry["major"] = 4000
        return resources

    def _one_of(self, holder, key, allowed):
        """A string at this place becomes one of these; which one is decided by the string itself."""
        there = isinstance(holder, dict) and key in holder or isinstance(holder, list) and isinstance(key, int)
        if there and isinstance(holder[key], str):
            holder[key] = self._chosen(holder[key], allowed)

    @staticmethod
    def _chosen(text, allowed):
        if not isinstance(text, str) or text in allowed:
            return text
        return allowed[sum(text.encode("utf-8", "surrogatepass")) % len(allowed)]


def _dicts(value):
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


class Bundle:
    """A bundle whose root is one small static program, and the commands that spoiled configurations go through."""

    def __init__(self, t):
        busybox = shutil.which("busybox")
        if not busybox:
            raise Unavailable("this machine has no busybox: install the package busybox-static")
        self.t = t
        self.path = t.directory()
        self.state = self.path / "state"
        for name in ("rootfs/bin", "rootfs/etc", "canary"):
            (self.path / name).mkdir(parents=True)
        shutil.copy(busybox, self.path / "rootfs/bin/busybox")
        for name in PROGRAMS:
            os.symlink("busybox", self.path / "rootfs/bin" / name)
        (self.path / "rootfs/etc/passwd").write_text("root:x:0:0::/:/bin/sh\n")
        (self.path / "canary/marker").write_text("the canary sings\n")
        for name, script in (("hook", "exit 0"), ("hook-fails", "echo no; exit 3"), ("hook-waits", "exec sleep 3")):
            (self.path / name).write_text(f"#!/bin/sh\n{script}\n")
            (self.path / name).chmod(0o755)
        t.world.own(self.path)
        t.runtime("spec", "--bundle", self.path, *([] if t.world.is_root else ["--rootless"]))
        self.base = json.loads((self.path / "config.json").read_text())
        self.base["process"].update(terminal=False, args=["true"])
        self.tame = Tame(self.path)
        self.mounts = pathlib.Path("/proc/self/mountinfo").read_text()
        t.cleanups.append(self._remove_groups)

    def corpus(self):
        """Right configurations: the one of `spec`, and the same with everything that a machine's own engine would add."""
        full = json.loads(json.dumps(self.base))
        full["root"]["readonly"] = False
        full["process"].update(oomScoreAdj=100, user={"uid": 0, "gid": 0, "umask": 18, "additionalGids": []},
                               ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 4}, scheduler={"policy": "SCHED_BATCH", "nice": 5})
        full["mounts"] += [
            {"destination": "/canary", "type": "bind", "source": str(self.path / "canary"), "options": ["rbind", "ro"]},
            {"destination": "/etc/marker", "source": str(self.path / "canary/marker"), "options": ["bind", "rro", "rslave"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "size=1m"]}]
        full["annotations"] = {"org.example.key": "value"}
        full["hooks"] = {point: [{"path": str(self.path / "hook"), "args": ["hook", "x"], "env": ["A=1"], "timeout": 10}]
                         for point in ("prestart", "createRuntime", "createContainer", "poststart", "poststop")}
        linux = full["linux"]
        linux["rootfsPropagation"] = "rprivate"
        linux["personality"] = {"domain": "LINUX"}
        linux["devices"] = [{"path": "/dev/fuzz", "type": "c", "major": 1, "minor": 3, "fileMode": 438, "uid": 0, "gid": 0}] if self.t.world.is_root else []
        linux["sysctl"] = {"net.core.somaxconn": "4096"}
        linux["seccomp"] = {
            "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{"names": ["acct", "bpf"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
                          "args": [{"index": 0, "value": 7, "valueTwo": 0, "op": "SCMP_CMP_EQ"}]}]}
        corpus = {"config.json of spec": self.base, "config.json with everything": full}
        if self.t.world.is_root:
            limited = json.loads(json.dumps(self.base))
            limited["linux"]["cgroupsPath"] = f"{PREFIX}/one"
            limited["linux"]["resources"] = RESOURCES
            corpus["config.json with limits"] = limited
        moved = json.loads(json.dumps(self.base))
        moved["linux"]["netDevices"] = {"fuzz-none0": {"name": "net%d"}, "fuzz-none1": {}}
        corpus["config.json with network devices"] = moved
        return corpus

    WORDS = ("idmap", "rro", "tmpcopyup", "shared", "remount", "CAP_SYS_ADMIN", "CAP_NONE", "RLIMIT_CPU", "RLIMIT_STACK", "RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_NPROC", "SCMP_ACT_KILL_PROCESS",
             "SCMP_ACT_NOTIFY", "SCMP_ACT_TRAP", "SCMP_ACT_LOG", "execve", "write", "user", "time", "SCHED_DEADLINE", "SCHED_FIFO", "LINUX32")

    def put(self, name, document, rng):
        (self.path / name).write_bytes(spoil.text_of(document, rng).encode("utf-8", "surrogatepass"))
        self.t.world.own(self.path / name)

    def config(self, document, rng):
        """Puts down a spoiled configuration, tamed."""
        self.put("config.json", self.tame.config(document), rng)

    def runtime(self, *words):
        return self.t.runtime("--root", self.state, *words, cwd=self.path, code=None, timeout=SECONDS)

    def detached(self, *words):
        """A command whose container stays: its streams are files, which nobody waits for."""
        with open(self.path / "output", "wb") as output, open(self.path / "errors", "wb") as errors:
            process = self.t.world.popen(
                [self.t.world.runtime, "--root", self.state, *words], cwd=self.path, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
        try:
            code = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Failure(f"{words}: not done after {SECONDS} s") from None
        return Result(code, "", (self.path / "errors").read_text(errors="replace"), 0)

    def running(self):
        """The name of a container that sleeps until the end of the test."""
        self.base["process"]["args"] = ["sleep", "100000"]
        (self.path / "config.json").write_text(json.dumps(self.base))
        self.t.cleanups.append(self._clean)
        for command in ("create", "start"):
            result = self.detached(command, "fuzz-run")
            self.t.equal((result.code, result.stderr), (0, ""), command)
        return "fuzz-run"

    def alone(self, name):
        """The container is there, with its one process."""
        state = json.loads(self.runtime("state", name).stdout)
        if state["status"] != "running":
            raise Failure(f"the container is {state['status']}")
        namespace = os.readlink(f"/proc/{state['pid']}/ns/pid")
        inside = [entry for entry in os.listdir("/proc") if entry.isdigit() and _namespace(entry) == namespace]
        if inside != [str(state["pid"])]:
            raise Failure(f"left behind in the container: {inside}")

    @contextlib.contextmanager
    def cleaned_on_failure(self):
        try:
            yield
        except Failure:
            self._clean()
            raise

    def answer(self, result, refusals=(1, 125, 126, 127, 255)):
        """Whether the program accepted it; fails for a crash, and for a refusal that is no sentence."""
        if result.code in CRASHES and "coffer-runtime" not in result.stderr and self._is_crash(result):
            raise Failure(f"the program crashed ({result.code}): {result.stderr[-500:]!r}")
        said = [line for line in result.stderr.splitlines() if not line.startswith("coffer-runtime: warning: ")]
        if not said:
            return True
        if not re.match("coffer-runtime( [a-z]+ failed)?: |exec ", said[0]):
            return True  # What the contained program says.
        if result.code not in refusals:
            raise Failure(f"exit code {result.code} with {said[0][:200]!r}")
        spoil.sentence(result.stderr, said)
        return False

    @staticmethod
    def _is_crash(result):
        """A payload that its own filter killed ends in the same way: only the runtime's own end is negative."""
        return result.code < 0

    def nothing_left(self):
        """No state, no mount, no process, no control group of a container that is gone or never was."""
        left = [f"state {name}" for name in self._states()]
        if pathlib.Path("/proc/self/mountinfo").read_text() != self.mounts:
            left.append("a mount")
        left += [f"process {pid}: {command}" for pid, command in Snapshot([self.path]).processes.items() if pid not in self.t.before.processes]
        left += [f"control group {path}" for path in _groups()]
        if (self.path / "canary/marker").read_text() != "the canary sings\n" or os.listdir(self.path / "canary") != ["marker"]:
            left.append("a changed canary")
        if left:
            raise Failure(f"left behind: {'; '.join(left)}")

    def _states(self):
        """Of containers: compiled filters are kept beside them."""
        return [name for name in (os.listdir(self.state) if self.state.exists() else ()) if not name.startswith(".")]

    def _clean(self):
        for name in self._states():
            self.runtime("delete", "--force", name)
        self._remove_groups()

    def _remove_groups(self):
        for hierarchy in pathlib.Path("/sys/fs/cgroup").glob("*"):
            for directory, _, _ in os.walk(hierarchy / PREFIX[1:], topdown=False):
                os.rmdir(directory)


RESOURCES = {
    "devices": [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"}],
    "memory": {"limit": 64 << 20, "reservation": 32 << 20}, "pids": {"limit": 50}, "cpu": {"shares": 512, "quota": 100_000, "period": 100_000, "cpus": "0"},
}


def _namespace(pid):
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return None


def _groups():
    """Control groups of containers of these tests. Those above them stay, as with every runtime: they may be an engine's."""
    for hierarchy in pathlib.Path("/sys/fs/cgroup").glob("*"):
        for top in (hierarchy / PREFIX[1:], hierarchy / "coffer"):
            for directory, _, _ in os.walk(top):
                name = pathlib.Path(directory).name
                if name in ("fuzz-one", "fuzz-two") or top.name != "coffer" and (name in ("one", "c") or name.startswith("xxx")):
                    yield directory


def spoiled_runs(t, cases, fresh=False):
    bundle = Bundle(t)

    def check(document, rng):
        bundle.config(document, rng)
        with bundle.cleaned_on_failure():
            accepted = bundle.answer(bundle.runtime("run", "fuzz-one"))
            bundle.nothing_left()
        return accepted
    spoil.Spoiler("coffer-runtime run", bundle.corpus(), bundle.WORDS).run(cases, check, fresh)


def spoiled_creations(t, cases, fresh=False):
    bundle = Bundle(t)

    def check(document, rng):
        bundle.config(document, rng)
        with bundle.cleaned_on_failure():
            accepted = bundle.answer(bundle.detached("create", "fuzz-two"))
            if accepted:
                bundle.answer(bundle.runtime("start", "fuzz-two"))
                bundle.answer(bundle.runtime("delete", "--force", "fuzz-two"))
            bundle.nothing_left()
        return accepted
    spoil.Spoiler("coffer-runtime create", bundle.corpus(), bundle.WORDS).run(cases, check, fresh)


def spoiled_processes(t, cases, fresh=False):
    bundle = Bundle(t)
    process = {**bundle.corpus()["config.json with everything"]["process"], "env": ["PATH=/bin"]}
    name = bundle.running()

    def check(document, rng):
        bundle.put("process.json", bundle.tame.process(document), rng)
        accepted = bundle.answer(bundle.runtime("exec", "--process", "process.json", name))
        bundle.alone(name)
        return accepted
    spoil.Spoiler("coffer-runtime exec", {"process.json": process}, bundle.WORDS).run(cases, check, fresh)


def spoiled_limits(t, cases, fresh=False):
    bundle = Bundle(t)
    name = bundle.running()

    def check(document, rng):
        bundle.put("resources.json", bundle.tame.resources(document), rng)
        accepted = bundle.answer(bundle.runtime("update", "--resources", "resources.json", name))
        bundle.alone(name)
        return accepted
    spoil.Spoiler("coffer-runtime update", {"resources.json": RESOURCES}, ["0-1", "1-0", "99"]).run(cases, check, fresh)


@test()
def configurations_that_are_run(t):
    spoiled_runs(t, 100)


@test()
def configurations_that_are_created(t):
    spoiled_creations(t, 60)


@test()
def processes_of_exec(t):
    spoiled_processes(t, 80)


@test(modes=(ROOT,))
def limits_of_update(t):
    spoiled_limits(t, 120)


@test(long=True)
def very_many_configurations(t):
    spoiled_runs(t, 4000, fresh=True)
    spoiled_creations(t, 2000, fresh=True)


@test(long=True)
def very_many_processes(t):
    spoiled_processes(t, 3000, fresh=True)


@test(long=True, modes=(ROOT,))
def very_many_limits(t):
    spoiled_limits(t, 3000, fresh=True)
