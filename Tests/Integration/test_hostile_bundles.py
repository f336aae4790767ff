"""What spoiled configurations have found (test_fuzz.py), each by itself: words that nobody should obey, numbers that nobody should multiply."""

import os
import pathlib
import shutil
import subprocess

from harness.bundles import Bundle
from harness.registry import ROOT, ROOTLESS, Unavailable, test


@test()
def words_of_a_configuration_stay_words(t):
    """An error is one line: what a configuration says in it obeys no terminal, and fills no screen."""
    bundle = Bundle(t)
    for text, shown in (("a\nb\x1b[2J", "a\\nb\\u{1B}[2J"), ("\u202e", "\\u{202E}"), ("x" * 70_000, "characters left out")):
        bundle.config["process"]["cwd"] = text
        result = bundle.write().runtime("run", "one", code={1, 125})
        t.one_sentence(result)
        t.contains(result.stderr, shown)
        t.contains(result.stderr, "must be an absolute path")
    bundle.config["process"]["cwd"] = "/" + "x" * 70_000
    result = bundle.write().runtime("run", "one", code={1, 125})
    t.one_sentence(result)
    t.contains(result.stderr, "File name too long")


@test()
def a_string_that_ends_before_its_end_is_refused(t):
    bundle = Bundle(t)
    bundle.config["mounts"].append({"destination": "/x", "type": "tmpfs\0proc", "source": "tmpfs"})
    t.contains(bundle.write().runtime("run", "one", code=1).stderr, "config.json: a string contains a NUL")
    t.true(not bundle.state.exists() or not [name for name in os.listdir(bundle.state) if not name.startswith(".")], "a state was left")


@test([ROOT])
def a_hook_may_have_all_the_time_of_the_world(t):
    bundle = Bundle(t)
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/true", "timeout": 2**63 - 1}]}
    bundle.write().run()


@test([ROOT])
def a_page_size_is_no_path(t):
    bundle = Bundle(t)
    bundle.config["linux"]["resources"] = {"hugepageLimits": [{"pageSize": "../2MB", "limit": 0}]}
    t.contains(bundle.write().runtime("run", "one", code={1, 125}).stderr, '"../2MB" is no page size')


@test([ROOT])
def a_memory_limit_that_nothing_fits_into_is_named(t):
    if not os.path.exists("/sys/fs/cgroup/memory"):
        raise Unavailable("this machine has no memory controller of version 1")
    bundle = Bundle(t)
    bundle.config["linux"]["resources"] = {"memory": {"limit": 4096}}
    result = bundle.write().runtime("run", "one", code={1, 125})
    t.contains(result.stderr, "the memory limit is too low to start a program")


@test([ROOT])
def processors_are_inherited_and_nobody_elses_are_changed(t):
    """A new group of cpuset is empty and takes no process; one that was there before keeps what it has."""
    top = pathlib.Path("/sys/fs/cgroup/cpuset") / f"coffer-test-{os.getpid()}"
    if not top.parent.exists() or not (top.parent / "cpuset.cpus").exists():
        raise Unavailable("this machine has no cpuset controller of version 1")
    top.mkdir()
    t.cleanups.append(lambda: (os.rmdir(top / "above"), os.rmdir(top)))
    (top / "cgroup.clone_children").write_text("0")
    for name in ("cpuset.cpus", "cpuset.mems"):
        (top / name).write_text((top.parent / name).read_text())
    (top / "above").mkdir()
    (top / "above/cpuset.cpus").write_text("0")
    (top / "above/cpuset.mems").write_text("0")
    bundle = Bundle(t).shell("cat /sys/fs/cgroup/cpuset/cpuset.cpus")
    bundle.config["linux"]["cgroupsPath"] = f"/{top.name}/above/one"
    bundle.config["linux"]["resources"] = {"cpu": {"cpus": "0"}}
    t.equal(bundle.write().run(), "0", "processors of the container")
    t.equal((top / "above/cpuset.cpus").read_text(), "0\n", "processors of the group above it")
    del bundle.config["linux"]["resources"]
    t.equal(bundle.write().run(), "0", "processors of a container that asked for none")
    for controller in pathlib.Path("/sys/fs/cgroup").glob(f"*/{top.name}/above"):
        if controller.parent != top:
            os.rmdir(controller)
            os.rmdir(controller.parent)


@test()
def a_state_that_cannot_be_written_leaves_nothing(t):
    if os.geteuid() != 0:
        raise Unavailable("a small file system can only be mounted as root")
    bundle = Bundle(t)
    bundle.state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=4k,mode=0700,uid={t.world.uid},gid={t.world.gid}", "none", bundle.state], check=True)
    t.cleanups.append(lambda: subprocess.run(["umount", bundle.state], check=True))
    (bundle.state / "full").write_bytes(b"x" * 4096)
    result = bundle.runtime("run", "one", code={1, 125})
    t.contains(result.stderr, "No space left on device")
    t.equal([name for name in os.listdir(bundle.state) if not name.startswith(".")], ["full"], "what is left")


@test()
def a_damaged_configuration_keeps_nobody_from_deleting(t):
    bundle = Bundle(t).program("sleep", "100")
    bundle.create()
    (bundle.state / "one/config.json").write_text("{")
    t.true(bundle.runtime("start", "one", code=None).code != 0, "it was started")
    t.contains(bundle.runtime("delete", "--force", "one").stderr, "poststop hooks of one are unknown and were not run")
    t.true(not (bundle.state / "one").exists(), "the state is left")


@test(modes=(ROOTLESS,))
def a_state_directory_that_somebody_else_made_is_not_believed(t):
    """/tmp is everybody's: who makes the directory first could write states, and hooks, into it."""
    if os.geteuid() != 0:
        raise Unavailable("only root can make another user's directory")
    bundle = Bundle(t)
    place = pathlib.Path(f"/tmp/coffer-runtime-{t.world.uid}")
    # What an earlier run of the same user's left, without any container.
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    t.cleanups.append(place.rmdir)
    place.chmod(0o777)
    for make in (lambda: None, lambda: (place.rmdir(), place.symlink_to(bundle.path)), lambda: (place.unlink(), place.mkdir(), t.world.own(place))):
        make()
        if place.is_dir() and not place.is_symlink():
            place.chmod(0o777)
        result = t.runtime("list", code=1, environment={"XDG_RUNTIME_DIR": ""})
        t.contains(result.stderr, str(place))
    place.chmod(0o700)
    t.runtime("list", environment={"XDG_RUNTIME_DIR": ""})


@test([ROOT])
def a_node_that_is_there_stays_as_it_is(t):
    """No mode is changed by name: in a directory that is shared, the name may be a link by then."""
    bundle = Bundle(t).shell("stat -c '%a %t:%T' /shared/null /dev/own; cat /proc/sys/kernel/domainname")
    shared = bundle.path / "shared"
    shared.mkdir()
    os.mknod(shared / "null", 0o020600, os.makedev(1, 3))
    bundle.config["mounts"].append({"destination": "/shared", "type": "bind", "source": str(shared), "options": ["bind"]})
    bundle.config["linux"]["devices"] = [
        {"path": "/shared/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}, {"path": "/dev/own", "type": "c", "major": 1, "minor": 3, "fileMode": 0o646}]
    del bundle.config["hostname"]
    bundle.config["domainname"] = "of.its.own"
    t.equal(bundle.write().run().splitlines(), ["600 1:3", "646 1:3", "of.its.own"], "nodes, and a domain name without a host name")


@test()
def limits_that_are_too_low_for_the_runtime_are_none_for_the_program(t):
    bundle = Bundle(t).shell("ulimit -n; ulimit -Hn; ulimit -f")
    for number in (3, 16):
        bundle.config["process"]["rlimits"] = [
            {"type": "RLIMIT_NOFILE", "soft": number, "hard": number}, {"type": "RLIMIT_FSIZE", "soft": 0, "hard": 0}]
        t.equal(bundle.write().run().split(), [str(number), str(number), "0"], "limits inside")


@test([ROOT])
def a_program_that_a_mapped_group_may_write_is_sealed(t):
    """CVE-2019-5736 by the group's right: root inside is nobody outside, but a member of the group that may write the runtime's file."""
    bundle = Bundle(t)
    # With a comma in its name no overlay can be made of it: it is looked at, not sealed on suspicion (CEarlySeal), and sealed by a copy.
    runtime = bundle.path / "run,time"
    shutil.copy(t.world.runtime, runtime)
    os.chown(runtime, 0, 2_400_000)
    os.chown(bundle.path / "rootfs", 2_300_000, 2_400_000)
    for name in ("dev", "proc", "sys"):
        os.chown(bundle.path / "rootfs" / name, 2_300_000, 2_400_000)
    bundle.config["linux"]["namespaces"].append({"type": "user"})
    for member, first in (("uidMappings", 2_300_000), ("gidMappings", 2_400_000)):
        bundle.config["linux"][member] = [{"containerID": 0, "hostID": first, "size": 65536}]
    bundle.program("true")
    words = [runtime, "--root", bundle.state]
    t.cleanups.append(lambda: t.command(*words, "delete", "--force", "one", code=None))
    for mode, is_sealed in ((0o755, False), (0o775, True), (0o757, True)):
        runtime.chmod(mode)
        with open(bundle.path / "output", "wb") as output:
            process = t.world.popen([*words, "create", "one"], cwd=bundle.path, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        t.equal(process.wait(60), 0, f"create: {(bundle.path / 'output').read_text()}")
        own = os.stat(f"/proc/{bundle.pid()}/exe")
        t.equal((own.st_dev, own.st_ino) != (runtime.stat().st_dev, runtime.stat().st_ino), is_sealed, f"sealed with mode {mode:o}")
        t.command(*words, "delete", "--force", "one")


@test()
def a_container_id_is_no_path(t):
    bundle = Bundle(t)
    for name in ("../one", "a/b", ".", "..", "", "a b", "a\x1b[2J", "a\n", "x" * 2000):
        for words in (("run", name), ("state", name), ("delete", "--force", name)):
            result = bundle.runtime(*words, code={1, 125})
            t.true("invalid container ID format" in result.stderr or name == "" and "ID" in result.stderr, f"{words[0]} {name!r}: {result.stderr}")
    t.true(not (bundle.path / "one").exists() and not list(bundle.path.glob("state/a*")), "a state where none may be")


@test([ROOT])
def a_file_of_the_control_groups_is_a_controllers(t):
    bundle = Bundle(t)
    for name in ("../cgroup.procs", "cgroup.procs", "cgroup.subtree_control", "a/b.max", ".x", "tasks"):
        bundle.config["linux"]["resources"] = {"unified": {name: "1"}}
        t.contains(bundle.write().runtime("run", "one", code={1, 125}).stderr, "is no file of a controller")


@test([ROOT])
def a_proc_that_is_none_is_not_entered(t):
    """R5: what a further process is told of itself, and where its label is written, is the kernel's /proc and no directory of the container's."""
    bundle = Bundle(t).shell("mount -t tmpfs none /proc && mkdir -p /proc/self && exec sleep 100")
    for kind in ("bounding", "permitted", "effective"):
        bundle.config["process"]["capabilities"][kind].append("CAP_SYS_ADMIN")
    bundle.write().create()
    bundle.runtime("start", "one")
    t.eventually(lambda: os.path.isdir(f"/proc/{bundle.pid()}/root/proc/self") and not os.path.exists(f"/proc/{bundle.pid()}/root/proc/1"), "/proc is covered")
    t.contains(bundle.runtime("exec", "one", "true", code=255).stderr, "/proc of the container is not a procfs: refusing to enter")
