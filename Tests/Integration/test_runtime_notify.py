"""sd_notify(3): what a container's program says to the service manager that the runtime was started by, and what it may not say."""

import os
import socket
import subprocess

from harness import images
from harness.bundles import Bundle
from harness.registry import ROOT, test

FORGED = "MAINPID=1\nFDSTORE=1\nERRNO=2\nREADY=1\nSTATUS=\x1b[31mred\u202e\nEXTEND_TIMEOUT_USEC=99\nNOTIFYACCESS=all\nREADY=1x"


class Manager:
    """A socket such as systemd's, and a bundle whose program is a service."""

    def __init__(self, t, *messages):
        self.t = t
        self.bundle = Bundle(t)
        (self.bundle.path / "rootfs/bin/notifier").write_bytes(images.static_program("notifier").read_bytes())
        (self.bundle.path / "rootfs/bin/notifier").chmod(0o755)
        self.bundle.program("/bin/notifier", *messages)
        self.path = self.bundle.path / "manager"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        t.cleanups.append(self.socket.close)
        self.socket.bind(str(self.path))
        self.socket.settimeout(20)
        t.world.own(self.path)
        self.environment = {"NOTIFY_SOCKET": str(self.path)}

    def heard(self):
        return self.socket.recv(4096).decode()

    def silent(self):
        self.socket.settimeout(0.3)
        try:
            return self.socket.recv(4096).decode()
        except TimeoutError:
            return None

    def start(self, *words):
        with open(self.bundle.path / "output", "ab") as output:
            return self.t.background(
                self.t.world.runtime, "--root", self.bundle.state, *words, cwd=self.bundle.path, environment=self.environment, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output)

    def done(self, process):
        code = process.wait(20)
        self.t.equal(code, 0, f"exit code; {(self.bundle.path / 'output').read_text()}")

    def delete(self, name="one"):
        self.t.cleanups.append(lambda: self.bundle.runtime("delete", "--force", name, code=None))


@test()
def a_service_in_front_says_what_it_may(t):
    manager = Manager(t, "STATUS=warming up", FORGED, "WATCHDOG=1", "RELOADING=1\nMONOTONIC_USEC=17", "-", "X=1", "", "STOPPING=1")
    manager.delete()
    process = manager.start("run", "one")
    t.equal([manager.heard() for _ in range(5)], [
        "STATUS=warming up\n", "READY=1\nSTATUS=?[31mred?\n", "WATCHDOG=1\n", "RELOADING=1\nMONOTONIC_USEC=17\n", "STOPPING=1\n"])
    process.terminate()
    manager.done(process)
    t.equal(manager.silent(), None, "after its end")
    t.equal(os.listdir(manager.bundle.state / "one") if (manager.bundle.state / "one").exists() else [], [], "what stays")


@test()
def a_detached_service_is_ready_before_the_runtime_ends(t):
    """The manager is told which process to watch, by the number that it knows."""
    manager = Manager(t, "STATUS=not yet", FORGED)
    manager.delete()
    manager.done(manager.start("run", "--detach", "one"))
    t.equal(manager.heard(), f"MAINPID={manager.bundle.pid()}\nREADY=1\n")
    t.equal(manager.silent(), None, "a second message")


@test()
def a_created_service_is_ready_before_start_ends(t):
    manager = Manager(t, "READY=1")
    manager.delete()
    manager.done(manager.start("create", "one"))
    t.equal(manager.silent(), None, "before the start")
    manager.done(manager.start("start", "one"))
    t.equal(manager.heard(), f"MAINPID={manager.bundle.pid()}\nREADY=1\n")
    manager.bundle.runtime("delete", "--force", "one")
    t.true(not (manager.bundle.state / "one").exists(), "nothing of it stays")


@test()
def a_service_that_ends_unready_holds_nobody(t):
    manager = Manager(t)
    manager.bundle.shell("exit 3")
    manager.delete()
    t.equal(manager.start("run", "--detach", "one").wait(20), 0, "exit code")
    t.equal(manager.silent(), None, "a message")
    t.equal(manager.start("run", "two").wait(20), 3, "exit code of the service in front")


@test()
def the_managers_own_socket_stays_outside(t):
    manager = Manager(t)
    manager.delete()
    manager.bundle.shell("echo $NOTIFY_SOCKET; ls -l /run/notify | grep -c srw-rw-rw-; touch /run/notify/x 2>&1 | grep -o Read-only")
    process = manager.start("run", "one")
    manager.done(process)
    t.equal((manager.bundle.path / "output").read_text(), "/run/notify/notify.sock\n1\nRead-only\n")
    del manager.environment["NOTIFY_SOCKET"]
    t.equal(manager.bundle.shell("echo ${NOTIFY_SOCKET-none}; ls /run/notify 2>&1 | wc -l").run(), "none\n0", "without a manager")
    manager.environment["NOTIFY_SOCKET"] = "@abstract"
    t.equal(manager.start("run", "one").wait(20), 1, "exit code with an address that is no path")
    t.contains((manager.bundle.path / "output").read_text(), "NOTIFY_SOCKET=@abstract is not an absolute path")


@test(modes=(ROOT,))
def what_a_container_puts_beside_the_socket_is_removed_with_it(t):
    """Root of the host inside may make the mount writable again; whose link it lays there is not followed."""
    manager = Manager(t)
    manager.delete()
    canary = t.directory() / "canary"
    canary.mkdir()
    (canary / "kept").write_text("kept")
    process = manager.bundle.config["process"]
    for sets in process["capabilities"].values():
        sets.append("CAP_SYS_ADMIN")
    manager.bundle.shell(f"mount -o remount,bind,rw /run/notify && mkdir -p /run/notify/a/b && ln -s {canary} /run/notify/a/link && echo made")
    manager.done(manager.start("run", "one"))
    t.contains((manager.bundle.path / "output").read_text(), "made")
    t.true(not (manager.bundle.state / "one").exists(), "the container is gone")
    t.equal((canary / "kept").read_text(), "kept", "the canary")
