"""coffer-runtime under other engines: what their users type, with the answers that they expect."""

import json
import shutil

from harness.engines import IMAGE, Docker, Podman
from harness.registry import ROOT, Unavailable, test


def _codes(t, engine):
    """Output and exit codes, those of programs that cannot be run too."""
    run = ("run", "--rm", "--network", "none", IMAGE)
    result = engine(*run, "sh", "-c", "echo out; echo err >&2; exit 5", code=5)
    t.equal((result.stdout, result.stderr), ("out\n", "err\n"), "output")
    t.contains(engine(*run, "nosuch", code=127).stderr, "executable file not found in $PATH")
    t.contains(engine(*run, "/etc/passwd", code=126).stderr, "permission denied")
    t.contains(engine("run", "--rm", "--network", "none", "-u", "1000:1000", IMAGE, "sh", "-c", "echo reopened > /dev/stdout; id -u").stdout, "reopened\n1000")
    t.equal(engine("run", "--rm", "-i", "--network", "none", IMAGE, "cat", input="carried").stdout, "carried", "stdin")


def _lifecycle(t, engine, can_pause):
    engine("run", "-d", "--name", "one", "--network", "none", IMAGE, "sh", "-c", "echo started; exec sleep 100")
    t.equal(engine("exec", "one", "sh", "-c", "echo inside; exit 9", code=9).stdout, "inside\n", "exec")
    engine("exec", "one", "nosuch", code={126, 127})
    t.contains(engine("exec", "-e", "A=1", "-w", "/tmp", "-u", "7", "one", "sh", "-c", "echo $A; pwd; id -u").stdout, "1\n/tmp\n7")
    t.contains(engine("top", "one").stdout, "sleep 100")
    if can_pause:
        engine("pause", "one")
        t.contains(engine("ps", "-a").stdout, "aused")
        engine("unpause", "one")
        t.contains(engine("stats", "--no-stream", "one").stdout, "MEM USAGE")
    t.eventually(lambda: "started" in engine("logs", "one").stdout, "the log has what was written")
    engine("kill", "one")
    t.eventually(lambda: "Exited (137)" in engine("ps", "-a").stdout, "killed")
    engine("start", "one")
    engine("stop", "-t", "1", "one")
    engine("rm", "one")


def _terminal(t, engine):
    if shutil.which("script") is None:
        raise Unavailable("this machine has no script(1)")
    words = " ".join(str(word) for word in engine.words) if hasattr(engine, "words") else f"docker -H {engine.socket}"
    command = f"{words} run --rm -t --network none {IMAGE} sh -c 'tty; ls -l /dev/console; echo rows $(stty size)'"
    output = t.command("script", "-qec", command, "/dev/null").stdout
    t.contains(output, "/dev/pts/0")
    t.contains(output, "/dev/console")


@test()
def podman_runs_and_tells_exit_codes(t):
    _codes(t, Podman(t))


@test()
def podman_lifecycle(t):
    _lifecycle(t, Podman(t), t.world.is_root)


@test()
def podman_terminal_and_init(t):
    podman = Podman(t)
    _terminal(t, podman)
    podman("create", "--name", "made", "--network", "none", IMAGE, "sleep", "100")
    podman("init", "made")
    t.equal(json.loads(podman("inspect", "made").stdout)[0]["State"]["Status"], "initialized", "status")
    podman("start", "made")
    podman("rm", "-f", "-t", "0", "made")


@test([ROOT])
def podman_limits_and_privileges(t):
    podman = Podman(t)
    limits = podman(
        "run", "--rm", "--network", "none", "--memory", "64m", "--pids-limit", "33", "--cpu-shares", "77", IMAGE, "sh", "-c",
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/cpu/cpu.shares").stdout.split()
    t.equal(limits, [str(64 << 20), "33", "77"], "limits")
    t.contains(podman("run", "--rm", "--network", "none", "--privileged", IMAGE, "sh", "-c", "grep CapEff /proc/self/status; ls /dev").stdout, "null")
    read_only = podman("run", "--rm", "--network", "none", "--read-only", IMAGE, "touch", "/x", code=1)
    t.contains(read_only.stderr, "Read-only file system")
    podman("run", "-d", "--name", "first", "--network", "none", IMAGE, "sleep", "100")
    shared = podman("run", "--rm", "--pid", "container:first", "--network", "container:first", "--ipc", "container:first", IMAGE, "ps").stdout
    t.contains(shared, "sleep 100")
    podman("rm", "-f", "-t", "0", "first")


@test([ROOT])
def podman_with_user_namespaces(t):
    podman = Podman(t)
    shown = podman("run", "--rm", "--network", "none", "--uidmap", "0:2300000:65536", "--gidmap", "0:2300000:65536", IMAGE, "cat", "/proc/self/uid_map")
    t.equal(shown.stdout.split(), ["0", "2300000", "65536"], "map")


@test([ROOT])
def docker_runs_and_tells_exit_codes(t):
    docker = Docker(t)
    _codes(t, docker)
    _terminal(t, docker)


@test([ROOT])
def docker_lifecycle(t):
    docker = Docker(t)
    _lifecycle(t, docker, True)
    docker("run", "-d", "--name", "two", "--network", "none", "--memory", "64m", IMAGE, "sleep", "100")
    docker("update", "--memory", "32m", "--memory-swap", "48m", "--pids-limit", "44", "two")
    shown = docker("exec", "two", "cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/pids/pids.max").stdout.split()
    t.equal(shown, [str(32 << 20), "44"], "limits after update")
    docker("rm", "-f", "two")


@test([ROOT])
def docker_init_and_privileged(t):
    docker = Docker(t)
    if shutil.which("docker-init") is not None:
        t.contains(docker("run", "--rm", "--init", "--network", "none", IMAGE, "ps").stdout, "docker-init")
    t.contains(docker("run", "--rm", "--privileged", "--network", "none", IMAGE, "sh", "-c", "ls /dev; grep CapEff /proc/self/status").stdout, "null")
    docker("run", "-d", "--name", "first", "--network", "none", IMAGE, "sleep", "100")
    t.contains(docker("run", "--rm", "--pid", "container:first", "--network", "container:first", IMAGE, "ps").stdout, "sleep 100")
    docker("rm", "-f", "first")


@test([ROOT])
def docker_checks_health(t):
    docker = Docker(t)
    docker("run", "-d", "--name", "one", "--network", "none", "--health-cmd", "test -e /tmp/ok", "--health-interval", "1s", "--health-retries", "1",
           IMAGE, "sleep", "100")

    def health():
        return docker("inspect", "--format", "{{.State.Health.Status}}", "one").stdout.strip()
    t.eventually(lambda: health() == "unhealthy", "the health check fails")
    docker("exec", "one", "touch", "/tmp/ok")
    t.eventually(lambda: health() == "healthy", "the health check succeeds")


@test([ROOT])
def docker_flags_do_what_they_say(t):
    """What is asked of the engine is what the program finds."""
    docker = Docker(t)
    volume = t.directory()
    (volume / "file").write_text("kept\n")
    script = "id -u; grep -E 'NoNewPrivs|CapBnd|Seccomp:' /proc/self/status | tr -s '\\t' ' '; ulimit -n; cat /proc/sys/net/ipv4/ip_forward /vol/file; " \
        "touch /vol/x /x /tmp/x; hostname; cat /proc/self/oom_score_adj; cat /sys/fs/cgroup/cpuset/cpuset.cpus"
    result = docker(
        "run", "--rm", "--network", "none", "--user", "1000:1000", "--cap-drop", "ALL", "--cap-add", "KILL", "--security-opt", "no-new-privileges",
        "--ulimit", "nofile=77:88", "--sysctl", "net.ipv4.ip_forward=1", "--read-only", "--tmpfs", "/tmp", "-v", f"{volume}:/vol:ro", "--hostname", "named",
        "--oom-score-adj", "123", "--cpuset-cpus", "0", IMAGE, "sh", "-c", script)
    t.equal(result.stdout.splitlines(), ["1000", "CapBnd: 0000000000000020", "NoNewPrivs: 1", "Seccomp: 2", "77", "1", "kept", "named", "123", "0"], "seen inside")
    t.equal(result.stderr.count("Read-only file system"), 2, "what could not be written")


@test()
def podman_updates_and_checks_health(t):
    podman = Podman(t)
    podman("run", "-d", "--name", "one", "--network", "none", "--health-cmd", "test -e /tmp/ok", "--health-interval", "disable", IMAGE, "sleep", "100")
    podman("healthcheck", "run", "one", code=1)
    podman("exec", "one", "touch", "/tmp/ok")
    podman("healthcheck", "run", "one")
    if t.world.is_root:
        podman("update", "--memory", "64m", "--cpuset-cpus", "0", "one")
        shown = podman("exec", "one", "cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/cpuset/cpuset.cpus").stdout.split()
        t.equal(shown, [str(64 << 20), "0"], "limits after update")
    podman("rm", "-f", "-t", "0", "one")
