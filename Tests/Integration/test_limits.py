"""What one container may take, and that its neighbour does not notice."""

import threading
import time
import urllib.request

from harness.machine import free_port
from harness.registry import ROOT, ROOTLESS, test


@test(modes=(ROOT,), needs=("cgroup-root",))
def a_memory_hog_is_ended_and_said_so(t):
    name = t.coffer("run", "-d", "-m", "100m", t.static_image("exhaust"), "/exhaust", "memory").stdout.strip()
    t.equal(t.coffer("wait", name).stdout.strip(), "137", "exit code")
    state = t.inspect(name)["State"]
    t.equal((state["OOMKilled"], state["ExitCode"]), (True, 137), "OOMKilled and exit code")


@test(modes=(ROOT,), needs=("cgroup-root",))
def the_memory_limit_is_read_back(t):
    path = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max"
    t.equal(t.run("-m", "100m", t.debian(), "sh", "-c", path), str(100 << 20))


@test(modes=(ROOTLESS,))
def a_limit_that_cannot_be_set_is_reported(t):
    container = t.start("-m", "100m", t.debian(), "sleep", "300")
    text = t.coffer("inspect", container).stdout
    if "unavailable" not in text:
        # A machine with cgroup v2 and delegation: then the limit must hold.
        path = t.coffer("exec", container, "cat", "/sys/fs/cgroup/memory.max").stdout
        t.equal(path.strip(), str(100 << 20), "the memory limit")


@test()
def a_fork_bomb_stops_at_the_limit(t):
    output = t.run("--pids-limit", "64", t.static_image("exhaust"), "/exhaust", "processes", "3000").split()
    t.equal(output[1], "EAGAIN", "what fork said")
    t.true(int(output[0]) <= 64, f"{output[0]} processes were made")


@test()
def the_default_stops_a_fork_bomb_too(t):
    output = t.run(t.static_image("exhaust"), "/exhaust", "processes", "6000").split()
    t.equal(output[1], "EAGAIN", "what fork said")
    t.true(int(output[0]) <= 2048, f"{output[0]} processes were made")


@test(modes=(ROOT,), needs=("cgroup-root", "pasta", "tun"))
def a_neighbour_has_no_error_meanwhile(t):
    port = free_port()
    t.start("-p", f"{port}:80", t.service("nginx"))
    url = f"http://127.0.0.1:{port}/"
    t.eventually(lambda: answers(url), "nginx answers")
    errors, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            if not answers(url):
                errors.append(time.monotonic())
            time.sleep(0.01)
    asking = threading.Thread(target=ask)
    asking.start()
    try:
        t.coffer("run", "--rm", "-m", "100m", t.static_image("exhaust"), "/exhaust", "memory", code=137)
        t.run("--pids-limit", "200", t.static_image("exhaust"), "/exhaust", "processes", "3000")
    finally:
        stop.set()
        asking.join()
    t.equal(len(errors), 0, "errors of the neighbour")


def answers(url):
    """Whether a GET of the URL is answered with 200 within five seconds."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status == 200
    except OSError:
        return False


@test()
def open_files_and_ulimits(t):
    t.equal(t.run("--ulimit", "nofile=100:200", t.debian(), "sh", "-c", "ulimit -Sn; ulimit -Hn"), "100\n200")
    t.equal(t.run(t.debian(), "sh", "-c", "ulimit -Sn"), "1024")


@test()
def shared_memory_has_its_size(t):
    t.equal(t.run(t.debian(), "sh", "-c", "df -k --output=size /dev/shm | tail -1").strip(), str(64 * 1024))
    t.equal(t.run("--shm-size", "8m", t.debian(), "sh", "-c", "df -k --output=size /dev/shm | tail -1").strip(), str(8 * 1024))
