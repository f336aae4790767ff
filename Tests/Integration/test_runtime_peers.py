"""coffer-runtime where runc and crun agree on what the specification leaves open, as their own test suites look for it."""

import array
import json
import os
import pathlib
import signal
import socket
import stat
import subprocess
import time

from harness.bundles import Bundle
from harness.registry import ROOT, Unavailable, test


def _started(t, program=("sleep", "100"), **members):
    bundle = Bundle(t).program(*program)
    bundle.config["linux"] |= members
    bundle.write().create()
    bundle.runtime("start", "one")
    return bundle


@test()
def a_program_has_a_session_of_its_own(t):
    """TIOCSTI, CVE-2017-5226: in the caller's session a program could type into the caller's terminal."""
    shown = Bundle(t).program("cat", "/proc/self/stat").run().split()
    t.true("0" not in shown[4:6], f"process group and session of the first process are the caller's: {shown[4:6]}")
    shown = _started(t).runtime("exec", "one", "cat", "/proc/self/stat").stdout.split()
    t.true("0" not in shown[4:6], f"process group and session of exec's process are the caller's: {shown[4:6]}")


@test([ROOT])
def a_poststart_hook_that_fails_ends_the_container(t):
    bundle = Bundle(t).program("sleep", "100")
    mark = bundle.path / "stopped"
    bundle.config["hooks"] = {
        "poststart": [{"path": "/bin/true"}, {"path": "/bin/false"}],
        "poststop": [{"path": "/bin/false"}, {"path": "/bin/touch", "args": ["touch", str(mark)]}]}
    bundle.write().create()
    result = bundle.runtime("start", "one", code=1)
    t.contains(result.stderr, "error running poststart hook #1:")
    t.contains(result.stderr, "poststop hook failed with exit code 1")
    t.true(mark.exists(), "the second poststop hook did not run")
    t.contains(bundle.runtime("state", "one", code=1).stderr, "does not exist")
    t.contains(bundle.runtime("run", "two", code=1).stderr, "error running poststart hook #1:")
    t.contains(bundle.runtime("state", "two", code=1).stderr, "does not exist")


@test([ROOT])
def hooks_of_the_container_work_where_it_is_made(t):
    bundle = Bundle(t).program("true")
    script = bundle.path / "rootfs/hook"
    script.write_text("#!/bin/sh\necho $OWN $HOME > /seen; mkdir /made; exit 0\n")
    script.chmod(0o755)
    bundle.config["process"]["env"] += ["OWN=of-the-program"]
    bundle.config["hooks"] = {
        "createContainer": [{"path": "/bin/touch", "args": ["touch", "./by-its-name"]}], "startContainer": [{"path": "/hook"}]}
    bundle.write().run()
    t.true((bundle.path / "rootfs/by-its-name").exists(), "createContainer hooks do not start in the root")
    t.equal((bundle.path / "rootfs/seen").read_text(), "of-the-program /root\n", "environment of startContainer hooks")
    t.true((bundle.path / "rootfs/made").is_dir(), "the hook may not do what nobody forbids")
    bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}]}
    (bundle.path / "rootfs/made").rmdir()
    bundle.config["process"]["rlimits"] = [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]
    script.write_text("#!/bin/sh\nexec mkdir /made\n")
    result = bundle.write().runtime("run", "one", code=1)
    t.contains(result.stderr, "error running startContainer hook #0:")
    t.contains(result.stderr, "bad system call")
    t.true(not (bundle.path / "rootfs/made").exists(), "a hook of the image ran without the filter")


@test([ROOT])
def names_are_given_once(t):
    bundle = Bundle(t).program("cat", "/proc/sys/kernel/domainname")
    del bundle.config["hostname"]
    bundle.config["domainname"] = "example.org"
    t.equal(bundle.write().run(), "example.org", "a domain name without a host name")
    bundle.config["linux"]["sysctl"] = {"kernel.domainname": "example.com"}
    t.contains(bundle.write().runtime("run", "one", code=1).stderr, "name one of them")
    bundle.config["linux"]["sysctl"] = {"kernel.hostname": "other"}
    t.contains(bundle.write().runtime("run", "one", code=1).stderr, "conflicts with the OCI field hostname")


@test()
def a_variable_has_its_last_value(t):
    bundle = Bundle(t).program("env")
    bundle.config["process"]["env"] = ["ONE=1", "PATH=/bin", "ONE=2", "HOME="]
    t.equal(sorted(bundle.write().run().split()), ["HOME=/root", "ONE=2", "PATH=/bin"], "environment")
    bundle = _started(t)
    shown = bundle.runtime("exec", "-e", "A=1", "-e", "A=2", "one", "env").stdout
    t.equal([line for line in shown.split() if line.startswith("A=")], ["A=2"], "environment of exec")


@test()
def memory_policies_are_the_kernels_or_refused(t):
    bundle = Bundle(t).program("cat", "/proc/self/numa_maps")
    if not os.path.exists("/proc/self/numa_maps"):
        raise Unavailable("this kernel has no memory policies (CONFIG_NUMA)")
    bundle.config["linux"]["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}
    t.contains(bundle.write().run(), " bind=static:0 ")
    for policy, word in (
            ({"mode": "MPOL_NONE"}, "MPOL_NONE"), ({"mode": "MPOL_BIND", "flags": ["MPOL_F_NONE"]}, "MPOL_F_NONE"),
            ({"mode": "MPOL_BIND", "nodes": "0-9999"}, "0-9999"), ({"mode": "MPOL_BIND", "nodes": "few"}, "few"),
            ({"mode": "MPOL_BIND"}, "set_mempolicy")):
        bundle.config["linux"]["memoryPolicy"] = policy
        t.contains(bundle.write().runtime("run", "one", code=1).stderr, word)


@test()
def delete_takes_a_pattern(t):
    bundle = Bundle(t).program("sleep", "100")
    for name in ("a1", "a2", "b1"):
        bundle.create(name)
    bundle.runtime("delete", "--force", "--regex", "^a[0-9]$")
    t.equal(bundle.runtime("list", "-q").stdout, "b1\n", "what is left")
    t.contains(bundle.runtime("delete", "--regex", "(", code=1).stderr, "no regular expression")


@test()
def a_tmpfs_has_the_permissions_of_the_directory_below(t):
    bundle = Bundle(t).shell("stat -c %a /there /new /told")
    for name in ("there", "told"):
        (bundle.path / "rootfs" / name).mkdir()
        (bundle.path / "rootfs" / name).chmod(0o710)
        t.world.own(bundle.path / "rootfs" / name)
    bundle.config["mounts"] += [
        {"destination": "/there", "type": "tmpfs", "source": "tmpfs"}, {"destination": "/new", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/told", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1500"]}]
    t.equal(bundle.write().run().split(), ["710", "1777", "1500"], "permissions")


@test([ROOT])
def a_mount_point_that_is_a_link_to_nowhere_is_made_inside(t):
    bundle = Bundle(t).shell("cat /etc/link; cat /made/here")
    outside = t.directory() / "outside"
    source = bundle.path / "source"
    source.write_text("mounted\n")
    os.symlink("../../../../made/here", bundle.path / "rootfs/etc/link")
    os.symlink(str(outside), bundle.path / "rootfs/etc/far")
    os.symlink("loop", bundle.path / "rootfs/etc/loop")
    for name in ("link", "far"):
        bundle.config["mounts"].append({"destination": f"/etc/{name}", "type": "bind", "source": str(source), "options": ["bind"]})
    t.equal(bundle.write().run().split(), ["mounted", "mounted"], "what was mounted")
    t.true(not outside.exists(), "a link of the image was followed on the host")
    t.true((bundle.path / f"rootfs{outside}").exists(), "the target is not in the root")
    bundle.config["mounts"][-1]["destination"] = "/etc/loop"
    t.contains(bundle.write().runtime("run", "one", code=1).stderr, "symbolic links")


@test([ROOT])
def devices_are_made_for_a_user_namespace(t):
    bundle = Bundle(t).program("stat", "-c", "%F %a %u:%g %t:%T", "/dev/made")
    bundle.config["linux"]["namespaces"].append({"type": "user"})
    maps = [{"containerID": 0, "hostID": 2_300_000, "size": 65536}]
    bundle.config["linux"] |= {"uidMappings": maps, "gidMappings": maps}
    bundle.config["linux"]["devices"] = [{"path": "/dev/made", "type": "b", "major": 1, "minor": 250, "fileMode": 0o640, "uid": 10, "gid": 11}]
    os.chown(bundle.path / "rootfs", 2_300_000, 2_300_000)
    t.equal(bundle.write().run(), "block special file 640 10:11 1:fa", "the device")
    bundle.config["linux"]["devices"][0]["uid"] = 70_000
    t.contains(bundle.write().runtime("run", "one", code=1).stderr, "not mapped")


@test([ROOT])
def a_user_namespace_without_maps_has_the_caller_as_its_root(t):
    bundle = Bundle(t).shell("cat /proc/self/uid_map; id -u")
    bundle.config["linux"]["namespaces"].append({"type": "user"})
    for mount in bundle.config["mounts"]:
        mount["options"] = [option for option in mount.get("options", []) if option != "gid=5"]  # not mapped
    t.equal(bundle.write().run().split(), ["0", "0", "1", "0"], "map and user")
    bundle.config["linux"]["uidMappings"] = [{"containerID": 0, "hostID": 0, "size": 1}]
    t.contains(bundle.write().runtime("run", "one", code=1).stderr, "both of linux.uidMappings and linux.gidMappings")


@test([ROOT])
def kill_ends_all_where_the_process_namespace_is_the_hosts(t):
    bundle = Bundle(t).shell("sleep 300 & sleep 300 & exec sleep 300")
    bundle.config["linux"]["namespaces"] = [each for each in bundle.config["linux"]["namespaces"] if each["type"] != "pid"]
    bundle.write().create()
    bundle.runtime("start", "one")

    def processes():
        return json.loads(bundle.runtime("ps", "--format", "json", "one").stdout)
    t.eventually(lambda: len(processes()) == 3, "three processes")
    bundle.runtime("kill", "one", "KILL")
    t.eventually(lambda: processes() == [], "nobody is left")
    bundle.stopped()
    t.contains(bundle.runtime("kill", "one", "KILL", code=1).stderr, "container not running")
    t.contains(bundle.runtime("kill", "one", "0", code=1).stderr, "container not running")


@test([ROOT])
def exec_enters_groups_below_the_containers(t):
    bundle = _started(t)
    here = bundle.runtime("exec", "one", "cat", "/proc/self/cgroup").stdout
    groups = {line.split(":")[1]: line.split(":")[2] for line in here.split("\n") if line}
    t.true({"cpuset", "cpu", "memory", "pids", "freezer", "devices"} <= {name for names in groups for name in names.split(",")}, here)
    bundle.runtime("update", "--cpuset-mems", "0", "one")
    for words, said in ((("--cgroup", ".."), ".. is not a sub cgroup path"), (("--cgroup", "none"), "/none/cgroup.procs: no such file"),
                        (("--cgroup", "whaaat:/"), "unknown controller whaaat")):
        t.contains(bundle.runtime("exec", *words, "one", "true", code=255).stderr, said)
    pid = bundle.pid()
    with open(f"/proc/{pid}/cgroup", encoding="ascii") as table:
        path = next(line.rstrip("\n").split(":")[2] for line in table if ":pids:" in line)
    os.mkdir(f"/sys/fs/cgroup/pids{path}/sub")
    shown = bundle.runtime("exec", "--cgroup", "pids:sub", "one", "cat", "/proc/self/cgroup").stdout
    t.contains(shown, ":pids:/sub")
    t.true(":memory:/sub" not in shown, shown)


@test([ROOT])
def exec_is_bound_to_the_processors_that_it_names(t):
    bundle = _started(t)
    everywhere = bundle.runtime("exec", "one", "grep", "Cpus_allowed_list", "/proc/self/status").stdout.split()[1]
    if everywhere == "0":
        raise Unavailable("this machine has one processor")
    process = {"args": ["grep", "Cpus_allowed_list", "/proc/self/status"], "cwd": "/", "env": ["PATH=/bin"]}
    for affinity, wanted in (({"initial": "0"}, "0"), ({"initial": "0", "final": "1"}, "1"), ({"final": "0"}, "0"), ({}, everywhere)):
        read_end, write_end = os.pipe()
        os.write(write_end, json.dumps(process | {"execCPUAffinity": affinity}).encode())
        os.close(write_end)
        try:
            shown = bundle.runtime("exec", "--process", f"/dev/fd/{read_end}", "one", pass_fds=(read_end,)).stdout
        finally:
            os.close(read_end)
        t.equal(shown.split()[1], wanted, f"processors with {affinity}")
    bound = Bundle(t).program("grep", "Cpus_allowed_list", "/proc/self/status")
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {0})
    try:
        t.equal(bound.runtime("run", "two").stdout.split()[1], everywhere, "processors of a container whose runtime is bound to one")
    finally:
        os.sched_setaffinity(0, own)


@test()
def a_pidfd_goes_to_its_socket(t):
    bundle = Bundle(t).program("sleep", "100")
    path = bundle.path / "pidfd"

    def received(listener):
        connection, _ = listener.accept()
        with connection:
            _, ancillary, _, _ = connection.recvmsg(100, socket.CMSG_SPACE(4))
        descriptor = array.array("i", ancillary[0][2])[0]
        try:
            with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as info:
                return int(next(line.split()[1] for line in info if line.startswith("Pid:")))
        finally:
            os.close(descriptor)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        t.world.own(path)
        listener.listen()
        bundle.create("one", "--pidfd-socket", path)
        t.equal(received(listener), bundle.pid(), "the process of the pidfd")
        bundle.runtime("start", "one")
        bundle.runtime("exec", "--pidfd-socket", path, "one", "true")
        t.true(received(listener) != bundle.pid(), "exec's pidfd is of the first process")


@test([ROOT])
def start_waits_for_a_creation_that_is_under_way(t):
    bundle = Bundle(t).program("sleep", "100")
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "1"]}]}
    bundle.write()
    t.cleanups.append(lambda: bundle.runtime("delete", "--force", "one"))
    creating = t.background(t.world.runtime, "--root", bundle.state, "create", "one", cwd=bundle.path)
    t.eventually(lambda: (bundle.state / "one/state.json").exists() and bundle.status() == "creating", "creation is under way")
    bundle.runtime("start", "one")
    t.equal(bundle.status(), "running", "status")
    t.equal(creating.wait(20), 0, "create")


@test([ROOT])
def a_root_that_was_moved_hides_the_hosts_procfs(t):
    bundle = Bundle(t).shell("unshare -m -r -p -f sh -c 'mount -t proc none /proc && echo bare'; cat /proc/sys/kernel/ostype")
    for kind in ("bounding", "permitted", "effective"):
        bundle.config["process"]["capabilities"][kind].append("CAP_SETFCAP")
    result = bundle.write().runtime("run", "--no-pivot", "one")
    t.equal(result.stdout, "Linux\n", "what the program could do")
    t.contains(result.stderr, "ermission denied")


@test([ROOT])
def a_created_container_holds_nothing_open_of_the_host(t):
    bundle = Bundle(t).program("sleep", "100")
    bundle.create()
    directory = f"/proc/{bundle.pid()}/fd"
    targets = {name: os.readlink(f"{directory}/{name}") for name in os.listdir(directory) if int(name) > 2}
    t.equal([each for each in targets.values() if each.startswith("/") and each not in ("/", "/proc")], [], "files that are open")


@test()
def a_created_container_ends_when_it_is_asked_to(t):
    bundle = Bundle(t).program("sleep", "100")
    bundle.create()
    bundle.runtime("kill", "one", "TERM")
    bundle.stopped()


@test([ROOT])
def lines_end_as_in_files_where_nobodys_terminal_is(t):
    bundle = Bundle(t).shell("echo one; echo two; stat -c %g $(tty)")
    bundle.config["process"]["terminal"] = True
    t.equal(bundle.write().runtime("run", "one").stdout, "one\ntwo\n5\n", "output, and the group of the terminal")


@test([ROOT])
def pipes_belong_to_the_programs_user_and_group(t):
    bundle = Bundle(t).program("stat", "-L", "-c", "%u:%g", "/proc/self/fd/1")
    bundle.config["process"]["user"] = {"uid": 1234, "gid": 5678}
    t.equal(bundle.write().run(), "1234:5678", "owner of stdout")
    bundle.config["process"]["user"] = {"uid": 7}
    t.equal(bundle.write().run(), "7:0", "a group that is not named is 0")
    t.true(stat.S_ISCHR(os.stat("/dev/null").st_mode) and os.stat("/dev/null").st_uid == 0, "/dev/null of the host has another owner")


@test([ROOT])
def conditions_on_one_argument_are_alternatives(t):
    """Docker's profiles mean several conditions on one argument as "or"."""
    bundle = Bundle(t).shell("mkdir -m 700 /a; echo $?; mkdir -m 750 /b; echo $?; mkdir -m 711 /c; echo $?")
    refused = [{"index": 1, "value": mode, "op": "SCMP_CMP_EQ"} for mode in (0o700, 0o750)]
    bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "args": refused}]}
    t.equal(bundle.write().run().split(), ["1", "1", "0"], "what chmod(2) was allowed")


@test([ROOT])
def a_group_that_would_stop_the_container_is_refused(t):
    bundle = Bundle(t).program("true")
    bundle.config["linux"]["cgroupsPath"] = f"/coffer-frozen-{os.getpid()}"
    bundle.config["linux"]["resources"] = {"unified": {"pids.max": "10"}}
    if not os.path.isdir("/sys/fs/cgroup/freezer"):
        raise Unavailable("this machine has no cgroup v1 freezer")
    t.contains(bundle.write().runtime("run", "one", code=1).stderr, "invalid configuration: linux.resources.unified")
    del bundle.config["linux"]["resources"]
    bundle.write()
    group = pathlib.Path("/sys/fs/cgroup/freezer") / bundle.config["linux"]["cgroupsPath"][1:]
    group.mkdir()
    t.cleanups.append(group.rmdir)
    (group / "freezer.state").write_text("FROZEN")
    t.contains(bundle.runtime("run", "one", code=1).stderr, "container's cgroup unexpectedly frozen")
    t.true(group.is_dir(), "a group that somebody else has made was removed")
    (group / "freezer.state").write_text("THAWED")
    bundle.runtime("run", "one")
    group.mkdir(exist_ok=True)


@test([ROOT])
def debug_tells_what_was_done(t):
    """Words that tools for runc look for, each written when it is true, and none without `--debug`."""
    bundle = Bundle(t).program("true")
    bundle.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"], "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}
    bundle.write()
    t.equal(bundle.runtime("run", "one").stderr, "", "without --debug")
    start = ("nsexec container setup: ", "child process in init(): ", "init: closing the pipe to signal completion", "seccomp filter flags: 2\"",
             "mask: masked /proc/kcore", "pivot: ")
    said = bundle.runtime("--debug", "run", "one").stderr
    for words in start:
        t.contains(said, words)
    t.true(all(" level=debug msg=" in line for line in said.splitlines()), f"lines without a level: {said}")
    for form, mark in (("text", "level=debug"), ("json", '"level":"debug"')):
        log = bundle.path / f"log.{form}"
        result = bundle.runtime("--log", log, "--log-format", form, "--log-level", "debug", "run", "one")
        t.equal(result.stderr, "", "what goes to the log goes there alone")
        t.contains(log.read_text(), mark)
        t.contains(log.read_text(), "init: closing the pipe to signal completion")
        t.equal([json.loads(line)["level"] for line in log.read_text().splitlines() if form == "json" and "debug" not in line], [], "levels")
    bundle.program("/run.sh")
    (bundle.path / "rootfs/run.sh").write_text("#!/nowhere\n")
    (bundle.path / "rootfs/run.sh").chmod(0o755)
    failed = bundle.runtime("--debug", "run", "one", code=127).stderr
    t.equal(bundle.runtime("run", "one", code=127).stderr, "exec /run.sh: no such file or directory\n", "the kernel's word alone")
    t.contains(failed, "exec /run.sh: no such file or directory")
    t.contains(bundle.runtime("--log-level", "loud", "list", code=1).stderr, "unknown log level")


@test([ROOT])
def debug_follows_create_start_and_exec(t):
    bundle = Bundle(t).program("sleep", "100")
    log = bundle.path / "log"
    t.cleanups.append(lambda: bundle.runtime("delete", "--force", "one"))
    bundle.detached("--debug", "--log", log, "create", "one")
    t.contains(log.read_text(), "init: closing the pipe to signal completion: waiting for start")
    t.true("about to execute" not in log.read_text(), "it is said of a program that does not run")
    said = bundle.runtime("--debug", "start", "one").stderr
    t.contains(said, "about to execute /bin/sleep")
    process = bundle.path / "process.json"
    process.write_text(json.dumps({"args": ["true"], "cwd": "/", "env": ["PATH=/bin"], "execCPUAffinity": {"initial": "0"}}))
    said = bundle.runtime("--debug", "exec", "--process", process, "one").stderr
    for words in ("nsexec container setup: ", "child process in init(): ", "affinity: 0x1\"", "setns_init: about to exec /bin/true"):
        t.contains(said, words)
    t.equal(bundle.runtime("exec", "one", "true").stderr, "", "without --debug")
    t.contains(bundle.runtime("--debug", "exec", "one", "/nosuch", code=255).stderr, "no such file or directory")


@test([ROOT])
def annotations_that_engines_set(t):
    bundle = Bundle(t).program("grep", "Groups:", "/proc/self/status")
    bundle.config["annotations"] = {"run.oci.keep_original_groups": "1"}
    bundle.write()
    words = [t.world.runtime, "--root", bundle.state, "run", "one"]
    shown = t.command("setpriv", "--groups", "0,12345", *words, cwd=bundle.path)
    t.contains(shown.stdout, "12345")
    del bundle.config["annotations"]
    bundle.write()
    shown = t.command("setpriv", "--groups", "0,12345", *words, cwd=bundle.path)
    t.true("12345" not in shown.stdout, f"the caller's groups reach every container: {shown.stdout}")
    features = json.loads(t.runtime("features").stdout)
    t.contains(features["potentiallyUnsafeConfigAnnotations"], "run.oci.keep_original_groups")
    bundle.program("true")
    bundle.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["nosuchcall"], "action": "SCMP_ACT_ERRNO"}]}
    bundle.write().run()
    bundle.config["annotations"] = {"run.oci.seccomp_fail_unknown_syscall": "1"}
    t.contains(bundle.write().runtime("run", "one", code=1).stderr, "names nosuchcall, which libseccomp does not know")


@test([ROOT])
def update_lifts_the_limits_of_memory_and_swap(t):
    bundle = Bundle(t).program("sleep", "100")
    limits = {"memory": {"limit": 33554432, "swap": 67108864}}
    bundle.config["linux"] |= {"cgroupsPath": f"/coffer-test-{os.getpid()}", "resources": limits}
    bundle.write().create()
    group = next((line.split(":")[2] for line in open(f"/proc/{bundle.pid()}/cgroup", encoding="utf-8") if ":memory:" in line), None)
    if group is None:
        raise Unavailable("the memory controller is not in a v1 hierarchy")
    directory = pathlib.Path("/sys/fs/cgroup/memory") / group.strip().lstrip("/")
    files = [directory / "memory.limit_in_bytes", directory / "memory.memsw.limit_in_bytes"]
    unlimited = [pathlib.Path("/sys/fs/cgroup/memory", file.name).read_text() for file in files if file.exists()]
    t.true(all(file.read_text() not in unlimited for file in files if file.exists()), "there was no limit to begin with")
    bundle.runtime("update", "--memory", "-1", "one")
    t.equal([file.read_text() for file in files if file.exists()], unlimited, "the limits after --memory -1")


@test([ROOT])
def a_device_rule_that_forbids_may_say_all(t):
    bundle = Bundle(t).program("true")
    bundle.config["linux"]["resources"] = {"devices": [{"allow": False, "type": "c", "major": 1, "minor": 11, "access": "rwa"}]}
    bundle.write().run()
    bundle.config["linux"]["resources"]["devices"][0]["allow"] = True
    t.contains(bundle.write().runtime("run", "one", code=1).stderr, "unknown access rwa")


@test([ROOT])
def home_is_found_where_a_link_of_the_image_leads(t):
    """Within the root: a link to the host's file, to the kernel's, to itself or to a pipe says nothing and hangs nobody (CVE-2024-9676)."""
    bundle = Bundle(t).shell("echo $HOME")
    etc = bundle.path / "rootfs/etc"
    bundle.config["process"]["user"] = {"uid": 7, "gid": 7}
    (etc / "real").write_text("seven:x:7:7::/found:/bin/sh\n")
    os.mkfifo(etc / "pipe")
    outside = t.directory() / "passwd"
    outside.write_text("seven:x:7:7::/outside:/bin/sh\n")
    outside.chmod(0o644)
    for target, home in (("real", "/found"), ("/etc/real", "/found"), ("../../../../etc/real", "/found"), (str(outside), "/"), ("passwd", "/"),
                         ("pipe", "/"), ("/proc/self/status", "/"), ("nowhere", "/"), ("/dev/null", "/")):
        (etc / "passwd").unlink()
        os.symlink(target, etc / "passwd")
        t.equal(bundle.write().run(), home, f"HOME with a link to {target}")


def _has_ended(pid):
    """Gone, or dead and waiting for whoever has become its parent."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


@test([ROOT])
def a_damaged_record_keeps_nobody_from_deleting(t):
    bundle = Bundle(t).program("sleep", "100")
    for name, damage in (("one", "{"), ("two", ""), ("three", '{"id": 3}')):
        bundle.create(name)
        bundle.runtime("start", name)
        pid = bundle.pid(name)
        (bundle.state / name / "state.json").write_text(damage)
        t.contains(bundle.runtime("delete", name, code=1).stderr, "the container's state is damaged")
        t.true(not _has_ended(pid), "a delete that was refused has ended the container")
        t.contains(bundle.runtime("delete", "--force", name).stderr, "the container's state is damaged")
        t.eventually(lambda pid=pid: _has_ended(pid), "the container's process ends")
        t.true(not (bundle.state / name).exists(), "the record is left")
        groups = [path for path in pathlib.Path("/sys/fs/cgroup").glob(f"*/coffer/{name}") if path.is_dir()]
        t.equal(groups, [], "groups that are left")


@test([ROOT])
def events_come_as_often_as_asked(t):
    bundle = Bundle(t).program("sleep", "100")
    bundle.create()
    bundle.runtime("start", "one")
    events = t.world.popen([t.world.runtime, "--root", bundle.state, "events", "--interval", "100ms", "one"], stdout=subprocess.PIPE)
    began = time.monotonic()
    for _ in range(5):
        t.equal(json.loads(events.stdout.readline())["type"], "stats", "the event")
    t.true(time.monotonic() - began < 10, "five events in ten seconds, one every tenth of a second was asked for")
    bundle.runtime("delete", "--force", "one")
    t.equal(events.wait(20), 0, "events of a container that is gone")
    for interval in ("0s", "5x", "-1s", "ms", "1.5s"):
        t.contains(bundle.runtime("events", "--interval", interval, "one", code=1).stderr, "is not a time")


@test([ROOT])
def an_exec_that_ends_before_its_program_says_so(t):
    """An end of the conversation is a successful execve only where the process was ready for it."""
    bundle = _started(t)
    group = next((line.split(":")[2].strip() for line in open(f"/proc/{bundle.pid()}/cgroup", encoding="utf-8") if ":freezer:" in line), None)
    if group is None:
        raise Unavailable("the freezer is not in a v1 hierarchy")
    tasks = pathlib.Path("/sys/fs/cgroup/freezer") / group.lstrip("/") / "tasks"
    bundle.runtime("pause", "one")
    # A process that enters a frozen group stops there, before it is ready for anything.
    entering = t.world.popen(
        [t.world.runtime, "--root", bundle.state, "exec", "--ignore-paused", "one", "true"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    t.eventually(lambda: len(tasks.read_text().split()) == 2, "the new process is in the group")
    for pid in tasks.read_text().split():
        if int(pid) != bundle.pid():
            os.kill(int(pid), signal.SIGKILL)
    bundle.runtime("resume", "one")
    _, said = entering.communicate(timeout=20)
    t.equal(entering.returncode, 255, "exit code")
    t.contains(said.decode(), "the process ended before its program was started")
    t.contains(said.decode(), "signal 9")
    t.equal(bundle.status(), "running", "the container")


@test([ROOT])
def every_command_has_help_under_the_name_it_was_called_by(t):
    """And every option that it names is one."""
    bundle = Bundle(t)
    shown = t.runtime("--help").stdout
    t.contains(shown, "NAME:\n   coffer-runtime - Open Container Initiative runtime")
    commands = [line.split()[0] for line in shown.partition("COMMANDS:\n")[2].partition("\n\n")[0].splitlines()]
    t.true(len(commands) > 15, f"commands: {commands}")
    for command in commands:
        text = t.runtime(command, "--help").stdout
        t.equal(text.splitlines()[0], "NAME:", "the first line")
        t.contains(text.splitlines()[1], f"coffer-runtime {command} - ")
        for line in text.partition("OPTIONS:\n")[2].splitlines():
            name = line.split(", ")[-1].split()[0]
            refused = bundle.runtime(command, name, "1", "nosuch-a", "nosuch-b", "nosuch-c", code=None)
            t.true("unknown option" not in refused.stderr, f"{command} {name}: {refused.stderr}")
    link = t.directory() / "other-name"
    os.symlink(t.world.runtime, link)
    t.contains(t.command(link, "delete", "-h").stdout, "   other-name delete - ")
    link = t.directory() / "red\x1b[31m"
    os.symlink(t.world.runtime, link)
    t.contains(t.command(link, "delete", "-h").stdout, "   coffer-runtime delete - ")
    t.contains(t.runtime("nosuch", "-h", code=1).stderr, "No help topic for 'nosuch'")


@test()
def what_an_engine_always_asks_for_in_vain_is_for_the_log(t):
    """buildah fills the ambient set and leaves the inheritable one empty: a build would say so at each step."""
    bundle = Bundle(t)
    sets = bundle.config["process"]["capabilities"]
    sets["ambient"], sets["inheritable"] = ["CAP_KILL"], []
    sentence = "can't raise ambient capability CAP_KILL: not inheritable"
    t.equal(bundle.program("true").runtime("run", "one").stderr, "", "stderr")
    log = bundle.path / "log"
    bundle.t.runtime("--root", bundle.state, "--log", log, "run", "--bundle", bundle.path, "one")
    t.contains(log.read_text(), f'level=warning msg="{sentence}"')
    sets["inheritable"], sets["ambient"] = ["CAP_NET_BIND_SERVICE"], ["CAP_NET_BIND_SERVICE", "CAP_KILL"]
    t.contains(bundle.program("true").runtime("run", "one").stderr, sentence)
