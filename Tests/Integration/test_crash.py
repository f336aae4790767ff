"""kill -9 at any point leaves nothing unknown: after the next `coffer ps -a` the machine is as if nothing had run, or the container is listed as it is."""

import json
import os
import pathlib
import shutil
import signal
import sqlite3
import time

from harness import images
from harness.machine import Snapshot, wait_until
from harness.registry import ROOT, Failure, test

# How many places the sample of `make test` takes, spread over all system calls of one `run`; the long tests take every one.
SAMPLE = 16


def rows(t):
    """Rows of the state database that stand for something held: containers and id ranges."""
    path = t.world.state / "state.db"
    if not path.exists():
        return {}
    with sqlite3.connect(path) as database:
        tables = [name for (name,) in database.execute("select name from sqlite_master where type='table'")]
        return {name: database.execute(f'select count(*) from "{name}"').fetchone()[0] for name in tables if name in ("containers", "id_ranges")}


def alive(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # gone before it was opened, or read
        return False
    return state != "Z"


def listed_as_running(t, container):
    return container in t.coffer("ps", "-q", "--no-trunc").stdout


def settled(t, what):
    """The check of all these tests: what `ps -a` lists is true; removing it leaves nothing."""
    for line in t.coffer("ps", "-a", "--no-trunc", "--format", "json").stdout.splitlines():
        row = json.loads(line)
        looked = t.coffer("inspect", row["ID"], code={0, 1})
        if looked.code != 0:
            continue  # Its program ended meanwhile, and --rm removed it: the check below finds what stays.
        state = json.loads(looked.stdout)[0]["State"]
        if state["Status"] in ("running", "paused"):
            # The program is a short one: it may end between the listing and this look, but then the next listing says so.
            t.true(alive(state["Pid"]) or wait_until(lambda: not listed_as_running(t, row["ID"]), 1),
                   f"{what}: listed as {state['Status']}, and process {state['Pid']} is gone")
        t.coffer("rm", "-f", row["ID"])
    left = wait_until(lambda: not Snapshot([t.world.directory]).added_since(t.before), 3)
    if not left:
        raise Failure(f"{what}: left behind: {Snapshot([t.world.directory]).added_since(t.before)}")
    t.equal({name: count for name, count in rows(t).items() if count}, {}, f"{what}: rows left")
    directory = t.world.state / "containers"
    t.equal(os.listdir(directory) if directory.exists() else [], [], f"{what}: directories left")


def run_killed(t, number, who):
    """`coffer run`, ended by SIGKILL at its Nth system call; what killat says of it. 0: not at all."""
    image = t.static_image("exhaust")
    killer = t.world.work / "killat"
    if not killer.exists():
        shutil.copy(images.static_program("killat"), killer)
        killer.chmod(0o755)
    result = t.command(killer, number, who, t.world.coffer, "run", "--rm", "--network", "none", image, "/exhaust", "processes", "0", code=None)
    lines = [line for line in result.stderr.splitlines() if line.startswith("killat: ")]
    t.true(lines, f"killat said nothing: exit code {result.code}, {result.stderr}")
    return lines[-1]


def walk(t, who, sample):
    """Kills at a sample of the calls, or at every one, and checks after each."""
    words = run_killed(t, 0, who).split()
    calls = int(words[1])
    t.equal(words[-1], "0", "exit code of an undisturbed run")
    t.true(calls > 100, f"only {calls} calls were seen")
    killed = 0
    which, parts = t.part if sample is None else (1, 1)
    for number in range(which, calls + 1, max(calls // sample, 1) if sample else parts):
        said = run_killed(t, number, who)
        settled(t, said)
        killed += "killed" in said
    t.true(killed > 10, f"only {killed} runs were killed")


@test()
def the_engine_dies_at_a_call(t):
    walk(t, "first", SAMPLE)


@test(modes=(ROOT,))
def any_process_dies_at_a_call(t):
    walk(t, "all", 2 * SAMPLE)


@test(long=True)
def the_engine_dies_at_every_call(t):
    walk(t, "first", None)


@test(modes=(ROOT,), long=True)
def any_process_dies_at_every_call(t):
    walk(t, "all", None)


def monitor_of(t, container):
    """Process ids of Coffer's programs that serve this container, the outermost first."""
    pids = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                command = pathlib.Path(f"/proc/{entry}/cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if "coffer-runtime" in command.split("\0")[0] and container in command:
                pids.append(int(entry))
    return sorted(pids)


@test()
def a_lost_monitor_stops_its_container(t):
    container = t.start("--name", "orphan", "--network", "none", t.debian(), "sleep", "300")
    program = t.inspect(container)["State"]["Pid"]
    monitors = monitor_of(t, container)
    t.true(monitors, "a monitor runs")
    killed = time.monotonic()
    for pid in monitors:
        os.kill(pid, signal.SIGKILL)
    t.true(wait_until(lambda: not alive(program), 1, interval=0.01), "the container still runs a second after its monitor died")
    t.true(time.monotonic() - killed < 1.5, "a second")
    status = t.coffer("ps", "-a", "--format", "{{.Names}} {{.Status}}").stdout
    t.contains(status.lower(), "orphan exited")
    t.contains(status, "monitor lost, code unknown")
    t.coffer("rm", "orphan")
    settled(t, "monitor lost")


@test()
def a_foreground_client_that_dies_leaves_a_container_that_runs(t):
    process = t.background(t.world.coffer, "run", "--name", "left", "--network", "none", t.debian(), "sleep", "300", stdout=-1)
    t.eventually(lambda: "left" in t.coffer("ps", "--format", "{{.Names}}").stdout, "the container runs")
    process.kill()
    process.wait()
    time.sleep(0.5)
    t.equal(t.coffer("ps", "--format", "{{.Names}} {{.State}}").stdout.strip(), "left running")
    settled(t, "client killed")


@test()
def killing_pasta_or_init_is_seen(t):
    container = t.start("--network", "none", t.debian(), "sleep", "300")
    os.kill(t.inspect(container)["State"]["Pid"], signal.SIGKILL)
    t.equal(t.coffer("wait", container).stdout.strip(), "137", "exit code")
    settled(t, "program killed")


@test()
def an_unfinished_start_is_cleaned_up_whatever_its_files_hold(t):
    """A `run` that was killed while it wrote its bundle: nothing of it is needed to take it away."""
    container = t.coffer("create", "--network", "none", t.debian(), "true").stdout.strip()
    (t.world.state / "containers" / container / "config.json").write_text("")
    t.contains(t.coffer("inspect", container, code=1).stderr, "config.json cannot be read")
    with sqlite3.connect(t.world.state / "state.db") as database:
        database.execute("update containers set phase = 'launching'")
    t.equal(t.coffer("ps", "-a", "-q").stdout, "", "containers")
    settled(t, "unfinished start")
