"""`coffer exposure` of everything but units: files of other engines, hostile input, Coffer's own containers and processes."""

import json
import os
import pathlib
import re

from harness.registry import BOTH, ROOT, ROOTLESS, Failure, test

COMPOSE = """
x-common: &common
  read_only: true
  cap_drop: [ALL]
services:
  open:
    image: nginx
    privileged: yes
    pid: host
    network_mode: host
  socket:
    image: nginx
    ports: ["8080:80"]
    volumes: ["/var/run/docker.sock:/var/run/docker.sock:ro", "data:/data"]
  plain: {image: nginx}
  hard:
    <<: *common
    image: nginx@sha256:aa
    user: "1000:1000"
    security_opt: ["no-new-privileges:true"]
    mem_limit: 64m
    pids_limit: 64
"""

PODS = """
apiVersion: v1
kind: Pod
metadata: {name: privileged}
spec:
  hostPID: true
  containers: [{name: app, image: nginx, securityContext: {privileged: true}}]
---
apiVersion: v1
kind: Pod
metadata: {name: baseline}
spec:
  containers: [{name: app, image: nginx}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: restricted}
spec:
  jobTemplate:
    spec:
      template:
        spec:
          securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
          containers:
          - name: app
            image: nginx
            securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
---
apiVersion: v1
kind: Service
metadata: {name: no-pod}
"""


def scores(t, *words, **options):
    reports = json.loads(t.coffer("exposure", *words, "--format", "json", **options).stdout)
    reports = reports if isinstance(reports, list) else [reports]
    for report in reports:
        t.true(0 <= report["exposure"] <= 10 and report["factors"], f"no report: {report}")
    return {report["target"]: report["exposure"] for report in reports}


def written(t, name, text):
    path = t.directory() / name
    path.write_text(text)
    return path


@test(modes=BOTH)
def compose_services_are_ranked(t):
    path = written(t, "compose.yaml", COMPOSE)
    found = {name.removeprefix(f"{path}:"): figure for name, figure in scores(t, path).items()}
    t.true(found["hard"] < found["plain"] < found["socket"] < found["open"], f"the order is wrong: {found}")
    t.contains(t.coffer("exposure", path).stdout, "docker.sock")


@test(modes=BOTH)
def pods_and_workloads_are_ranked(t):
    found = scores(t, written(t, "pods.yaml", PODS))
    t.equal(sorted(found), ["CronJob/restricted:app", "Pod/baseline:app", "Pod/privileged:app"], "targets")
    t.true(found["CronJob/restricted:app"] < found["Pod/baseline:app"] < found["Pod/privileged:app"], f"the order is wrong: {found}")


@test(modes=BOTH)
def a_dockerfile_is_read_by_its_last_stage(t):
    root = written(t, "Dockerfile", "FROM golang AS build\nUSER 1000\nFROM debian\nCOPY --from=build /a /a\n")
    user = written(t, "Dockerfile", "FROM golang AS build\nFROM debian\n\nUSER \\\n# a remark\n 1000\n")
    t.true(scores(t, user)[str(user)] < scores(t, root)[str(root)], "USER makes no difference")


@test(modes=BOTH)
def inspect_output_from_standard_input(t):
    plain = [{"Name": "/web", "HostConfig": {"NetworkMode": "bridge"}, "Config": {"Image": "nginx"}, "Mounts": []}]
    loose = json.loads(json.dumps(plain))
    loose[0]["HostConfig"]["Privileged"] = True
    first, second = (scores(t, "-", input=json.dumps(document))["docker:web"] for document in (plain, loose))
    t.true(first < second, f"{first} is not below {second}")


@test(modes=BOTH)
def an_oci_bundle(t):
    directory = t.directory()
    t.runtime("spec", "--bundle", directory)
    t.equal(list(scores(t, directory)), [str(directory)], "targets")
    t.equal(scores(t, directory / "config.json")[str(directory / "config.json")], scores(t, directory)[str(directory)], "the file and its directory")


@test(modes=BOTH)
def targets_that_mean_nothing(t):
    for words in (["no-such-target"], ["pid:0"], ["pid:x"], ["pid:4194999"]):
        t.one_sentence(t.coffer("exposure", *words, code={1, 125}))


@test(modes=BOTH)
def a_compose_file_and_its_seccomp_profile(t):
    directory = t.directory()
    closed = {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [{"names": ["read", "write", "exit_group"], "action": "SCMP_ACT_ALLOW"}]}
    (directory / "closed.json").write_text(json.dumps(closed))
    service = "{image: x, security_opt: ['seccomp:%s']}"
    (directory / "compose.yaml").write_text(f"services: {{closed: {service % 'closed.json'}, lost: {service % 'nowhere.json'}, default: {{image: x}}}}\n")
    reports = json.loads(t.coffer("exposure", directory / "compose.yaml", "--format", "json").stdout)
    calls = {report["target"].rsplit(":")[-1]: next(factor for factor in report["factors"] if factor["id"] == "syscalls") for report in reports}
    t.true(calls["closed"]["text"].startswith("3 of "), calls["closed"]["text"])
    t.true("nowhere.json cannot be read" in calls["lost"]["unknown"], f"{calls['lost']}")
    t.true("unknown" not in calls["default"], f"{calls['default']}")


@test(modes=BOTH)
def what_systemctl_shows(t):
    shown = "Id=open.service\nLoadState=loaded\nUser=\n\nId=hard.service\nLoadState=loaded\nDynamicUser=yes\nProtectSystem=strict\nPrivateNetwork=yes\n"
    reports = json.loads(t.coffer("exposure", "-", "--format", "json", input=shown).stdout)
    found = {report["target"]: report for report in reports}
    t.equal(set(found), {"open.service", "hard.service"}, "units")
    t.equal(found["open.service"]["systemd"], "9.6", "systemd's own model of a unit without settings")
    t.true(found["hard.service"]["exposure"] < found["open.service"]["exposure"], "settings make no difference")


@test(modes=BOTH)
def names_are_escaped_everywhere(t):
    name = "/x\x1b[31m<script>alert(1)</script>\"'\u202e"
    document = json.dumps([{"Name": name, "HostConfig": {"NetworkMode": "host"}, "Config": {"Image": name}, "Mounts": [
        {"Type": "bind", "Source": "/etc/<b>\x1b]0;t\x07", "Destination": "/<img src=x onerror=alert(1)>", "RW": True}]}])
    page = t.coffer("exposure", "-", "--format", "html", input=document).stdout
    for bad in ("<script", "<img", "\x1b", "\u202e", "onerror=alert(1)>"):
        t.true(bad not in page, f"{bad!r} is in the page")
    t.true(re.search(r"(?:src|href)=[\"']?(?:https?:)?//", page) is None, "the page asks for something from elsewhere")
    t.contains(page, "<svg")
    for words in ([], ["--format", "table"]):
        t.true("\x1b" not in t.coffer("exposure", "-", *words, input=document).stdout, "an escape sequence reaches the terminal")
    sarif = json.loads(t.coffer("exposure", "-", "--format", "sarif", input=document).stdout)
    t.equal(sarif["version"], "2.1.0")
    run = sarif["runs"][0]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    t.true(len(run["results"]) > 5 and all(rules[result["ruleIndex"]] == result["ruleId"] for result in run["results"]), "rules and results do not fit")


@test(modes=BOTH)
def a_container_of_ours_and_its_flags(t):
    plain, loose = t.start(t.debian(), "sleep", "300"), t.start("--cap-add", "SYS_ADMIN", t.debian(), "sleep", "300")
    found = {name: scores(t, name)[t.inspect(name)["Name"].lstrip("/")] for name in (plain, loose)}
    t.true(found[plain] < found[loose], f"--cap-add makes no difference: {found}")
    t.equal(len(json.loads(t.coffer("exposure", "--format", "json").stdout)), 2, "reports without a target")


@test(modes=(ROOT,))
def a_running_process_of_ours(t):
    container = t.start("--cap-drop", "ALL", "--read-only", "--network", "none", t.debian(), "sleep", "300")
    pid = t.inspect(container)["State"]["Pid"]
    live = json.loads(t.coffer("exposure", f"pid:{pid}", "--format", "json").stdout)
    own = json.loads(t.coffer("exposure", f"pid:{os.getpid()}", "--format", "json").stdout)
    t.true(live["exposure"] < own["exposure"], "a container is not below a program of the host")
    factors = {factor["id"]: factor for factor in live["factors"]}
    for name in ("no-new-privileges", "root-file-system", "network", "process-namespace", "capability-sys-admin", "user-namespace"):
        if factors[name]["badness"] != 0:
            raise Failure(f"{name}: the kernel shows {factors[name]}")
    t.true("unknown" not in factors["syscalls"], "root cannot read the filter")
    asked = json.loads(t.coffer("exposure", container, "--format", "json").stdout)
    counts = [entry["applied"] for entry in asked["differences"] if entry["field"] == "syscalls"]
    counts += [factor["text"].split()[0] for factor in asked["factors"] if factor["id"] == "syscalls"]
    t.equal(factors["syscalls"]["text"].split()[0], counts[0], "calls by the kernel's filter, alone and beside what was asked for")


@test(modes=(ROOTLESS,))
def a_filter_that_a_user_may_not_read(t):
    container = t.start(t.debian(), "sleep", "300")
    pid = t.inspect(container)["State"]["Pid"]
    live = json.loads(t.coffer("exposure", f"pid:{pid}", "--format", "json").stdout)
    factors = {factor["id"]: factor for factor in live["factors"]}
    t.true("only root of the host" in factors["syscalls"]["unknown"], f"not said to be unknown: {factors['syscalls']}")
    t.equal(factors["syscalls"]["badness"], factors["syscalls"]["range"], "counted as the worst")


@test(modes=BOTH)
def what_was_asked_of_us_is_applied(t):
    """Flags that loosen and tighten; each container's first process has what was asked, field by field."""
    runs = {
        "plain": [], "hard": ["--cap-drop", "ALL", "--read-only", "--network", "none", "--user", "1000", "--pids-limit", "64"],
        "strict": ["--level", "strict"], "compat": ["--level", "compat", "--network", "none"], "caps": ["--cap-add", "SYS_PTRACE", "--cap-drop", "CHOWN"],
        "host": ["--pid", "host", "--network", "host", "--uts", "host"], "unconfined": ["--security-opt", "seccomp=unconfined"],
        "files": ["-v", "/etc:/host-etc:ro", "-v", "/usr:/host-usr", "--tmpfs", "/scratch"],
        "limits": ["--ulimit", "core=0", "--oom-score-adj", "500", "--memory", "100m", "--cpus", "0.5"],
    }
    # Where a user has no control groups (version 1), what they would hold is not held: the kernel says so.
    is_missing = not t.world.is_root and not os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    ungrouped = {"namespaces.cgroup", "deviceRules", "limits.pids", "limits.memory", "limits.memoryAndSwap", "limits.cpuQuota", "limits.cpuShares"} if is_missing else set()
    wrong = []
    for name, flags in runs.items():
        # Its process lives in a namespace below the host's, and has the host's /proc: a user may not look whose that is.
        nested = {"namespaces.pid"} if name == "host" and not t.world.is_root else set()
        container = t.start(*flags, t.debian(), "sleep", "300")
        report = json.loads(t.coffer("exposure", container, "--format", "json").stdout)
        # Calls that are newer than the libseccomp below us have no name there: they stay refused, which loosens nothing.
        found = [entry for entry in report.get("differences", []) if entry["field"] not in ungrouped | nested
                 and not (entry["field"] == "syscalls" and entry.get("note", "").startswith("refused all the same"))]
        if report["applied"] is None or found or not ungrouped and report["applied"] > report["asked"]:
            wrong.append(f"{name}: asked {report['asked']}, applied {report['applied']}: {json.dumps(found)}")
        t.equal(report["proven"], None, "proven though nobody tried")
    t.equal(wrong, [], "differences")


@test(modes=BOTH)
def the_tables_of_the_page_are_the_programs_own(t):
    page = (pathlib.Path(__file__).resolve().parents[2] / "docs/EXPOSURE.md").read_text()
    for flag in ("--defaults", "--factors"):
        t.true(t.coffer("exposure", flag).stdout in page, f"docs/EXPOSURE.md has not what 'coffer exposure {flag}' prints")
