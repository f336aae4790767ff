"""run, start, stop, logs, ps and what belongs to them: as a user of Docker expects."""

import json
import os
import signal

from harness.registry import test


@test()
def output_streams_and_exit_code_pass_through(t):
    result = t.coffer("run", "--rm", t.debian(), "sh", "-c", "echo out; echo err >&2; exit 42", code=42)
    t.equal((result.stdout, result.stderr), ("out\n", "err\n"), "streams")


@test()
def exit_codes_are_dockers(t):
    image = t.debian()
    for words, code in (
        (("run", "--rm", image, "/does/not/exist"), 127),
        (("run", "--rm", image, "/etc/passwd"), 126),
        (("run", "--rm", "--no-such-flag", image, "true"), 125),
        (("run", "--rm", "-m", "1x", image, "true"), 125),
    ):
        t.true(t.coffer(*words, code=code).stderr.strip(), f"{words}: no message")
    process = t.background(t.world.coffer, "run", "--rm", "--name", "victim", image, "sleep", "300")
    t.eventually(lambda: "victim" in t.coffer("ps", "--format", "{{.Names}}").stdout, "it runs")
    t.coffer("kill", "victim")
    t.equal(process.wait(timeout=20), 137, "exit code of a killed program")


@test()
def standard_input_reaches_the_program(t):
    data = os.urandom(300_000)
    process = t.coffer("run", "--rm", "-i", t.debian(), "sh", "-c", "wc -c", input=data)
    t.equal(process.stdout.strip(), "300000", "bytes that arrived")
    t.equal(t.coffer("run", "--rm", t.debian(), "cat").stdout, "", "without -i there is no input")


@test()
def input_that_nobody_reads_changes_no_exit_code(t):
    """The monitor ends with frames of the client unread: the kernel tells the client that first, and the exit code after it."""
    image, data = t.debian(), os.urandom(1_000_000)
    for code in range(12):
        t.coffer("run", "--rm", "-i", "--network", "none", image, "sh", "-c", f"exit {code}", input=data, code=code)


@test()
def much_output_arrives_whole(t):
    result = t.coffer("run", "--rm", t.debian(), "sh", "-c", "seq 1 200000")
    t.equal(len(result.stdout.splitlines()), 200000, "lines")


@test()
def environment_directory_user_and_host_name(t):
    env_file = t.directory() / "env"
    env_file.write_text("# comment\nFROM_FILE=a b\n")
    output = t.run("-e", "A=1", "--env-file", env_file, "-w", "/usr", "-u", "1000:1001", "--hostname", "box", t.debian(),
                   "sh", "-c", "echo $A; echo $FROM_FILE; pwd; id -u; id -g; hostname; cat /etc/hostname")
    t.equal(output.split("\n"), ["1", "a b", "/usr", "1000", "1001", "box", "box"])


@test()
def user_names_come_from_the_image(t):
    t.equal(t.run("-u", "www-data", t.debian(), "id", "-un"), "www-data")
    result = t.coffer("run", "--rm", "-u", "nobody-knows", t.debian(), "true", code=125)
    t.contains(result.stderr, "nobody-knows")


@test()
def a_read_only_root_and_tmpfs(t):
    script = "touch /a 2>/dev/null || echo read-only; touch /scratch/a && echo written"
    t.equal(t.run("--read-only", "--tmpfs", "/scratch", t.debian(), "sh", "-c", script), "read-only\nwritten")


@test()
def containers_do_not_see_each_others_files(t):
    t.run(t.debian(), "sh", "-c", "echo mine > /var/mine; rm /bin/cat")
    t.equal(t.run(t.debian(), "sh", "-c", "ls /var/mine 2>/dev/null; test -x /bin/cat && echo whole"), "whole")


@test()
def named_volumes_are_writable_and_keep_their_files(t):
    image = t.debian()
    t.coffer("run", "--rm", "--network", "none", "-v", "kept:/data", image, "sh", "-c", "echo of a container > /data/file")
    found = t.coffer("run", "--rm", "--network", "none", "-v", "kept:/data", image, "sh", "-c", "stat -c %u /data/file; cat /data/file")
    t.equal(found.stdout.split("\n")[:2], ["0", "of a container"])


@test()
def volumes_mounts_and_labels_in_inspect(t):
    directory = t.directory()
    container = t.start("--name", "shown", "-v", f"{directory}:/data:ro", "--label", "a=b", t.debian(), "sleep", "300")
    t.equal(t.coffer("inspect", "-f", "{{range .Mounts}}{{.Source}}{{end}}", "shown").stdout.strip(), str(directory))
    t.equal(t.coffer("inspect", "-f", "{{.State.Status}} {{.Config.Labels.a}} {{.Name}}", container).stdout.strip(), "running b /shown")


@test()
def listing_in_every_format(t):
    container = t.start("--name", "listed", t.debian(), "sleep", "300")
    table = t.coffer("ps").stdout
    t.contains(table.splitlines()[0], "CONTAINER ID")
    t.contains(table, container[:12])
    row = json.loads(t.coffer("ps", "--format", "json").stdout.splitlines()[0])
    for field in ("ID", "Image", "Command", "CreatedAt", "Names", "State", "Status", "Ports", "Labels", "Mounts", "Networks", "RunningFor", "Size"):
        t.true(field in row, f"ps --format json has no {field}: {sorted(row)}")
    t.equal((row["Names"], row["State"]), ("listed", "running"))
    t.equal(t.coffer("ps", "--format", "{{.Names}}: {{.State}}").stdout, "listed: running\n")
    t.equal(t.coffer("ps", "-q", "--no-trunc").stdout.strip(), container)


@test()
def stop_sends_the_signal_then_kills(t):
    trap = "trap 'echo stopping; exit 7' TERM; echo ready; while :; do sleep 0.1; done"
    polite = t.start("--name", "polite", t.debian(), "sh", "-c", trap)
    t.eventually(lambda: "ready" in t.coffer("logs", polite).stdout, "the trap is set")
    t.coffer("stop", polite)
    t.equal(t.inspect(polite)["State"]["ExitCode"], 7, "exit code")
    t.contains(t.coffer("logs", polite).stdout, "stopping")
    deaf = t.start(t.debian(), "sleep", "300")
    t.equal(t.coffer("stop", "-t", "1", deaf).stdout.strip(), deaf)
    t.equal(t.inspect(deaf)["State"]["ExitCode"], 137, "exit code of a killed container")


@test()
def start_again_keeps_the_files(t):
    container = t.coffer("create", t.debian(), "sh", "-c", "echo line >> /count; wc -l < /count").stdout.strip()
    for expected in ("1", "2"):
        t.equal(t.coffer("start", "-a", container).stdout.strip(), expected, "lines after a start")


@test()
def logs_keep_streams_and_tail(t):
    container = t.start(t.debian(), "sh", "-c", "seq 1 20; echo problem >&2")
    t.equal(t.coffer("wait", container).stdout.strip(), "0")
    result = t.coffer("logs", "--tail", "3", container)
    t.equal(result.stdout.split(), ["19", "20"])
    t.equal(result.stderr, "problem\n")


@test()
def pause_holds_and_unpause_lets_go(t):
    if not t.world.is_root:
        return pause_without_a_freezer(t)
    container = t.start(t.debian(), "sh", "-c", "while :; do date +%s%N > /tick; sleep 0.05; done")
    t.eventually(lambda: t.coffer("exec", container, "cat", "/tick", code=None).stdout, "the first tick")
    t.coffer("pause", container)
    t.equal(t.inspect(container)["State"]["Status"], "paused")
    t.coffer("unpause", container)
    before = t.coffer("exec", container, "cat", "/tick").stdout
    t.eventually(lambda: t.coffer("exec", container, "cat", "/tick").stdout != before, "it ticks again")
    return None


def pause_without_a_freezer(t):
    """Rootless on cgroup v1 has no freezer: one sentence says so."""
    container = t.start(t.debian(), "sleep", "300")
    result = t.coffer("pause", container, code=None)
    if result.code != 0:
        t.contains(result.stderr, "cgroup")
        t.one_sentence(result)


@test()
def copy_in_and_out(t):
    directory = t.directory()
    (directory / "in").write_text("hello")
    t.world.own(directory)
    container = t.start(t.debian(), "sleep", "300")
    t.coffer("cp", directory / "in", f"{container}:/tmp/there")
    t.equal(t.coffer("exec", container, "cat", "/tmp/there").stdout, "hello")
    t.coffer("cp", f"{container}:/etc/debian_version", directory / "out")
    t.true((directory / "out").read_text().startswith("12"), "the file came out")
    # CVE-2018-15664: a link inside points outside, and the copy must stay inside.
    t.coffer("exec", container, "ln", "-s", str(directory), "/escape")
    t.coffer("cp", directory / "in", f"{container}:/escape/planted", code=None)
    t.true(not (directory / "planted").exists(), "a copy followed the container's link to the host")


@test()
def diff_names_what_changed(t):
    container = t.coffer("create", t.debian(), "sh", "-c", "touch /made; rm /etc/issue; echo >> /etc/motd").stdout.strip()
    t.coffer("start", "-a", container)
    lines = set(t.coffer("diff", container).stdout.splitlines())
    for line in ("A /made", "D /etc/issue", "C /etc/motd"):
        t.true(line in lines, f"{line} not in {lines}")


@test()
def names_ids_and_cidfile(t):
    cidfile = t.directory() / "id"
    container = t.start("--name", "one", "--cidfile", cidfile, t.debian(), "sleep", "300")
    t.equal(cidfile.read_text().strip(), container)
    taken = t.coffer("run", "-d", "--name", "one", t.debian(), "true", code=125)
    t.contains(taken.stderr, "one")
    t.equal(t.coffer("inspect", "-f", "{{.Id}}", container[:6]).stdout.strip(), container, "a short id")
    t.contains(t.coffer("rm", "one", code=1).stderr, "running")
    t.coffer("rm", "-f", "one")
    missing = t.coffer("inspect", "one", code=1)
    t.contains(missing.stderr, "one")


@test()
def signals_reach_the_program(t):
    container = t.start(t.debian(), "sh", "-c", "trap 'echo got; exit 3' USR1; echo ready; while :; do sleep 0.1; done")
    t.eventually(lambda: "ready" in t.coffer("logs", container).stdout, "the trap is set")
    t.coffer("kill", "-s", "USR1", container)
    t.equal(t.coffer("wait", container).stdout.strip(), "3")


@test()
def a_foreground_run_passes_interrupts_on(t):
    process = t.background(t.world.coffer, "run", "--rm", "--name", "front", t.debian(), "sh", "-c",
                           "trap 'exit 9' INT; echo ready; while :; do sleep 0.1; done", stdout=-1)
    t.equal(process.stdout.readline(), b"ready\n")
    process.send_signal(signal.SIGINT)
    t.equal(process.wait(timeout=20), 9, "exit code")


@test()
def init_reaps_and_forwards(t):
    output = t.run("--init", t.debian(), "sh", "-c", "sleep 0.1 & cat /proc/1/comm; sh -c 'sleep 0.2 & exit 0'; sleep 0.6; ls /proc | grep -c '^[0-9]'")
    lines = output.split("\n")
    t.true(lines[0] != "sh", f"process 1 is {lines[0]}")
    t.true(int(lines[1]) <= 4, f"processes left: {lines[1]}")


@test()
def explain_runs_nothing(t):
    result = t.coffer("run", "--explain", t.debian(), "touch", "/nowhere")
    for word in ("system call filter", "landlock", "no new privileges", "execute"):
        t.contains(result.stdout.lower(), word)
    t.equal(t.coffer("ps", "-a", "-q").stdout, "", "containers")


@test()
def many_terminals_at_once(t):
    image = t.debian()
    processes = [t.background(t.world.coffer, "run", "--rm", image, "echo", str(number), stdout=-1, stderr=-1) for number in range(8)]
    outputs = [process.communicate(timeout=120) for process in processes]
    t.equal([output[0].decode().strip() for output in outputs], [str(number) for number in range(8)], f"outputs ({outputs})")


@test()
def every_command_explains_itself(t):
    for verb in ("run", "create", "exec", "ps", "logs", "images", "pull", "inspect", "cp"):
        text = t.coffer(verb, "--help").stdout
        t.contains(text, f"USAGE: coffer {verb}")
    # What stands behind the image is the program's.
    t.contains(t.run(t.debian(), "ls", "--help"), "Usage: ls")


@test()
def groups_are_added_by_name_or_number(t):
    image = t.debian()
    t.equal(t.run("--network", "none", "--group-add", "tty", "--group-add", "1234", image, "id", "-G"), "0 5 1234")
    t.equal(t.run("--network", "none", "-u", "nobody", "--group-add", "audio", "--group-add", "7", image, "id", "-G"), "65534 7 29")
    t.start("--name", "grouped", "--network", "none", "--group-add", "tty", image, "sleep", "100")
    t.equal(t.coffer("exec", "grouped", "id", "-G").stdout.strip(), "0 5", "exec")
    result = t.coffer("run", "--rm", "--network", "none", "--group-add", "no-such-group", image, "true", code=125)
    t.contains(result.stderr, "no-such-group")
    t.one_sentence(result)


@test()
def the_generated_files_belong_to_container_root(t):
    script = "for f in hosts hostname resolv.conf; do stat -c '%u %g %a' /etc/$f; echo '# mine' >> /etc/$f || exit 1; tail -1 /etc/$f; done"
    t.equal(t.run("--network", "none", t.debian(), "sh", "-c", script), "\n".join(["0 0 644", "# mine"] * 3))


@test()
def paths_are_unmasked_by_pattern(t):
    masks = lambda *options: int(t.run("--network", "none", *options, t.debian(), "sh", "-c", "grep -c ' /proc/' /proc/self/mounts || true"))  # noqa: E731
    t.true(masks() > 5, "the level masks paths of /proc")
    t.equal(masks("--security-opt", "unmask=/proc/*"), 0, "mounts below /proc with unmask=/proc/*")
    t.equal(masks("--security-opt", "unmask=ALL"), 0, "mounts below /proc with unmask=ALL")
    t.true(0 < masks("--security-opt", "unmask=/proc/k*") < masks(), "unmask=/proc/k* opens some")
