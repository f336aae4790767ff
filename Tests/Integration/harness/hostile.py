"""What tests of attacks share: a canary that notices every touch, names that are swapped all the time, bundles of another engine."""

import ctypes
import json
import os
import signal

from harness import images
from harness.registry import Failure

_libc = ctypes.CDLL(None, use_errno=True)
ALL_EVENTS = 0xFFF  # IN_ALL_EVENTS (inotify(7))


class Canary:
    """A directory of the host that everybody may write, with a marker in it: nothing may look at it or touch it."""

    TEXT = "the canary sings\n"

    def __init__(self, t):
        self.directory = t.directory() / "canary"
        self.directory.mkdir()
        self.marker = self.directory / "marker"
        self.marker.write_text(self.TEXT)
        self.marker.chmod(0o666)
        self.directory.chmod(0o777)
        self.watch = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        for path in (self.directory, self.marker):
            if self.watch < 0 or _libc.inotify_add_watch(self.watch, str(path).encode(), ALL_EVENTS) < 0:
                raise Failure(f"inotify: {os.strerror(ctypes.get_errno())}")
        t.cleanups.append(lambda: os.close(self.watch))

    def untouched(self, what=""):
        """Fails when there was any event since the canary was made or since the last look."""
        try:
            events = len(os.read(self.watch, 65536))
        except BlockingIOError:
            events = 0
        names, text = os.listdir(self.directory), self.marker.read_text()
        try:
            os.read(self.watch, 65536)  # Of this look itself.
        except BlockingIOError:
            pass
        if events or names != ["marker"] or text != self.TEXT:
            raise Failure(f"{what or 'the canary'}: touched ({events} bytes of events, files {names}, {text!r})")


def swapping(t, directory, *pairs):
    """Names of a directory, in pairs, exchanged without a pause until the returned function is called; that one returns how often they were."""
    program = t.world.work / "swap"
    if not program.exists():
        program.write_bytes(images.static_program("swap").read_bytes())
        program.chmod(0o755)
    process = t.background(program, *pairs, cwd=directory, stdout=-1)

    def stop():
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=20)
        if process.returncode != 0:
            raise Failure(f"swap ended with {process.returncode}")
        return int(output)
    return stop


class Bundle:
    """An OCI bundle as another engine would write it, without Coffer's own extension: a root of static programs and config.json."""

    def __init__(self, t, *programs, user_namespace=None):
        """`user_namespace`: one that maps the caller alone; by default only where the world is no root."""
        self.t = t
        self.directory = t.directory() / "bundle"
        self.root = self.directory / "rootfs"
        self.root.mkdir(parents=True)
        (self.root / "tmp").mkdir()
        (self.root / "tmp").chmod(0o1777)
        for program in programs:
            path = self.root / program
            path.write_bytes(images.static_program(program).read_bytes())
            path.chmod(0o755)
        t.world.own(self.directory)
        rootless = ["--rootless"] if user_namespace or user_namespace is None and not t.world.is_root else []
        t.runtime("spec", *rootless, "--bundle", self.directory)
        self.config = json.loads((self.directory / "config.json").read_text())
        self.config["process"]["terminal"] = False
        self.config["root"]["readonly"] = False

    @property
    def process(self):
        return self.config["process"]

    @property
    def linux(self):
        return self.config["linux"]

    @property
    def name(self):
        return f"bundle-{self.directory.parent.name}"

    @property
    def state(self):
        return self.t.world.home / "runtime"

    def command(self, *command):
        """Writes config.json with this program; the words of `coffer-runtime run`."""
        self.process["args"] = list(command)
        (self.directory / "config.json").write_text(json.dumps(self.config))
        self.t.world.own(self.directory)
        return self.t.world.runtime, "--root", self.state, "run", "--bundle", self.directory, self.name

    def run(self, *command, **options):
        """Runs a program in it to its end."""
        return self.t.command(*self.command(*command), **options)

    def exec(self, *words, **options):
        return self.t.runtime("--root", self.state, "exec", *words, **options)
