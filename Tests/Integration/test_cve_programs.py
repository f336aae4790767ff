"""Holes of the class "the runtime's own program, its descriptors, or something of the image that runs on the host's side" (rules R1, R2, R3, R12)."""

import hashlib
import os
import pathlib
import re

from harness import images
from harness.hostile import Bundle
from harness.registry import ROOT, test

# Everything but the user namespaces and the locked mounts out of the way: what is tested must hold alone.
ALONE = ("--network", "none", "--security-opt", "landlock=off", "--security-opt", "seccomp=unconfined")
# A script that has the runtime itself executed as a program of the container, where it hangs at opening the pipe that its log is.
SCRIPT = b"#!/proc/self/exe --log=/tmp/pipe\n"


def trap(t, *words):
    """A container whose payload waits for the runtime to be executed inside, then asks to write its file; what it says."""
    image = t._image("localhost/trap:test", lambda: t.coffer("import", "-", "localhost/trap:test", input=images.tar_of({
        "intruder": images.static_program("intruder").read_bytes(), "script": SCRIPT, "tmp": None,
        "tmp/pipe": pipe("tmp/pipe"), "etc/passwd": f"root:x:0:0::/:/bin/sh\nme:x:{t.world.uid or 1}:0::/:/bin/sh\n".encode()})))
    container = t.start(*ALONE, *words, image, "/intruder", "catch")
    t.eventually(lambda: "waiting" in t.coffer("logs", container).stdout, "the trap is set")
    t.coffer("exec", container, "/script", code=None, timeout=20)
    return t.eventually(lambda: re.search(r"caught (\S+) (\S+)", t.coffer("logs", container).stdout), "the runtime was executed inside").groups()


def pipe(name):
    entry = images.tarfile.TarInfo(name)
    entry.type, entry.mode = images.tarfile.FIFOTYPE, 0o666
    return entry


def runtime_file(t):
    return hashlib.sha256(pathlib.Path(t.world.runtime).read_bytes()).hexdigest()


@test()
def the_runtime_cannot_be_rewritten_from_inside(t):
    """CVE-2019-5736. By default container root is no ID that may write; with the program's owner inside, the program is sealed."""
    before = runtime_file(t)
    variants = [(), ("--userns", "host", "--cap-add", "DAC_OVERRIDE") if t.world.is_root else ("--userns", "keep-id")]
    for words in variants:
        link, answer = trap(t, *words)
        t.true(answer in ("EACCES", "EPERM", "EROFS") or link.startswith("/memfd:"), f"{words}: {link} can be written: {answer}")
    t.equal(runtime_file(t), before, "the runtime's file")


@test(modes=(ROOT,))
def the_runtime_of_other_engines_bundles_is_sealed(t):
    """CVE-2019-5736 where container root is the program's owner, as in a bundle without a user namespace, or one that maps the caller."""
    bundle = Bundle(t, "intruder")
    (bundle.root / "script").write_bytes(SCRIPT)
    (bundle.root / "script").chmod(0o755)
    os.mkfifo(bundle.root / "tmp/pipe")
    (bundle.root / "tmp/pipe").chmod(0o666)
    bundle.process["capabilities"] = {name: ["CAP_DAC_OVERRIDE", "CAP_KILL"] for name in ("bounding", "effective", "permitted")}
    process = t.background(*bundle.command("/intruder", "catch"), stdout=-1)
    t.equal(process.stdout.readline(), b"waiting\n", "the trap")
    bundle.exec(bundle.name, "/script", code=None, timeout=20)
    output, _ = process.communicate(timeout=20)
    _, link, answer = output.decode().split()
    t.true(answer in ("EACCES", "EPERM", "EROFS") or link.startswith("/memfd:"), f"{link} can be written: {answer}")


def spied(t, execs):
    """A payload looks for exec'd programs while they are still the runtime."""
    image = t.static_image("intruder")
    container = t.start(*ALONE, "--cap-add", "SYS_PTRACE", image, "/intruder", "spy", "600")
    for _ in range(execs):
        t.coffer("exec", container, "/intruder", "nothing")
    t.coffer("stop", container)
    saw_nothing(t, execs, t.coffer("logs", container).stdout.splitlines())


def saw_nothing(t, execs, lines):
    """Fails when the payload got hold of anything, or met too few programs to say so."""
    t.equal([line for line in lines if line.startswith("HIT")], [], "what the payload got of the runtime")
    t.true(lines and int(lines[-1].split()[1]) > execs // 4, f"the payload met too few of {execs} programs on their way in: {lines}")


@test()
def execed_programs_are_closed_until_they_run(t):
    """CVE-2016-9962: nothing of the runtime may be opened or traced while it enters."""
    spied(t, 25)


@test(modes=(ROOT,))
def execed_programs_of_other_engines_bundles_are_closed_until_they_run(t):
    """CVE-2016-9962 where root inside is root of the host: whoever may not trace everybody gets nothing of the runtime."""
    bundle = Bundle(t, "intruder")
    held = [f"CAP_{name}" for name in ("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "KILL", "SYS_ADMIN", "SYS_CHROOT")]
    bundle.process["capabilities"] = {name: held for name in ("bounding", "effective", "permitted")}
    process = t.background(*bundle.command("/intruder", "spy", "600"), stdout=-1)
    t.eventually(lambda: '"running"' in t.runtime("--root", bundle.state, "state", bundle.name, code=None).stdout, "the container runs")
    for _ in range(25):
        bundle.exec(bundle.name, "/intruder", "nothing")
    t.runtime("--root", bundle.state, "kill", bundle.name, "TERM")
    output, _ = process.communicate(timeout=20)
    saw_nothing(t, 25, output.decode().splitlines())


@test(long=True)
def five_hundred_execed_programs_are_closed_until_they_run(t):
    """CVE-2016-9962."""
    spied(t, 500)


@test()
def no_working_directory_is_a_descriptor(t):
    """CVE-2024-21626: a directory of the host, leaked to the engine, as working directory."""
    leaked = os.open("/etc", os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(leaked, True)
    t.cleanups.append(lambda: os.close(leaked))
    if t.world.is_root:
        bundle = Bundle(t, "intruder")
        for number in sorted({*range(3, 20), leaked}):
            bundle.process["cwd"] = f"/proc/self/fd/{number}"
            refused = bundle.run("/intruder", "nothing", code=None, pass_fds=(leaked,))
            t.true(refused.code != 0, f"{bundle.process['cwd']} was a working directory")
        bundle.process["cwd"] = "/tmp"
        shown = bundle.run("/intruder", "descriptors", pass_fds=(leaked,)).stdout
        t.equal(shown.split(), ["0", "1", "2"], "descriptors of the payload")
    image = t.static_image("intruder")
    container = t.start("--network", "none", image, "/intruder", "hold")
    for path in (f"/proc/self/fd/{leaked}", "/proc/self/fd/3", "/proc/self/fd/7", "/proc/self/cwd", "/proc/1/cwd", "/proc/1/root"):
        for words in (("run", "--rm", "--network", "none", "-w", path, image), ("exec", "-w", path, container)):
            refused = t.coffer(*words, "/intruder", "nothing", code=None, pass_fds=(leaked,))
            t.true(refused.code != 0, f"{words}: ran")


@test()
def nothing_of_an_image_runs_on_the_host(t):
    """CVE-2019-14271, CVE-2022-1227, CVE-2026-41567: programs and libraries that an engine might run or load, each with a canary."""
    mark = pathlib.Path("/tmp/coffer-canary-ran")
    t.true(not mark.exists(), f"{mark} is there before the test")
    t.cleanups.append(lambda: mark.unlink(missing_ok=True))
    program = images.static_program("canary", "-nostdlib").read_bytes()
    library = images.compiled("canary", "-shared", "-fPIC", "-nostdlib", "-DLIBRARY").read_bytes()
    names = "sh bash ps nsenter tar xz gzip unpigz zstd ldconfig runc crun coffer coffer-runtime newuidmap newgidmap pasta mount cp id ls stat mkdir chmod"
    files = {f"{place}/{name}": program for name in names.split() for place in ("bin", "usr/bin", "sbin", "usr/sbin")}
    libraries = "libc.so.6 libnss_files.so.2 libnss_compat.so.2 libnss_dns.so.2 libnss_systemd.so.2 libgcc_s.so.1 ld-linux-x86-64.so.2"
    files |= {f"{place}/{name}": library for name in libraries.split() for place in ("lib", "lib64", "usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")}
    files |= {"usr/lib/x86_64-linux-gnu/gconv/UTF-16.so": library, "usr/lib/x86_64-linux-gnu/gconv/gconv-modules": b"module UTF-16// INTERNAL UTF-16 1\n",
              "etc/nsswitch.conf": b"passwd: systemd files\ngroup: systemd files\nhosts: files dns\n", "etc/ld.so.preload": b"/lib/libc.so.6\n",
              "etc/passwd": b"root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n", "etc/group": b"root:x:0:\napp:x:1000:\n",
              "tmp": None, "intruder": images.static_program("intruder").read_bytes()}
    t.coffer("import", "-", "localhost/booby:1", input=images.tar_of(files))
    target = t.directory()
    t.world.own(target)
    container = t.start("--network", "none", "-u", "app", "--hostname", "trapped", "--tmpfs", "/scratch", "localhost/booby:1", "/intruder", "hold")
    for words in (
        ("exec", "-u", "app:app", container, "/intruder", "nothing"), ("exec", "-u", "root", container, "/intruder", "nothing"),
        ("top", container), ("top", container, "-ef"), ("logs", container), ("inspect", container), ("ps", "-a", "-s"), ("diff", container),
        ("cp", f"{container}:/etc", target / "etc"), ("cp", target / "etc", f"{container}:/tmp/copied"), ("stop", "-t", "5", container),
        ("cp", f"{container}:/usr", target / "usr"), ("cp", target / "etc", f"{container}:/tmp/again"), ("diff", container), ("start", container),
        ("save", "-o", target / "saved.tar", "localhost/booby:1"), ("load", "-i", target / "saved.tar"), ("history", "localhost/booby:1"),
        ("kill", container), ("rm", "-f", container), ("rmi", "-f", "localhost/booby:1"),
    ):
        # ps -s and diff need not be there: what counts is what runs.
        t.coffer(*words, code=None, timeout=60)
        t.true(not mark.exists(), f"{words}: something of the image ran on the host")
        upper = t.world.state / "containers" / container / "rw/upper/tmp/coffer-canary-ran"
        t.true(not upper.exists(), f"{words}: something of the image ran in its root")


@test()
def nothing_listens_where_the_network_reaches(t):
    """CVE-2020-15257: no process of Coffer's owns an abstract socket; CVE-2021-41091: its state is closed to everybody else."""
    container = t.start("--network", "none", t.static_image("intruder"), "/intruder", "hold")
    abstract = {words[6] for words in map(str.split, pathlib.Path("/proc/net/unix").read_text().splitlines()[1:]) if len(words) > 7 and words[7].startswith("@")}
    seen = 0
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if "coffer" not in os.readlink(process / "exe"):
                continue
            sockets = {os.readlink(descriptor).removeprefix("socket:[").removesuffix("]") for descriptor in (process / "fd").iterdir()}
        except OSError:
            continue
        seen += 1
        t.equal(sockets & abstract, set(), f"abstract sockets of process {process.name}")
    t.true(seen > 0, "the monitor was looked at")
    t.equal(t.world.state.stat().st_mode & 0o077, 0, "mode of the state directory")
    t.equal((t.world.state / "containers" / container).stat().st_mode & 0o077, 0, "mode of the container's directory")
