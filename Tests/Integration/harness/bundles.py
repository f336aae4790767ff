"""OCI bundles for tests of the runtime by itself: a busybox, a configuration, and a state root of their own."""

import json
import os
import shutil
import subprocess

from harness.registry import Failure, Unavailable

PROGRAMS = ("cat", "chmod", "date", "echo", "env", "false", "find", "grep", "hostname", "id", "kill", "ls", "mkdir", "mount", "nice", "ps", "pwd",
            "readlink", "rmdir", "sh", "sleep", "stat", "stty", "taskset", "touch",
            "true", "tty", "uname", "unshare", "wc")


class Bundle:
    """A directory with rootfs and config.json. `config` is the configuration as a dictionary; `write` puts it down."""

    def __init__(self, t):
        busybox = shutil.which("busybox")
        if not busybox or b"not a dynamic executable" not in subprocess.run(["ldd", busybox], capture_output=True, check=False).stderr:
            raise Unavailable("this machine has no static busybox: install the package busybox-static")
        self.t = t
        self.path = t.directory()
        self.state = self.path / "state"
        root = self.path / "rootfs"
        for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
            (root / name).mkdir(parents=True)
        shutil.copy(busybox, root / "bin/busybox")
        for name in PROGRAMS:
            os.symlink("busybox", root / "bin" / name)
        (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
        self.path.chmod(0o755)
        t.world.own(self.path)
        t.runtime("spec", "--bundle", self.path, *([] if t.world.is_root else ["--rootless"]))
        self.config = json.loads((self.path / "config.json").read_text())
        self.config["process"]["terminal"] = False
        self.config["root"]["readonly"] = False
        self.program("true")

    def program(self, *words):
        self.config["process"]["args"] = list(words)
        return self.write()

    def shell(self, script):
        return self.program("sh", "-c", script)

    def write(self):
        (self.path / "config.json").write_text(json.dumps(self.config))
        self.t.world.own(self.path / "config.json")
        return self

    def runtime(self, *words, **options):
        """coffer-runtime with this bundle's state root, in the bundle."""
        return self.t.runtime("--root", self.state, *words, cwd=self.path, **options)

    def run(self, *words, **options):
        """`run`; its standard output without the last newline."""
        return self.runtime("run", *words, "one", **options).stdout.removesuffix("\n")

    def detached(self, *words):
        """A command whose container stays: its streams are files, which nobody waits for."""
        with open(self.path / "output", "wb") as output, open(self.path / "errors", "wb") as errors:
            process = self.t.world.popen(
                [self.t.world.runtime, "--root", self.state, *words], cwd=self.path, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
        if process.wait(60) != 0:
            raise Failure(f"{words}: exit code {process.returncode}: {(self.path / 'errors').read_text()}")

    def create(self, name="one", *words):
        """`create`, deleted at the end."""
        self.t.cleanups.append(lambda: self.runtime("delete", "--force", name))
        self.detached("create", *words, name)

    def status(self, name="one"):
        return json.loads(self.runtime("state", name).stdout)["status"]

    def pid(self, name="one"):
        return json.loads(self.runtime("state", name).stdout)["pid"]

    def stopped(self, name="one"):
        self.t.eventually(lambda: self.status(name) == "stopped", f"container {name} has stopped")
