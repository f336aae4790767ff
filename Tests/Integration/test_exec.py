"""exec: another program in a running container."""

import array
import fcntl
import os
import pathlib
import pty
import subprocess
import termios
import time

from harness.registry import test


@test()
def exec_passes_streams_codes_and_options(t):
    container = t.start(t.debian(), "sleep", "300")
    result = t.coffer("exec", "-e", "A=b", "-w", "/usr", "-u", "www-data", container, "sh", "-c", "echo $A $PWD $(id -un); echo err >&2; exit 4", code=4)
    t.equal((result.stdout, result.stderr), ("b /usr www-data\n", "err\n"))
    t.equal(t.coffer("exec", "-i", container, "cat", input="through").stdout, "through")
    t.coffer("exec", container, "/no/such/program", code=127)
    t.coffer("exec", container, "/etc/passwd", code=126)
    stopped = t.coffer("exec", "no-such-container", "true", code=1)
    t.contains(stopped.stderr, "no-such-container")


@test()
def variables_of_an_exec_are_in_no_arguments(t):
    """Everybody on a machine sees the arguments of every process: what an --env-file holds must not get there."""
    secrets = t.directory() / "secrets"
    secrets.write_text("PASSWORD=open-sesame\nEMPTY=\n")
    secrets.chmod(0o644)
    container = t.start("-e", "KEPT=yes", "-e", "EMPTY=no", t.debian(), "sleep", "300")
    process = t.background(t.world.coffer, "exec", "-i", "--env-file", str(secrets), container, "sh", "-c", "echo $KEPT $PASSWORD [$EMPTY]; read line",
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    t.equal(process.stdout.readline(), b"yes open-sesame []\n")
    programs = [path.read_bytes() for path in pathlib.Path("/proc").glob("[0-9]*/cmdline") if readable(path)]
    ours = [words for words in programs if container.encode() in words or b"read line" in words]
    t.true(len(ours) >= 2, f"the runtime and the program are there: {ours}")
    t.equal([words for words in ours if b"open-sesame" in words], [])
    process.stdin.close()
    process.wait(timeout=20)


def readable(path):
    try:
        path.read_bytes()
        return True
    except OSError:
        return False


@test()
def another_user_of_an_exec_has_no_more_than_the_container(t):
    container = t.start("--user", "www-data", t.debian(), "sleep", "300")
    status = ("sh", "-c", "id -u; grep -E 'CapEff|CapBnd' /proc/self/status")
    own, root, other = (t.coffer("exec", *user, container, *status).stdout.split() for user in ((), ("-u", "0"), ("-u", "backup:backup")))
    t.equal((own[0], root[0], other[0]), ("33", "0", "34"))
    t.equal((own[2], other[2]), ("0" * 16, "0" * 16))
    t.equal(root[2], root[4], "root has what the container is bounded by, and nothing else")
    t.equal({own[4], root[4], other[4]}, {own[4]}, "one bounding set")


@test()
def a_terminal_resizes(t):
    container = t.start(t.debian(), "sleep", "300")
    master, slave = pty.openpty()
    set_size(master, 24, 80)
    os.fchown(slave, t.world.uid, -1)
    process = t.background(t.world.coffer, "exec", "-it", container, "sh", "-c", "stty size; read line; stty size; test -t 0 && echo terminal",
                           stdin=slave, stdout=slave, stderr=slave, start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    os.close(slave)
    screen = read_until(master, b"24 80")
    t.true(b"24 80" in screen, f"first size: {screen!r}")
    set_size(master, 50, 132)
    time.sleep(0.5)
    os.write(master, b"\n")
    screen = read_until(master, b"terminal")
    t.true(b"50 132" in screen, f"size after a change: {screen!r}")
    t.equal(process.wait(timeout=20), 0, "exit code")
    os.close(master)


def set_size(terminal, rows, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, array.array("H", [rows, columns, 0, 0]))


def read_until(terminal, mark, seconds=20):
    """What a terminal shows until `mark` appears, or until it ends."""
    screen, end = b"", time.monotonic() + seconds
    os.set_blocking(terminal, False)
    while mark not in screen and time.monotonic() < end:
        try:
            screen += os.read(terminal, 4096)
        except BlockingIOError:
            time.sleep(0.05)
        except OSError:
            break
    return screen


@test()
def a_run_with_a_terminal(t):
    master, slave = pty.openpty()
    set_size(master, 30, 90)
    os.fchown(slave, t.world.uid, -1)
    process = t.background(t.world.coffer, "run", "--rm", "-it", t.debian(), "sh", "-c", "stty size; tty", stdin=slave, stdout=slave, stderr=slave,
                           start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    os.close(slave)
    screen = read_until(master, b"/dev/")
    t.true(b"30 90" in screen and b"/dev/" in screen, f"the screen: {screen!r}")
    code = process.wait(timeout=20)
    screen += read_until(master, b"\0", seconds=1)
    t.equal(code, 0, f"exit code (the screen: {screen!r})")
    os.close(master)


@test()
def an_execed_program_ends_with_its_container(t):
    container = t.start(t.debian(), "sleep", "300")
    process = t.background(t.world.coffer, "exec", container, "sleep", "299")
    t.eventually(lambda: "299" in t.coffer("top", container).stdout, "the program runs")
    t.coffer("rm", "-f", container)
    t.true(process.wait(timeout=20) != 0, "exec reports that its program was killed")
