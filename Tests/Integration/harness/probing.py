"""What the tests of the prober share: its table, requests and answers of coffer-probe, and canaries to be found."""

import contextlib
import ctypes
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import threading

from harness.machine import PROJECT
from harness.registry import Unavailable

TABLE = {row["id"]: row for row in json.loads((PROJECT / "Sources/Probe/Data/probes.json").read_text())["probes"]}
FOUND = ("reached", "information")
KINDS = ("mnt", "pid", "net", "ipc", "uts", "user", "cgroup", "time")


def request(probes=None, facts={}, limits={}, seconds=5):
    document = {"secondsPerProbe": seconds, "facts": {"namespaces": {}, "hostDirectories": [], "endpoints": [], "endpointWord": "canary", **facts}, "limits": limits}
    return json.dumps(document if probes is None else {"probes": probes, **document})


def answers(t, text):
    """The answers by their ids, after the program has said that it is complete."""
    lines = [json.loads(line) for line in text.splitlines()]
    t.true(lines and lines[-1] == {"complete": len(lines) - 1}, f"the program did not come to its end: {text[-300:]}")
    return {line["id"]: line for line in lines[:-1]}


class Canaries:
    """A process, an abstract socket and ports of the host, which are there to be found."""

    def __init__(self, t):
        self.sockets = []
        name = t.directory() / "coffer-canary"
        shutil.copy("/bin/sleep", name)
        name.chmod(0o755)
        process = subprocess.Popen([name, "300"])
        t.cleanups.append(lambda: (process.kill(), process.wait()))
        t.cleanups.append(self.close)
        self.name = f"coffer-canary-{os.getpid()}-{process.pid}"
        self._listen(socket.AF_UNIX, f"\0{self.name}")
        tcp = self._listen(socket.AF_INET, ("127.0.0.1", 0))
        udp = self._answer()
        caller = t.directory() / "caller"
        caller.write_text("")
        os.chown(caller, t.world.uid, t.world.gid)
        self.caller = caller
        self.facts = {
            "namespaces": {kind: os.stat(f"/proc/self/ns/{kind}").st_ino for kind in KINDS},
            "hostProcess": {"pid": process.pid, "name": "coffer-canary"},
            "hostDirectories": [dict(path=path, device=os.stat(path).st_dev, inode=os.stat(path).st_ino) for path in ("/", "/etc", "/root", "/var/lib")],
            "abstractSocket": self.name,
            "endpoints": [dict(role=role, transport="tcp", address="127.0.0.1", port=tcp) for role in ("loopback", "host", "metadata", "peer")]
            + [dict(role="peer", transport="udp", address="127.0.0.1", port=udp)],
        }
        # KEYCTL_GET_KEYRING_ID of the session; whoever has none has nothing to be found.
        keyring = ctypes.CDLL(None).syscall(250, 0, -3, 0)
        if keyring > 0:
            self.facts["sessionKeyring"] = keyring

    def _listen(self, family, address):
        listener = socket.socket(family)
        listener.bind(address)
        listener.listen()
        self.sockets.append(listener)
        threading.Thread(target=self._serve, args=(listener,), daemon=True).start()
        return listener.getsockname()[1] if family == socket.AF_INET else None

    @staticmethod
    def _serve(listener):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.sendall(b"canary")

    def _answer(self):
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind(("127.0.0.1", 0))
        self.sockets.append(datagrams)

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    _, sender = datagrams.recvfrom(64)
                    if not sender:
                        return  # closed
                    datagrams.sendto(b"canary", sender)
        threading.Thread(target=serve, daemon=True).start()
        return datagrams.getsockname()[1]

    def close(self):
        for each in self.sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


# Reports of `coffer probe`.

VERDICTS = {"reachable", "contained", "information", "not applicable", "inconclusive"}


def probe(t, *words, code=(0, 1), **options):
    """The report as a dictionary, checked as far as every report must hold."""
    if not (t.world.programs / "coffer-probe").exists():
        raise Unavailable("coffer-probe is not built")
    result = t.coffer("probe", *words, "--format", "json", code=set(code) if not isinstance(code, int) else code, **options)
    report = json.loads(result.stdout)
    t.true(isinstance(report, dict), f"no report: {result.stderr}")
    for one in report["probes"]:
        t.true({"id", "verdict", "layer", "control", "remedy", "detail"} <= one.keys(), f"members are missing: {one}")
        t.true(one["verdict"] in VERDICTS, f"no verdict: {one}")
        t.true(one["verdict"] != "reachable" or one["remedy"], f"nothing mends {one['id']}")
    t.equal(result.code == 1, any(one["verdict"] == "reachable" for one in report["probes"]), "exit code 1 means that something is reachable")
    return report


def having(report, verdict):
    return {one["id"] for one in report["probes"] if one["verdict"] == verdict}


def details(report, verdict):
    return {one["id"]: one["detail"] for one in report["probes"] if one["verdict"] == verdict}


def section(page, title):
    """The text of a section of a page of docs."""
    return (PROJECT / "docs" / page).read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]


def listed(title):
    """The probes that a section of docs/PROBES.md names."""
    return set(re.findall(r"`([a-z0-9-]+)`", section("PROBES.md", title))) & set(TABLE)


def unexplained(report):
    """Information findings that docs/THREAT-MODEL.md does not give a reason for."""
    page = (PROJECT / "docs/THREAT-MODEL.md").read_text()
    return {name: detail for name, detail in details(report, "information").items() if f"`{name}`" not in page}


def nothing_is_left(t):
    t.equal(list((t.world.state / "containers").iterdir()) if (t.world.state / "containers").exists() else [], [], "directories")
    groups = [path for path in pathlib.Path("/sys/fs/cgroup").glob("**/coffer/probe-*")]
    t.equal(groups, [], "control groups")


def processes_of(name):
    """Numbers of the processes that are called so."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            # A zombie is nobody's any more.
            if path.read_text().strip() == name and ") Z " not in path.with_name("stat").read_text():
                found.append(path.parent.name)
    return found
