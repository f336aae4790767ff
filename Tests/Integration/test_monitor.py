"""The monitor: small while nothing happens, there when something does, and whole whoever of its helpers dies."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

from harness.machine import wait_until
from harness.registry import test

NETWORK = ("pasta", "tun")

# Pasta, but that it holds its last word back for as long as a file exists: the container runs, its network is not all up.
SLOW_PASTA = """#!/bin/sh
{pasta} "$@" 2>{directory}/pid || exit 1
while [ -e {directory}/hold ]; do sleep 0.02; done
cat {directory}/pid >&2
"""


def monitor_of(t, container):
    return json.loads((t.world.state / "containers" / container / "state.json").read_text())["monitorPid"]


def children(pid):
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def starting_process(t, container):
    """The process that started a container, or None once it has done its work: a child of the monitor that is one more like it."""
    monitor = monitor_of(t, container)
    command = pathlib.Path(f"/proc/{monitor}/cmdline").read_bytes()
    same = [pid for pid in children(monitor) if pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() == command]
    return same[0] if same else None


def started_with(t, change, *words):
    """`coffer create` and `start` with a change to what the engine tells the runtime."""
    container = t.coffer("create", *words).stdout.strip()
    extension = t.world.state / "containers" / container / "coffer.json"
    document = json.loads(extension.read_text())
    change(document)
    extension.write_text(json.dumps(document))
    t.coffer("start", container)
    return container


def started_with_a_slow_network(t, *command):
    """A container that runs while its network is not all up, and the file whose end lets that go on."""
    directory = t.directory()
    for name in ("hold", "pid"):
        (directory / name).touch()
        (directory / name).chmod(0o666)  # pasta becomes nobody where it can
    wrapper = directory / "pasta"
    wrapper.write_text(SLOW_PASTA.format(pasta=shutil.which("pasta"), directory=directory))
    wrapper.chmod(0o755)

    def change(document):
        document["network"]["outbound"]["_0"]["pastaPath"] = str(wrapper)
    container = started_with(t, change, t.debian(), *command)
    t.true(starting_process(t, container), "the starting process waits for the network")
    return container, directory / "hold"


@test()
def an_idle_monitor_is_small(t):
    container = t.start("--network", "none", t.debian(), "sleep", "300")
    monitor = monitor_of(t, container)

    def kept():
        rollup = pathlib.Path(f"/proc/{monitor}/smaps_rollup").read_text()
        return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Anonymous:"))
    t.eventually(lambda: not starting_process(t, container), "the starting process ends")
    t.true(wait_until(lambda: kept() < 256, 5), f"an idle monitor keeps {kept()} KiB of its own")
    t.equal(children(monitor), [t.inspect(container)["State"]["Pid"]], "children of an idle monitor")


def client_says(t, container, word, answer, ends_input=False):
    """Attaches, writes a line, reads what comes back, and goes without a word."""
    process = t.background(t.world.coffer, "attach", container, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(f"{word}\n".encode())
    if ends_input:
        process.stdin.close()
    else:
        process.stdin.flush()
    t.equal(process.stdout.readline(), answer.encode(), "what the program answers")
    process.kill()
    process.wait()


@test()
def an_idle_monitor_wakes(t):
    """What it gave back while it was idle is there again: whoever attaches is served, output is logged, the end is noted."""
    script = "stty -echo; while read line; do echo got $line; done; exit 7"
    container = t.start("-i", "-t", "--network", "none", t.debian(), "sh", "-c", script)
    for word in ("one", "two"):
        time.sleep(0.4)
        client_says(t, container, word, f"got {word}\r\n")
    time.sleep(0.4)
    t.coffer("attach", container, input=b"\x04", code=7)
    t.equal(t.coffer("wait", container).stdout.strip(), "7", "exit code")
    t.equal(t.coffer("logs", container).stdout, "got one\r\ngot two\r\n", "log")


@test()
def an_open_stdin_in_the_background_stays_open(t):
    """Docker's `run -d -i`: the input belongs to nobody who is attached, and waits for whoever comes."""
    container = t.start("-i", "--network", "none", t.debian(), "cat")
    config = t.inspect(container)["Config"]
    t.equal((config["OpenStdin"], config["StdinOnce"], config["AttachStdin"]), (True, False, False), "how inspect says it")
    for word in ("one", "two"):
        client_says(t, container, word, f"{word}\n", ends_input=True)
    t.equal(t.inspect(container)["State"]["Status"], "running", "after two clients have come and gone")
    t.equal(t.coffer("logs", container).stdout, "one\ntwo\n", "log")


@test()
def an_open_stdin_ends_with_the_client_that_holds_it(t):
    name = f"held-{os.getpid()}"
    process = t.background(t.world.coffer, "run", "-i", "--name", name, "--network", "none", t.debian(), "cat", stdin=subprocess.PIPE,
                           stdout=subprocess.PIPE)
    process.stdin.write(b"word\n")
    process.stdin.flush()
    t.equal(process.stdout.readline(), b"word\n", "what comes back")
    t.true(t.inspect(name)["Config"]["StdinOnce"], "inspect says that it ends")
    process.kill()
    t.equal(t.coffer("wait", name, timeout=20).stdout.strip(), "0", "exit code of cat at the end of its input")
    # A created container waits for the client that brings its input.
    created = t.coffer("create", "-i", "--network", "none", t.debian(), "cat").stdout.strip()
    t.coffer("start", created)
    t.equal(t.inspect(created)["State"]["Status"], "running", "started without a client")
    t.equal(t.coffer("attach", created, input="last\n", timeout=20).stdout, "last\n", "what comes back before the end")
    t.equal(t.coffer("wait", created, timeout=20).stdout.strip(), "0", "exit code")


@test()
def a_log_rotates(t):
    def change(document):
        document["log"].update(maxBytes=20000, maxFiles=2)
    container = started_with(t, change, "--network", "none", t.debian(), "sh", "-c", "seq 1 500; sleep 0.5; seq 501 1000")
    t.equal(t.coffer("wait", container).stdout.strip(), "0", "exit code")
    log = pathlib.Path(json.loads((t.world.state / "containers" / container / "coffer.json").read_text())["log"]["path"])
    found = sorted(path.name.removeprefix(log.name) for path in log.parent.glob(log.name + "*"))
    t.equal(found, ["", ".1"], "files")
    t.true(all(path.stat().st_size <= 20000 for path in log.parent.glob(log.name + "*")), "no file is larger than was asked for")
    lines = t.coffer("logs", container).stdout.split()
    t.true(len(lines) < 1000, "the oldest lines are gone")
    t.equal(lines, [str(number) for number in range(1001 - len(lines), 1001)], "what is left of the log is its end, whole")


@test()
def a_state_that_is_lost_while_it_runs_is_written_at_the_end(t):
    container = t.start("--network", "none", t.debian(), "sh", "-c", "sleep 1; exit 3")
    before = t.inspect(container)["State"]
    (t.world.state / "containers" / container / "state.json").unlink()
    t.eventually(lambda: (t.world.state / "containers" / container / "state.json").exists(), "the end is noted")
    after = t.inspect(container)["State"]
    t.equal((after["Status"], after["ExitCode"], after["StartedAt"]), ("exited", 3, before["StartedAt"]), "state")


@test(needs=NETWORK)
def a_container_serves_before_its_network_is_all_up(t):
    container, hold = started_with_a_slow_network(t, "sleep", "300")
    t.equal(t.coffer("exec", container, "echo", "here").stdout, "here\n", "exec")
    hold.unlink()
    t.eventually(lambda: not starting_process(t, container), "the starting process ends when the network is up")
    t.equal(t.inspect(container)["State"]["Status"], "running", "state")
    t.coffer("stop", "-t", "0", container)
    t.equal(t.coffer("wait", container).stdout.strip(), "137", "exit code")


@test(needs=NETWORK)
def a_container_ends_before_its_network_is_all_up(t):
    container, _ = started_with_a_slow_network(t, "sh", "-c", "echo done; sleep 0.7; exit 9")
    process = t.background(t.world.coffer, "attach", container)
    t.equal(t.coffer("wait", container, timeout=20).stdout.strip(), "9", "exit code")
    t.equal(process.wait(timeout=20), 9, "exit code of who attached meanwhile")
    t.equal(t.coffer("logs", container).stdout, "done\n", "log")


@test(needs=NETWORK)
def the_starting_process_dies(t):
    container, _ = started_with_a_slow_network(t, "sleep", "300")
    os.kill(starting_process(t, container), signal.SIGKILL)
    t.equal(t.coffer("wait", container, timeout=20).stdout.strip(), "137", "exit code")
    t.contains(t.coffer("logs", container).stderr, "the container was stopped: the process that was starting it died")
