"""coffer-runtime as an OCI runtime: its command line, and what it makes of a bundle (runtime-spec)."""

import fcntl
import json
import os
import pathlib
import socket
import struct

from harness.bundles import Bundle
from harness.registry import ROOT, test


@test()
def a_container_lives_as_the_specification_says(t):
    bundle = Bundle(t).shell("echo ran > /tmp/ran; exec sleep 100")
    bundle.create("one", "--pid-file", bundle.path / "pid")
    t.equal(bundle.status(), "created", "status")
    pid = int((bundle.path / "pid").read_text())
    t.equal(bundle.pid(), pid, "pid")
    t.true(not (bundle.path / "rootfs/tmp/ran").exists(), "the program ran before start")
    refused = bundle.runtime("delete", "one", code=1)
    t.contains(refused.stderr, "not stopped: created")
    if t.world.is_root:
        t.equal(bundle.runtime("exec", "one", "echo", "before").stdout, "before\n", "what exec does before start")
        # Until start the first process is the runtime: nobody in the container may look at it (CVE-2016-9962).
        looked = bundle.runtime("exec", "one", "sh", "-c", "readlink /proc/1/exe /proc/1/fd/0 /proc/1/cwd; ls /proc/1/root/; cat /proc/1/environ", code=1)
        t.equal(looked.stdout, "", "what is to be seen of the runtime")
        t.equal(looked.stderr.lower().count("permission denied"), 2, f"what was refused: {looked.stderr}")
    else:
        t.contains(bundle.runtime("exec", "one", "true", code=255).stderr, "cannot exec in a created container as an ordinary user")
    refused = bundle.runtime("exec", "--cap", "CAP_SYS_PTRACE", "one", "true", code=255)
    t.contains(refused.stderr, "cannot exec in a created container with CAP_SYS_PTRACE")
    t.equal(bundle.status(), "created", "status")
    bundle.runtime("start", "one")
    t.equal(bundle.status(), "running", "status")
    t.contains(bundle.runtime("start", "one", code=1).stderr, "cannot start a container that is running")
    t.eventually((bundle.path / "rootfs/tmp/ran").exists, "the program runs")
    t.contains(bundle.runtime("delete", "one", code=1).stderr, "not stopped: running")
    t.contains(bundle.runtime("create", "one", code=1).stderr, "container with id exists")
    bundle.runtime("kill", "one", "KILL")
    bundle.stopped()
    t.contains(bundle.runtime("kill", "one", "KILL", code=1).stderr, "container not running")
    t.contains(bundle.runtime("start", "one", code=1).stderr, "stopped")
    state = json.loads(bundle.runtime("state", "one").stdout)
    t.equal((state["id"], state["bundle"], state["pid"]), ("one", str(bundle.path), 0), "state")
    bundle.runtime("delete", "one")
    t.contains(bundle.runtime("state", "one", code=1).stderr, "container does not exist")
    t.equal([name for name in os.listdir(bundle.state) if name != ".filters"], [], "what is left of the state")


@test()
def run_ends_with_the_programs_code_and_leaves_nothing(t):
    bundle = Bundle(t).shell("echo out; echo err >&2; exit 7")
    result = bundle.runtime("run", "one", code=7)
    t.equal((result.stdout, result.stderr), ("out\n", "err\n"), "output")
    t.contains(bundle.program("nosuch").runtime("run", "one", code=127).stderr, 'exec: "nosuch": executable file not found in $PATH')
    t.contains(bundle.program("/etc/passwd").runtime("run", "one", code=126).stderr, "permission denied")
    bundle.shell("kill -TERM $$").runtime("run", "one", code={143, 0})
    t.equal([name for name in os.listdir(bundle.state) if name != ".filters"], [], "what is left of the state")


@test()
def what_happens_to_the_bundle_after_create_has_no_effect(t):
    bundle = Bundle(t).program("cat", "/tmp/marker")
    (bundle.path / "rootfs/tmp/marker").write_text("as created")
    bundle.config["annotations"] = {"org.example.when": "before"}
    bundle.shell("cat /tmp/marker > /tmp/copy; sleep 100")
    bundle.create()
    bundle.config["annotations"] = {"org.example.when": "after"}
    bundle.program("false")
    (bundle.path / "config.json").write_text("{")
    bundle.runtime("start", "one")
    t.eventually((bundle.path / "rootfs/tmp/copy").exists, "the program of the first configuration runs")
    t.equal(json.loads(bundle.runtime("state", "one").stdout)["annotations"], {"org.example.when": "before"}, "annotations")
    t.equal(bundle.runtime("exec", "one", "cat", "/tmp/marker").stdout, "as created", "exec")


@test()
def errors_go_to_the_log_in_the_format_that_engines_read(t):
    bundle = Bundle(t).program('no"such\\')
    log = bundle.path / "log"
    t.runtime("--root", bundle.state, "--log", log, "--log-format", "json", "create", "--bundle", bundle.path, "one", code=127)
    entry = json.loads(log.read_text())
    t.equal((entry["level"], sorted(entry)), ("error", ["level", "msg", "time"]), "entry")
    t.contains(entry["msg"], 'no"such\\')
    log.unlink()
    t.runtime("--root", bundle.state, "--log", log, "state", "none", code=1)
    t.contains(log.read_text(), 'level=error msg="container does not exist: none"')


@test()
def the_terminal_goes_to_the_console_socket(t):
    bundle = Bundle(t).shell("tty; stty size; read line; echo got $line")
    bundle.config["process"] |= {"terminal": True, "consoleSize": {"height": 30, "width": 100}}
    bundle.write()
    t.contains(bundle.runtime("create", "one", code=1).stderr, "--console-socket")
    path = bundle.path / "console"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        t.world.own(path)
        listener.listen()
        bundle.create("one", "--console-socket", path)
        connection, _ = listener.accept()
        with connection:
            _, ancillary, _, _ = connection.recvmsg(100, socket.CMSG_SPACE(4))
    master = struct.unpack("i", ancillary[0][2])[0]
    bundle.runtime("start", "one")
    os.write(master, b"word\n")
    text = b""
    while b"got word" not in text:
        text += os.read(master, 1000)
    os.close(master)
    t.contains(text.decode(), "/dev/pts/0")
    t.contains(text.decode(), "30 100")
    bundle.stopped()


def _hook(bundle, name, script, **more):
    """A hook that writes what it was told to a file of its name, by the host's shell."""
    path = bundle.path / f"hook-{name}"
    path.write_text(f"#!/bin/sh\ncat > {bundle.path}/said-{name}\necho {name} >> {bundle.path}/order\n{script}\n")
    path.chmod(0o755)
    return {"path": str(path), **more}


@test([ROOT])
def hooks_run_at_their_times_with_the_state(t):
    bundle = Bundle(t).shell("echo program >> /order; sleep 100")
    order = bundle.path / "order"
    inside = bundle.path / "rootfs/order"
    bundle.config["hooks"] = {
        name: [_hook(bundle, name, "")] for name in ("prestart", "createRuntime", "createContainer", "poststart", "poststop")}
    script = bundle.path / "rootfs/hook"
    script.write_text("#!/bin/sh\ncat > /said\necho startContainer >> /order\n")
    script.chmod(0o755)
    bundle.config["hooks"]["startContainer"] = [{"path": "/hook", "args": ["hook", "x"]}]
    bundle.write().create()
    t.equal(order.read_text().split(), ["prestart", "createRuntime", "createContainer"], "hooks of create")
    t.true(not inside.exists(), "nothing of start ran yet")
    pid = bundle.pid()
    for name, status in (("prestart", "created"), ("createRuntime", "creating")):
        state = json.loads((bundle.path / f"said-{name}").read_text())
        t.equal((state["id"], state["status"], state["pid"], state["bundle"]), ("one", status, pid, str(bundle.path)), name)
    bundle.runtime("start", "one")
    t.eventually(lambda: inside.exists() and "program" in inside.read_text(), "the program runs")
    t.equal(inside.read_text().split(), ["startContainer", "program"], "what ran inside")
    t.equal(json.loads((bundle.path / "rootfs/said").read_text())["status"], "created", "state of startContainer")
    t.equal(json.loads((bundle.path / "said-poststart").read_text())["status"], "running", "state of poststart")
    bundle.runtime("delete", "--force", "one")
    t.equal(order.read_text().split()[-2:], ["poststart", "poststop"], "hooks of the end")
    t.equal(json.loads((bundle.path / "said-poststop").read_text())["status"], "stopped", "state of poststop")


@test([ROOT])
def a_hook_that_fails_or_hangs_stops_the_start(t):
    bundle = Bundle(t)
    for name in ("prestart", "createRuntime", "createContainer"):
        bundle.config["hooks"] = {name: [_hook(bundle, name, "echo because >&2; exit 3")]}
        result = bundle.write().runtime("create", "one", code=1)
        t.contains(result.stderr, f"hook-{name}")
        t.contains(result.stderr, "exit status 3, output: because")
    bundle.config["hooks"] = {"createRuntime": [_hook(bundle, "slow", "exec sleep 60", timeout=1)]}
    result = bundle.write().runtime("create", "one", code=1)
    t.true(result.seconds < 20, "the timeout was not kept")
    t.contains(result.stderr, "not done within 1 s")
    t.equal([name for name in os.listdir(bundle.state) if name != ".filters"], [], "what is left of the state")


@test([ROOT])
def a_hook_gets_the_environment_that_it_names_or_the_runtimes(t):
    bundle = Bundle(t)
    bundle.config["hooks"] = {
        "createRuntime": [
            _hook(bundle, "own", f"env > {bundle.path}/own", env=["ONLY=this", f"PATH={os.environ['PATH']}"]),
            _hook(bundle, "given", f"env > {bundle.path}/given")]}
    bundle.write().runtime("run", "one", environment={"OF_THE_CALLER": "yes"})
    t.contains((bundle.path / "own").read_text(), "ONLY=this")
    t.true("OF_THE_CALLER" not in (bundle.path / "own").read_text(), "a hook with an environment got another one")
    t.contains((bundle.path / "given").read_text(), "OF_THE_CALLER=yes")


@test()
def descriptors_reach_the_program_only_when_promised(t):
    bundle = Bundle(t).program("ls", "/proc/self/fd")
    read_end, write_end = os.pipe()
    extra = os.dup2(read_end, 3, inheritable=True)
    try:
        shown = bundle.run(pass_fds=(3,)).split()
        t.equal(shown, ["0", "1", "2", "3"], "descriptors of ls, of which 3 is the directory that it reads")
        t.equal(bundle.shell("readlink /proc/self/fd/3 || echo none").run(pass_fds=(3,)), "none", "descriptor 3")
        t.contains(bundle.run("--preserve-fds", "1", pass_fds=(3,)), "pipe:")
        t.contains(bundle.shell("echo $LISTEN_FDS $LISTEN_PID").run(pass_fds=(3,), environment={"LISTEN_FDS": "1"}), "1 1")
    finally:
        for descriptor in {read_end, write_end, extra}:
            os.close(descriptor)
    # What the caller has not opened is nobody's, least of all the runtime's own.
    result = bundle.program("ls", "/proc/self/fd").runtime("run", "--preserve-fds", "40", "one")
    t.equal(result.stdout.split(), ["0", "1", "2", "3"], "descriptors of ls")
    t.contains(result.stderr, "are not open")


@test()
def exec_takes_what_other_runtimes_take(t):
    bundle = Bundle(t).program("sleep", "100")
    bundle.create()
    bundle.runtime("start", "one")

    def run(*words, **options):
        return bundle.runtime("exec", *words, **options).stdout.strip()
    t.equal(run("--cwd", "/tmp", "one", "pwd"), "/tmp", "--cwd")
    t.equal(run("--env", "A=1", "-e", "B=2", "one", "sh", "-c", "echo $A$B"), "12", "--env")
    t.equal(bundle.runtime("exec", "one", "cat", input="carried").stdout, "carried", "stdin")
    bundle.runtime("exec", "one", "sh", "-c", "exit 9", code=9)
    t.contains(bundle.runtime("exec", "one", "nosuch", code=255).stderr, "executable file not found in $PATH")
    t.contains(run("--no-new-privs", "one", "grep", "NoNewPrivs", "/proc/self/status"), "1")
    t.contains(run("--cap", "CAP_SYS_PTRACE", "one", "grep", "CapBnd", "/proc/self/status"), "20080420")
    process = bundle.path / "process.json"
    process.write_text(json.dumps({"args": ["sh", "-c", "pwd; echo $C"], "cwd": "/etc", "env": ["C=3", "PATH=/bin"], "user": {"uid": 0, "gid": 0}}))
    t.world.own(process)
    t.equal(run("--process", process, "one").split(), ["/etc", "3"], "--process")
    pid_file = bundle.path / "exec.pid"
    bundle.detached("exec", "--detach", "--pid-file", pid_file, "one", "sleep", "100")
    t.true(os.path.exists(f"/proc/{pid_file.read_text()}"), "the process of --pid-file does not exist")
    t.true(not (bundle.path / "rootfs" / str(pid_file)[1:]).exists(), "the PID file was written inside the container")
    # Its parent has ended: whoever adopted it must wait for it, or the container's process namespace cannot end.
    adopted = int(pid_file.read_text())
    os.kill(adopted, 9)
    if os.getpid() == 1:
        os.waitpid(adopted, 0)


@test([ROOT])
def a_container_is_listed_paused_and_killed_whole(t):
    bundle = Bundle(t).shell("sleep 100 & sleep 100 & wait")
    bundle.create()
    bundle.runtime("start", "one")
    t.eventually(lambda: len(json.loads(bundle.runtime("ps", "--format", "json", "one").stdout)) == 3, "three processes")
    t.equal(bundle.runtime("ps", "one").stdout.count("sleep 100"), 4, "mentions in ps: two of the shell, one of each sleep")
    bundle.runtime("pause", "one")
    t.equal(bundle.status(), "paused", "status")
    t.contains(bundle.runtime("exec", "one", "true", code=255).stderr, "paused")
    t.contains(bundle.runtime("pause", "one", code=1).stderr, "paused")
    bundle.runtime("resume", "one")
    t.equal(bundle.status(), "running", "status")
    t.contains(bundle.runtime("resume", "one", code=1).stderr, "not paused")
    listed = json.loads(bundle.runtime("list", "--format", "json").stdout)
    t.equal([(row["id"], row["status"], row["owner"]) for row in listed], [("one", "running", "root")], "list")
    t.equal(bundle.runtime("list", "-q").stdout, "one\n", "list -q")
    t.contains(bundle.runtime("list").stdout, "running")
    bundle.runtime("pause", "one")
    bundle.runtime("kill", "one", "KILL")
    bundle.stopped()


@test([ROOT])
def namespaces_are_joined_by_path(t):
    first = Bundle(t).program("sleep", "100")
    first.config["linux"]["namespaces"].append({"type": "user"})
    maps = [{"containerID": 0, "hostID": 2_300_000, "size": 65536}]
    first.config["linux"] |= {"uidMappings": maps, "gidMappings": maps}
    t.world.own(first.path)
    os.chown(first.path / "rootfs", 2_300_000, 2_300_000)
    first.write().create()
    first.runtime("start", "one")
    pid = first.pid()
    for kinds in (("network",), ("pid",), ("ipc", "uts"), ("user", "network", "pid", "ipc", "uts")):
        second = Bundle(t)
        names = {"network": "net"}
        namespaces = [{"type": kind} for kind in ("mount", "pid", "network", "ipc", "uts") if kind not in kinds]
        namespaces += [{"type": kind, "path": f"/proc/{pid}/ns/{names.get(kind, kind)}"} for kind in kinds]
        second.config["linux"]["namespaces"] = namespaces
        second.config["mounts"] = [mount for mount in second.config["mounts"] if mount["type"] not in ("sysfs", "cgroup")]
        second.shell("for name in " + " ".join(names.get(kind, kind) for kind in kinds) + "; do readlink /proc/self/ns/$name; done")
        wanted = [os.readlink(f"/proc/{pid}/ns/{names.get(kind, kind)}") for kind in kinds]
        t.contains(second.runtime("run", "one", code=1).stderr, "cgroup is not empty")  # the group of the first
        t.equal(second.runtime("run", "two").stdout.split(), wanted, f"namespaces {kinds}")


@test([ROOT])
def clocks_policies_and_personality_are_as_configured(t):
    bundle = Bundle(t).shell("cat /proc/self/timens_offsets; uname -m; set -- $(cat /proc/self/stat); shift 18; echo $1; cat /proc/self/oom_score_adj")
    bundle.config["linux"]["namespaces"].append({"type": "time"})
    bundle.config["linux"] |= {"timeOffsets": {"monotonic": {"secs": 7777}, "boottime": {"secs": 3333}}, "personality": {"domain": "LINUX32"}}
    bundle.config["process"] |= {
        "scheduler": {"policy": "SCHED_BATCH", "nice": 5}, "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 0}, "oomScoreAdj": 321}
    words = bundle.write().run().split()
    t.equal(words, ["monotonic", "7777", "0", "boottime", "3333", "0", "i686", "5", "321"], "what the program sees")


@test()
def a_start_that_fails_says_why_and_the_container_is_over(t):
    bundle = Bundle(t)
    del bundle.config["process"]
    bundle.write().create()
    t.equal(bundle.status(), "created", "status")
    t.contains(bundle.runtime("start", "one", code={125, 126}).stderr, "no process")
    bundle.stopped()
    bundle.runtime("delete", "one")


@test()
def a_creation_that_was_killed_can_be_deleted(t):
    bundle = Bundle(t)
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "60"]}]}
    bundle.write()
    process = t.background(t.world.runtime, "--root", bundle.state, "create", "--bundle", bundle.path, "one")
    t.eventually(lambda: (bundle.state / "one/state.json").exists() and bundle.status() == "creating", "creation is under way")
    process.kill()
    process.wait()
    t.eventually(lambda: bundle.status() == "stopped", "a killed creation is over")
    bundle.runtime("delete", "one")
    t.equal([name for name in os.listdir(bundle.state) if name != ".filters"], [], "what is left of the state")
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if entry.read_bytes() == b"sleep\00060\0":
                os.kill(int(entry.parent.name), 9)
        except (FileNotFoundError, ProcessLookupError):
            continue


@test([ROOT])
def the_runtimes_program_cannot_be_written_from_inside(t):
    """CVE-2019-5736: a payload that is `#!/proc/self/exe` has the runtime executed inside, as a process that root there may open."""
    before = t.world.runtime.read_bytes()
    bundle = Bundle(t)
    script = bundle.path / "rootfs/bin/again"
    script.write_text("#!/proc/self/exe\n")
    script.chmod(0o755)
    # While runtimes come and go, somebody inside tries to open for writing whatever they have as their program.
    bundle.shell(
        "echo up > /tmp/up; while true; do for exe in /proc/[0-9]*/exe; do "
        "case $(readlink $exe) in *coffer*) echo seen >> /tmp/seen; (echo x >> $exe) 2> /tmp/why && echo $exe >> /tmp/written;; esac; done; done")
    bundle.create()
    bundle.runtime("start", "one")
    t.eventually((bundle.path / "rootfs/tmp/up").exists, "the program runs")
    for _ in range(20):
        bundle.runtime("exec", "one", "/bin/again", code=None)
        bundle.runtime("exec", "one", "true")
    t.true(not (bundle.path / "rootfs/tmp/written").exists(), "the runtime's program was opened for writing")
    t.equal(t.world.runtime.read_bytes() == before, True, "the program is what it was")


@test([ROOT])
def limits_can_be_changed_and_use_is_told(t):
    bundle = Bundle(t).program("sleep", "100")
    bundle.create()
    bundle.runtime("start", "one")

    def limit(controller, file):
        return bundle.runtime("exec", "one", "cat", f"/sys/fs/cgroup/{controller}/{file}").stdout.strip()
    bundle.runtime("update", "--memory", "64m", "--pids-limit", "33", "--cpu-share", "77", "one")
    t.equal([limit("memory", "memory.limit_in_bytes"), limit("pids", "pids.max"), limit("cpu", "cpu.shares")], [str(64 << 20), "33", "77"], "limits")
    bundle.runtime("update", "-r", "-", "one", input=json.dumps({"pids": {"limit": 44}, "cpu": {"quota": 40000, "period": 100000}}))
    t.equal([limit("pids", "pids.max"), limit("cpu", "cpu.cfs_quota_us"), limit("cpu", "cpu.shares")], ["44", "40000", "77"], "limits")
    bundle.runtime("update", "--memory", "32m", "--memory-swap", "48m", "one")
    bundle.runtime("update", "--memory", "128m", "--memory-swap", "256m", "one")
    t.equal(limit("memory", "memory.limit_in_bytes"), str(128 << 20), "a limit above the old memory and swap")
    t.contains(bundle.runtime("update", "--l3-cache-schema", "x", "one", code=1).stderr, "not supported")
    t.contains(bundle.runtime("update", "--memory", "much", "one", code=1).stderr, "not a number of bytes")
    event = json.loads(bundle.runtime("events", "--stats", "one").stdout)
    t.equal((event["type"], event["id"], event["data"]["pids"]["limit"]), ("stats", "one", 44), "event")
    t.true(event["data"]["memory"]["usage"]["usage"] > 0, "no memory use")
    t.equal(event["data"]["memory"]["usage"]["limit"], 128 << 20, "memory limit")


@test()
def a_specification_and_the_features_are_written(t):
    features = json.loads(t.runtime("features").stdout)
    t.equal(features["hooks"], ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"], "hooks")
    t.true({"rro", "ridmap", "rslave", "tmpcopyup"} <= set(features["mountOptions"]), "mount options")
    t.true("SCMP_ACT_NOTIFY" in features["linux"]["seccomp"]["actions"], "filter actions")
    t.true("time" in features["linux"]["namespaces"], "namespaces")
    bundle = Bundle(t)
    t.contains(t.runtime("spec", "--bundle", bundle.path, code=1).stderr, "exists")
    for command in ("checkpoint", "restore"):
        t.contains(t.runtime(command, "x", code=1).stderr, "not supported")
    lines = t.runtime("--version").stdout.splitlines()
    t.true(lines[0].startswith("coffer-runtime version ") and lines[1].startswith("commit: ") and lines[2].startswith("spec: 1."), f"{lines}")
    t.true(lines[1].split()[1] == "unknown" or len(lines[1].split()[1]) == 40, lines[1])


@test([ROOT])
def calls_of_a_notify_filter_are_answered_by_the_agent(t):
    bundle = Bundle(t).shell("mkdir /tmp/told; echo $?; mkdir /tmp/done; echo $?")
    path = bundle.path / "agent"
    bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "listenerPath": str(path), "listenerMetadata": "of the test",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]}
    bundle.write()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        output = bundle.path / "output"
        bundle.create()
        starting = t.background(t.world.runtime, "--root", bundle.state, "start", "one", cwd=bundle.path)
        connection, _ = listener.accept()
        with connection:
            text, ancillary, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(4))
        told = json.loads(text)
        t.equal((told["fds"], told["metadata"], told["state"]["id"], told["pid"]), (["seccompFd"], "of the test", "one", bundle.pid()), "process state")
        descriptor = struct.unpack("i", ancillary[0][2])[0]
        for error, flags in ((-30, 0), (0, 1)):  # EROFS, then SECCOMP_USER_NOTIF_FLAG_CONTINUE
            call = bytearray(80)
            fcntl.ioctl(descriptor, 0xC0502100, call)  # SECCOMP_IOCTL_NOTIF_RECV
            fcntl.ioctl(descriptor, 0xC0182101, struct.pack("QqiI", struct.unpack_from("Q", call)[0], 0, error, flags))
        os.close(descriptor)
        t.equal(starting.wait(20), 0, "start")
    bundle.stopped()
    t.equal(output.read_text().split(), ["1", "0"], "what mkdir said")
    refused = bundle.config["linux"]["seccomp"]["syscalls"]
    refused[0]["names"] = ["write"]
    bundle.write()
    t.contains(bundle.runtime("run", "two", code=1).stderr, "SCMP_ACT_NOTIFY cannot be used for the write syscall")


@test([ROOT])
def mounts_have_their_options(t):
    bundle = Bundle(t).shell(
        "touch /bound/sub/a && echo below; touch /bound/b || echo above; touch /closed/sub/c || echo closed; "
        "cat /copied/kept; stat -c %u /mapped/file; grep -c ' / rw[^ ]* shared:' /proc/self/mountinfo || true")
    source = bundle.path / "source"
    (source / "sub").mkdir(parents=True)
    t.command("mount", "-t", "tmpfs", "none", source / "sub")
    t.cleanups.append(lambda: t.command("umount", source / "sub"))
    (bundle.path / "rootfs/copied").mkdir()
    (bundle.path / "rootfs/copied/kept").write_text("kept\n")
    (bundle.path / "mapped").mkdir()
    (bundle.path / "mapped/file").write_text("")
    maps = [{"containerID": 0, "hostID": 4321, "size": 10}]
    bundle.config["mounts"] += [
        {"destination": "/bound", "type": "bind", "source": str(source), "options": ["rbind", "ro"]},
        {"destination": "/closed", "type": "bind", "source": str(source), "options": ["rbind", "rro"]},
        {"destination": "/copied", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]},
        {"destination": "/mapped", "type": "bind", "source": str(bundle.path / "mapped"), "options": ["bind"], "uidMappings": maps,
         "gidMappings": maps}]
    bundle.config["linux"]["rootfsPropagation"] = "private"
    words = bundle.write().run().split()
    t.equal(words[:4], ["below", "above", "closed", "kept"], "what could be written")
    t.equal(words[4], "4321", "the owner in the mapped mount")
    t.equal(words[5], "0", "shared roots of one that is to be private")
    bundle.config["linux"]["rootfsPropagation"] = "shared"
    t.equal(bundle.write().run().split()[5], "1", "shared roots of one that is to be shared")
