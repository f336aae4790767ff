"""A world is who runs Coffer and where: root or an unprivileged user, each with a state root and a home of its own.

The unprivileged user exists for the tests alone, and only in the runner's private mount namespace: bound copies of the account files name it, so
that nothing of the machine changes and a killed run leaves nothing behind.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from harness.machine import BUILT
from harness.registry import ROOT, ROOTLESS, Failure, Unavailable

USER = "coffer-test"
USER_ID = 63210
SUBORDINATE_FIRST = 2_100_000
SUBORDINATE_COUNT = 65536


def enter_private_namespaces():
    """Starts this program again in mount and process namespaces of its own: what a test leaves is seen among nothing else, and ends with the runner."""
    if os.getpid() == 1:
        return
    command = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, *sys.argv]
    os.execvp(command[0], command)


def _bind(source, target):
    subprocess.run(["mount", "--bind", str(source), str(target)], check=True)


class World:
    """One way of running Coffer. `run` starts any program as this world's user."""

    def __init__(self, mode, directory):
        self.mode = mode
        self.directory = pathlib.Path(directory)
        self.home = self.directory / "home"
        self.state = self.home / "state"
        self.work = self.directory / "work"
        self.uid = self.gid = 0
        for path in (self.home, self.work):
            path.mkdir(parents=True)
        # Copies that every user can reach: the project may lie in somebody's closed home.
        self.programs = self.directory / "bin"
        shutil.copytree(BUILT, self.programs)
        self.coffer = self.programs / "coffer"
        self.runtime = self.programs / "coffer-runtime"
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "LANG": "C.UTF-8", "COFFER_ROOT": str(self.state),
            "XDG_RUNTIME_DIR": str(self.directory / "runtime"),
        }
        (self.directory / "runtime").mkdir(mode=0o700)
        if os.geteuid() != 0 and os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
            # A user's own systemd, where the tests run in a session of one.
            self.environment["DBUS_SESSION_BUS_ADDRESS"] = os.environ["DBUS_SESSION_BUS_ADDRESS"]

    @property
    def is_root(self):
        return self.mode == ROOT

    def _identity(self):
        if self.uid == os.geteuid():
            return {}
        # As a login has it: initgroups(3) lists the user's own group as well.
        return {"user": self.uid, "group": self.gid, "extra_groups": [self.gid]}

    def popen(self, command, **options):
        """subprocess.Popen as this world's user, in its home, with its environment and nothing else."""
        environment = {**self.environment, **options.pop("environment", {})}
        options.setdefault("cwd", self.home)
        return subprocess.Popen([str(word) for word in command], env=environment, **self._identity(), **options)

    def own(self, path):
        """Gives a file or a whole directory to this world's user."""
        for directory, directories, files in os.walk(path):
            for name in [directory, *(os.path.join(directory, each) for each in directories + files)]:
                os.chown(name, self.uid, self.gid, follow_symlinks=False)
        if not os.path.isdir(path):
            os.chown(path, self.uid, self.gid)


def root_world(directory):
    if os.geteuid() != 0:
        raise Unavailable("not run as root")
    return World(ROOT, directory)


def rootless_world(directory):
    """The test user, when run as root; otherwise whoever runs the tests, who then needs a range in /etc/subuid."""
    world = World(ROOTLESS, directory)
    if os.geteuid() == 0:
        _add_test_user(world)
    else:
        world.uid, world.gid = os.geteuid(), os.getegid()
    return world


def _add_test_user(world):
    world.uid = world.gid = USER_ID
    accounts = world.directory / "accounts"
    accounts.mkdir()
    lines = {
        "passwd": f"{USER}:x:{USER_ID}:{USER_ID}::{world.home}:/bin/bash\n",
        "group": f"{USER}:x:{USER_ID}:\n",
        "subuid": f"{USER}:{SUBORDINATE_FIRST}:{SUBORDINATE_COUNT}\n",
        "subgid": f"{USER}:{SUBORDINATE_FIRST}:{SUBORDINATE_COUNT}\n",
    }
    for name, line in lines.items():
        original = pathlib.Path("/etc") / name
        if not original.exists():
            raise Unavailable(f"there is no {original}")
        copy = accounts / name
        copy.write_text(original.read_text().rstrip("\n") + "\n" + line)
        copy.chmod(0o644)
        _bind(copy, original)
    world.own(world.directory)
    world.home.chmod(0o700)
    os.chmod(world.directory, 0o755)
    _open_tun(world)


def _open_tun(world):
    """pasta needs /dev/net/tun, which some machines keep for root: a node of our own over it, in this mount namespace."""
    tun = pathlib.Path("/dev/net/tun")
    if not tun.exists() or tun.stat().st_mode & 0o006 == 0o006:
        return
    node = world.directory / "tun"
    os.mknod(node, 0o600 | 0o020000, tun.stat().st_rdev)
    node.chmod(0o666)
    _bind(node, tun)


def make(mode, parent):
    """A new world below `parent`, a directory that everybody may pass."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix=f"{mode}-", dir=parent))
    directory.chmod(0o755)
    return {ROOT: root_world, ROOTLESS: rootless_world}[mode](directory)


def remove(world):
    """Removes the world's files. Those of rootless containers belong to subordinate ids: root can, a user needs a namespace with them."""
    if os.geteuid() == 0:
        shutil.rmtree(world.directory, ignore_errors=True)
    else:
        subprocess.run(["unshare", "--user", "--map-auto", "--map-root-user", "rm", "-rf", str(world.directory)], check=False)
    if world.state.exists():
        raise Failure(f"{world.state} could not be removed")
