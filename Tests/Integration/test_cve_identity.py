"""Holes of the class "a process gets an ID, a capability or a parameter that nobody meant it to have" (rules R8 to R10)."""

import json
import pathlib

from harness import images
from harness.hostile import Bundle
from harness.registry import ROOT, test
from test_confinement import status
from test_cve_paths import QUIET, image_of


@test()
def no_capability_is_inherited(t):
    """CVE-2022-24769, CVE-2022-27649 to 27652, CVE-2022-29162, CVE-2018-10856, CVE-2025-27612: inheritable and ambient sets are empty."""
    container = t.start("--network", "none", t.debian(), "sleep", "300")
    for user in ("0", "1000", "www-data"):
        run = t.coffer("run", *QUIET, "-u", user, "--cap-add", "SYS_PTRACE", t.debian(), "cat", "/proc/self/status").stdout
        for name, text in (("run", run), ("exec", t.coffer("exec", "-u", user, container, "cat", "/proc/self/status").stdout)):
            fields = status(text)
            for kind in ("CapInh", "CapAmb") + (() if user == "0" else ("CapEff", "CapPrm")):
                t.equal(fields[kind], "0" * 16, f"{kind} of {name} as {user}")


@test()
def supplementary_groups_are_the_plans(t):
    """CVE-2022-2989, CVE-2022-2990, CVE-2022-2995, CVE-2022-36109, CVE-2023-25173: a group that is to be kept out is in the process."""
    file = images.tarfile.TarInfo("secret")
    file.mode, file.uid, file.gid = 0o604, 0, 2000
    passwd = b"root:x:0:0::/:/bin/sh\napp:x:1000:2000::/:/bin/sh\nother:x:1001:3000::/:/bin/sh\n"
    files = {"etc/passwd": passwd, "etc/group": b"root:x:0:\nbarred:x:2000:\nextra:x:2001:app\n", "secret": file, "tmp": None}
    image = image_of(t, "localhost/groups:1", files)
    container = t.start("--network", "none", image, "/intruder", "hold")
    for user, groups, answer in (("app", "2000 2001", "EACCES"), ("1000:2000", "2000 2001", "EACCES"), ("other", "3000", "readable"), ("1001:2000", "2000", "EACCES"),
                                 ("1000:3000", "3000 2001", "readable")):
        for words in (("run", *QUIET, "-u", user, image), ("exec", "-u", user, container)):
            found, read = t.coffer(*words, "/intruder", "groups", "/secret").stdout.splitlines()
            if user not in ("1000:2000", "1000:3000"):
                t.equal(sorted(set(found.split())), sorted(groups.split()), f"groups of {words}")
            t.equal(read, answer, f"{words}: a file that group 2000 may not read")


@test(modes=(ROOT,))
def ids_of_a_bundle_are_ids(t):
    """CVE-2024-40635, CVE-2026-46680, CVE-2026-30892: 4294967295 would leave the process root; signs and prefixes are no numbers."""
    bundle = Bundle(t, "intruder")
    for user in ({"uid": 4294967295, "gid": 0}, {"uid": 1000, "gid": 4294967295}, {"uid": 1000, "gid": 1000, "additionalGids": [4294967295]},
                 {"uid": 4294967296, "gid": 0}, {"uid": -1, "gid": 0}, {"uid": "0", "gid": 0}, {"uid": 1.5, "gid": 0}):
        bundle.process["user"] = user
        refused = bundle.run("/intruder", "nothing", code=None)
        t.true(refused.code != 0, f"{user}: it ran")
        t.one_sentence(refused)
    bundle.process["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [7]}
    t.equal(bundle.run("/intruder", "groups", "/intruder").stdout.split(), ["7", "1000", "readable"], "groups of a bundle")
    process = t.background(*bundle.command("/intruder", "hold"), stdout=-1)
    t.equal(process.stdout.readline(), b"holding\n")
    for user in ("4294967295", "4294967296", "+0", "-1", "0x0", "1000:", ":0", "1 ", "0,0", "٠"):
        refused = bundle.exec("--user", user, bundle.name, "/intruder", "nothing", code=None)
        t.true(refused.code != 0, f"exec --user {user!r}: it ran")
    process.kill()
    process.wait()
    t.runtime("--root", bundle.state, "delete", "--force", bundle.name)
    t.true(not list(pathlib.Path("/sys/fs/cgroup").glob(f"*/coffer/{bundle.name}")), "delete leaves no control group of a runtime that was killed")


@test()
def hostile_user_databases(t):
    """CVE-2024-9676, CVE-2026-47262: /etc/passwd is a pipe, a link, a device of the kernel's, or too large: one error, at once."""
    fifo = images.tarfile.TarInfo("etc/passwd")
    fifo.type = images.tarfile.FIFOTYPE
    for name, content in (("fifo", fifo), ("link", "/proc/kmsg"), ("self", "/etc/passwd"), ("large", b"x" * (3 << 20)), ("directory", None)):
        image = image_of(t, f"localhost/passwd-{name}:1", {"tmp": None, "etc/passwd": content})
        for user in ("app", "0"):
            refused = t.coffer("run", *QUIET, "-u", user, image, code=125, timeout=30)
            t.contains(refused.stderr, "/etc/passwd")
            t.true(refused.seconds < 5, f"{name}: {refused.seconds} s")


@test(modes=(ROOT,))
def a_sparse_user_database(t):
    """CVE-2024-9676: two gigabytes of nothing."""
    bundle = Bundle(t, "intruder")
    (bundle.root / "etc").mkdir()
    with open(bundle.root / "etc/passwd", "wb") as file:
        file.truncate(2 << 30)
    refused = bundle.run("/intruder", "nothing", code=1, timeout=30)
    t.contains(refused.stderr, "/etc/passwd")
    t.true(refused.seconds < 5, f"{refused.seconds} s")


@test()
def an_environment_writes_no_accounts(t):
    """CVE-2022-4318: a line feed in HOME became a line of the image's passwd."""
    passwd = b"root:x:0:0::/:/bin/sh\n"
    image = image_of(t, "localhost/accounts:1", {"etc/passwd": passwd, "etc/group": b"root:x:0:\n", "tmp": None})
    evil = "/home\nevil:x:0:0::/:/bin/sh"
    for words in (("-e", f"HOME={evil}"), ("-e", f"HOME={evil}", "-u", "4242"), ("-e", "A:B=x\ny:0:0"), ("--hostname", "a\nb"), ("-w", "/x\ny:0:0")):
        container = t.coffer("create", "--network", "none", *words, image, "/intruder", "nothing", code={0, 125})
        if container.code == 0:
            name = container.stdout.split()[-1]
            t.coffer("start", "-a", name, code={0, 1, 125, 126, 127})
            target = t.directory() / "passwd"
            t.coffer("cp", f"{name}:/etc/passwd", target)
            t.equal(target.read_bytes(), passwd, f"/etc/passwd after {words}")
            t.coffer("rm", "-f", name)


@test()
def parameters_of_the_kernel(t):
    """CVE-2022-0811, GHSA-w2j5: whatever a parameter or its value is called, the host's stay as they are."""
    watched = {path: pathlib.Path(path).read_text() for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/panic", "/proc/sys/vm/swappiness")}
    image = t.static_image("intruder")
    for setting in (
        "kernel.core_pattern=|/bin/false", "kernel.panic=7", "vm.swappiness=1", "kernel.shm_rmid_forced=1+kernel.core_pattern=|/bin/false",
        "kernel.shm_rmid_forced=1\nkernel.panic=7", "net.ipv4.ip_forward=1 kernel.panic=7", "net/../kernel/panic=7", "net.../kernel.panic=7", "net..kernel.panic=7",
        "net.ipv4/../../kernel/panic=7", "kernel/shm_rmid_forced=1", "fs.mqueue.../../kernel.panic=7", ".net.ipv4.ip_forward=1", "=1", "net.=1",
    ):
        refused = t.coffer("run", *QUIET, "--sysctl", setting, image, "/intruder", "nothing", code=125)
        t.true(refused.stderr.strip(), f"{setting}: no message")
    t.run("--network", "none", "--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.shm_rmid_forced=1", image, "/intruder", "nothing")
    for path, text in watched.items():
        t.equal(pathlib.Path(path).read_text(), text, path)


@test(modes=(ROOT,))
def parameters_of_the_kernel_in_a_bundle(t):
    """CVE-2022-0811 where a caller's config.json says it, with and without the namespace that the parameter belongs to."""
    bundle = Bundle(t, "intruder")

    def current(key):
        """Its value as it is: a parameter of the host's that is taken after all changes nothing."""
        return pathlib.Path("/proc/sys", key.replace("/../", "/").replace("net/", "").replace(".", "/")).read_text().strip()
    for key in ("kernel.core_pattern", "vm.swappiness", "kernel.panic", "net/../kernel/panic", "net.../kernel/panic"):
        bundle.linux["sysctl"] = {key: current(key.replace("net.../", "")) or "core"}
        t.true(bundle.run("/intruder", "nothing", code=None).code != 0, f"{key} was taken")
    bundle.linux["sysctl"] = {"kernel.shm_rmid_forced": "1+kernel.panic=7"}
    t.true(bundle.run("/intruder", "nothing", code=None).code != 0, "a value that names another parameter was taken")
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": current("net.ipv4.ip_forward")}
    bundle.linux["namespaces"] = [each for each in bundle.linux["namespaces"] if each["type"] != "network"]
    refused = bundle.run("/intruder", "nothing", code=None)
    t.true(refused.code != 0, "a parameter of the host's network was set")
    t.contains(refused.stderr, "would change the host")


@test(modes=(ROOT,))
def enormous_configurations(t):
    """CVE-2021-43784: counts and lengths beyond sixteen bits are refused in words, or hold."""
    bundle = Bundle(t, "intruder", user_namespace=True)
    maps = bundle.linux["gidMappings"]
    for what, spoil in (
        ("maps", lambda: bundle.linux.update(gidMappings=[{"containerID": n, "hostID": 100000 + n, "size": 1} for n in range(70000)])),
        ("environment", lambda: bundle.process.update(env=["A=" + "x" * (1 << 20)])),
        ("arguments", lambda: bundle.process.update(args=["/intruder", "x" * (1 << 20)])),
        ("directory", lambda: bundle.process.update(cwd="/" + "x" * (1 << 20))),
        ("host name", lambda: bundle.config.update(hostname="x" * 70000)),
        ("groups", lambda: bundle.process["user"].update(additionalGids=list(range(70000)))),
    ):
        saved = json.dumps(bundle.config)
        spoil()
        refused = bundle.run(*bundle.process["args"] if what == "arguments" else ("/intruder", "nothing"), code=None, timeout=60)
        t.true(refused.code not in (0, None) and refused.code > 0, f"{what}: exit code {refused.code}")
        t.true(len(refused.stderr) > 20, f"{what}: no message")
        bundle.config = json.loads(saved)
    t.true(maps, "the bundle had maps")


@test(modes=(ROOT,), needs=("cgroup-root",))
def no_device_without_a_rule(t):
    """GHSA-g54h-m393-cpwq: a configuration without device rules, or with an empty list, opens no device. With CAP_MKNOD a node can be made, as under
    every runtime; it opens nothing."""
    for resources in ({"devices": []}, {}, {"pids": {"limit": 50}}, {"devices": [{"allow": False, "access": "rwm"}]}):
        bundle = Bundle(t, "intruder")
        bundle.linux["resources"] = resources
        bundle.process["capabilities"] = {name: ["CAP_MKNOD", "CAP_SYSLOG"] for name in ("bounding", "effective", "permitted")}
        t.equal(bundle.run("/intruder", "device").stdout, "open EPERM\n", f"a device with {resources}")


@test()
def nested_user_namespaces_stop_at_their_limit(t):
    """Most of the kernel's own holes begin with capabilities in a new user namespace: the limit holds where no filter and no Landlock does."""
    verdict = t.coffer("run", *QUIET, "--cap-add", "SYS_ADMIN", "--security-opt", "landlock=off", "--security-opt", "seccomp=unconfined",
                       t.static_image("attacks"), "/attacks", "unshare_user", "clone_user", "clone3_user", code=None)
    t.equal(verdict.stdout.split(), [word for name in ("unshare_user", "clone_user", "clone3_user") for word in (name, "denied", "ENOSPC")])


@test()
def control_groups_cannot_be_changed(t):
    """CVE-2023-25809, CVE-2023-6476, CVE-2025-47291: no directory below any control group mount can be made or written."""
    script = ("for d in $(grep -E ' - cgroup2? ' /proc/self/mountinfo | cut -d' ' -f5) /sys/fs/cgroup; do mkdir $d/x 2>/dev/null && echo made $d/x; "
              "for f in $d/*; do [ -f $f ] && (echo 0 > $f) 2>/dev/null && echo wrote $f; done; done; echo looked; head -c 200 /proc/self/cgroup")
    for words in ((), ("--cap-add", "SYS_ADMIN", "--security-opt", "landlock=off", "--security-opt", "seccomp=unconfined")):
        found = t.run("--network", "none", *words, t.debian(), "sh", "-c", script).split("looked\n")
        t.equal(found[0], "", f"what {words} could change")
        t.true(".." not in found[-1], f"groups of others are named: {found[-1]}")


@test()
def labels_and_annotations_of_an_image_mean_nothing(t):
    """CVE-2024-3154, CVE-2026-53488, CVE-2026-53492, CVE-2026-53489, CVE-2026-50195: words of an image's that some engine acts on."""
    log = t.directory() / "planted"
    words = {
        "org.systemd.property.ExecStartPre": f"'/bin/touch {log}'", "run.oci.hooks.stdout": str(log), "run.oci.keep_original_groups": "1",
        "io.podman.annotations.privileged": "TRUE", "io.podman.annotations.seccomp": "unconfined", "io.podman.annotations.label": "disable",
        "io.containerd.image.seccomp": "unconfined", "io.kubernetes.cri-o.LogPath": str(log), "cdi.k8s.io/all": "vendor.com/device=all",
        "coffer.privileged": "true", "coffer.level": "compat", "coffer.network": "host", "org.criu.config": str(log), "run.coffer.exitCommand": f"touch {log}",
    }
    layout = t.layout()
    layer = layout.layer(images.tar_of({"intruder": images.static_program("intruder").read_bytes(), "tmp": None}), None)
    layout.image("localhost/labels:1", [layer], {"Labels": words, "Cmd": ["/intruder", "hold"]}, annotations=words)
    t.world.own(layout.directory)
    t.coffer("load", "-i", layout.directory)
    t.cleanups.append(lambda: t.coffer("rmi", "-f", "localhost/labels:1"))
    plain = t.coffer("inspect", t.start("--network", "none", t.static_image("intruder"), "/intruder", "hold")).stdout
    container = t.start("--network", "none", "localhost/labels:1")
    mine, other = (json.loads(text)[0] for text in (t.coffer("inspect", container).stdout, plain))
    t.equal(mine["Config"]["Labels"], words, "labels, which are shown")
    t.equal(mine["HostConfig"], other["HostConfig"], "what the container may do")
    t.equal(mine["Coffer"].get("Relaxations"), other["Coffer"].get("Relaxations"), "relaxations")
    config = json.loads((t.world.state / "containers" / container / "config.json").read_text())
    t.equal(set(config.get("annotations", {})) & set(words), set(), "annotations for the runtime")
    t.coffer("rm", "-f", container)
    t.true(not log.exists(), f"{log} was made")


@test()
def side_channels_are_masked(t):
    """GHSA-7ww5, GHSA-jq35 (RAPL), GHSA-6fw5 (/proc/interrupts), thermal_throttle: power and timing of the host."""
    script = ("for f in /sys/devices/virtual/powercap/*/*/energy_uj /sys/class/powercap/*/energy_uj /sys/devices/system/cpu/cpu*/thermal_throttle/* "
              "/proc/interrupts /proc/timer_list /proc/sched_debug /proc/latency_stats; do [ -e $f ] && [ -n \"$(head -c 9 $f 2>/dev/null)\" ] && echo $f; done; echo looked")
    t.equal(t.run("--network", "none", t.debian(), "sh", "-c", script), "looked", "readable side channels")
