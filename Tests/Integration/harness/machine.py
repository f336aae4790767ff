"""What this machine has, and what a test leaves behind on it."""

import os
import pathlib
import re
import shutil
import socket
import time

PROJECT = pathlib.Path(__file__).resolve().parents[3]
BUILT = PROJECT / "bin"


def _mount_lines():
    return pathlib.Path("/proc/self/mountinfo").read_text().splitlines()


def cgroup_layout():
    """"v1", "v2" or "hybrid", by what is mounted."""
    kinds = {line.split(" - ")[1].split()[0] for line in _mount_lines() if " - cgroup" in line}
    if kinds == {"cgroup2"}:
        return "v2"
    return "hybrid" if "cgroup2" in kinds else "v1"


FEATURES = {
    "cgroup-root": lambda: os.geteuid() == 0 or cgroup_layout() == "v2",
    "tun": lambda: os.path.exists("/dev/net/tun"),
    "pasta": lambda: shutil.which("pasta") is not None,
    "docker-registry": lambda: shutil.which("docker-registry") is not None,
    "openssl": lambda: shutil.which("openssl") is not None,
}


def lacks(needs):
    """The first of the named features that this machine does not have, or None."""
    return next((name for name in needs if not FEATURES[name]()), None)


def free_port():
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Snapshot:
    """Processes, mounts, cgroups and network namespaces that belong to a state root. Two are compared to see what a test left."""

    def __init__(self, markers):
        self.markers = [str(marker) for marker in markers]
        self.processes = self._processes()
        self.mounts = {line.split()[4] for line in _mount_lines() if any(marker in line for marker in self.markers)}
        self.cgroups = self._cgroups()

    def _processes(self):
        """Process id → command line, of Coffer's programs and of everything that names one of the markers."""
        found = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            try:
                command = pathlib.Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                program = os.readlink(f"/proc/{entry}/exe")
                state = pathlib.Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()[0]
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            ours = re.search(r"/(coffer|coffer-runtime|coffer-registry|coffer-probe|pasta|pasta\.avx2|passt)$", program.removesuffix(" (deleted)"))
            if state != "Z" and (ours or any(marker in command for marker in self.markers)):
                found[int(entry)] = command
        return found

    @staticmethod
    def _cgroups():
        found = set()
        for directory, names, _ in os.walk("/sys/fs/cgroup"):
            found.update(os.path.join(directory, name) for name in names if "coffer" in name or "coffer" in directory)
        return found

    def added_since(self, before):
        """Sentences about what is here and was not in `before`."""
        left = [f"process {pid}: {command}" for pid, command in self.processes.items() if pid not in before.processes]
        left += [f"mount {place}" for place in sorted(self.mounts - before.mounts)]
        left += [f"cgroup {path}" for path in sorted(self.cgroups - before.cgroups) if _is_container_cgroup(path)]
        return left


def _is_container_cgroup(path):
    return re.search(r"[0-9a-f]{64}", path) is not None


def wait_until(condition, seconds, interval=0.05):
    """Calls `condition` until it returns something true, and returns that; the last answer when the time is over."""
    end = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer or time.monotonic() > end:
            return answer
        time.sleep(interval)
