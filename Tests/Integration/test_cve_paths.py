"""Holes of the class "a path of the container's is looked up twice, or through its links" (rules R4 to R7). Canaries are outside; nothing may look at them."""


from harness import images
from harness.hostile import Bundle, Canary, swapping
from harness.registry import ROOT, test

QUIET = ("--rm", "--network", "none")


def image_of(t, name, files, **config):
    """Loads an image of these files and of /intruder."""
    layout = t.layout()
    files = {"intruder": images.static_program("intruder").read_bytes(), **files}
    layout.image(name, [layout.layer(images.tar_of(files), None)], {"Cmd": ["/intruder", "nothing"], **config})
    t.world.own(layout.directory)
    t.coffer("load", "-i", layout.directory)
    t.cleanups.append(lambda: t.coffer("rmi", "-f", name))
    return name


def swapped_starts(t, starts):
    """Starts containers that share a volume in which a directory and a link to the canary change places all the time."""
    canary = Canary(t)
    volume = t.directory()
    (volume / "target").mkdir()
    (volume / "link").symlink_to(canary.directory)
    (volume / "file").write_text("")
    (volume / "other").symlink_to(canary.marker)
    source = t.directory()
    for path in (volume, volume / "target"):
        path.chmod(0o777)
    t.world.own(volume)
    image = t.static_image("intruder")
    stop = swapping(t, volume, "target", "link", "file", "other")
    started = 0
    for number in range(starts):
        mount = (("-v", f"{source}:/shared/target"), ("--tmpfs", "/shared/target"), ("-v", f"{source}:/shared/target/made-{number}"),
                 ("-v", f"{volume}/target:/shared/file"), ("-w", f"/shared/target/work-{number}"))[number % 5]
        result = t.coffer("run", *QUIET, "-v", f"{volume}:/shared", *mount, image, "/intruder", "nothing", code={0, 125, 126, 127})
        started += result.code == 0
        if number % 50 == 0:
            canary.untouched(f"after {number + 1} starts")
    swaps = stop()
    canary.untouched(f"after {starts} starts")
    t.true(started > 0 and swaps > 100 * starts, f"{started} of {starts} started, names were exchanged {swaps} times: nothing was tried")


@test()
def a_mount_target_is_swapped(t):
    """CVE-2021-30465, CVE-2024-45310, CVE-2017-1002101, CVE-2015-3627: a target changes between the look and the mount."""
    swapped_starts(t, 50)


@test(long=True)
def a_mount_target_is_swapped_two_thousand_times(t):
    """CVE-2021-30465."""
    swapped_starts(t, 2000)


@test()
def devices_of_a_shared_dev_are_swapped(t):
    """CVE-2025-31133, CVE-2025-52565, CVE-2026-88264: masks come from the host's null device, the console from its own terminal."""
    canary = Canary(t)
    volume = t.directory()
    for name, target in (("null", "/decoy"), ("console", canary.marker)):
        (volume / name).write_text("")
        (volume / f"{name}-link").symlink_to(target)
    (volume / "pts").mkdir()
    (volume / "pts-link").symlink_to(canary.directory)
    volume.chmod(0o777)
    t.world.own(volume)
    # What a mask must not become: a file of the image, where an attacker would have one of /proc/sys.
    image = image_of(t, "localhost/decoy:1", {"tmp": None, "decoy": b"decoy"})
    stop = swapping(t, volume, *(name for device in ("null", "console", "pts") for name in (device, f"{device}-link")))
    masked = ("/proc/kcore", "/proc/keys", "/proc/timer_list")
    shown = 0
    for number in range(16):
        terminal = ("-t",) if number % 4 == 3 else ()
        result = t.coffer("run", *QUIET, *terminal, "-v", f"{volume}:/dev", image, "/intruder", "types", *masked, code=None)
        canary.untouched(f"start {number}")
        if result.code == 0 and not terminal:
            shown += 1
            for line in result.stdout.splitlines():
                t.true(line.split(maxsplit=1)[1] in ("char 1:3", "ENOENT"), f"a mask is not the null device: {line}")
    stop()
    t.true(shown > 0, "no container started")


@test()
def system_directories_that_are_links(t):
    """CVE-2026-41579, CVE-2019-16884, CVE-2019-19921, CVE-2023-27561, CVE-2023-28642: /dev, /proc, /sys of an image lead elsewhere."""
    canary = Canary(t)
    for name in ("dev", "proc", "sys"):
        for target in (str(canary.directory), f"..{canary.directory}", "tmp"):
            image = image_of(t, f"localhost/link-{name}:1", {"tmp": None, name: target})
            refused = t.coffer("run", *QUIET, image, code=125)
            t.contains(refused.stderr, f"/{name} of the image is not a directory")
            canary.untouched(f"/{name} -> {target}")
        if t.world.is_root:
            bundle = Bundle(t, "intruder")
            (bundle.root / name).symlink_to(canary.directory)
            t.contains(bundle.run("/intruder", "nothing", code=1).stderr, f"/{name} of the image is not a directory")
            canary.untouched(f"bundle with /{name}")


@test()
def proc_is_no_volume(t):
    """CVE-2023-27561, CVE-2025-52881: a volume on /proc would be where labels and parameters are written."""
    fake = t.directory()
    (fake / "self/attr").mkdir(parents=True)
    (fake / "self/attr/exec").write_text("")
    t.world.own(fake)
    image = t.static_image("intruder")
    volume = image_of(t, "localhost/volume-proc:1", {"tmp": None}, Volumes={"/proc": {}})
    for words in (("-v", f"{fake}:/proc", image), ("--tmpfs", "/proc", image)):
        refused = t.coffer("run", *QUIET, *words, "/intruder", "nothing", code=125)
        t.contains(refused.stderr, "only a procfs may be mounted on /proc")
    # An image's own volume is refused too, or not made.
    shown = t.coffer("run", *QUIET, volume, "/intruder", "mounts", code={0, 125})
    t.true("/proc proc\n" in shown.stdout or "only a procfs" in shown.stderr, f"VOLUME /proc: {shown}")
    t.equal((fake / "self/attr/exec").read_text(), "", "what was written to a fake procfs")


@test(modes=(ROOT,))
def parameters_are_written_to_a_procfs_of_our_own(t):
    """CVE-2025-52881, CVE-2019-16884: sysctl through a tree of the image's, and an oom score through links."""
    canary = Canary(t)
    bundle = Bundle(t, "intruder")
    (bundle.root / "proc/sys/net/ipv4").mkdir(parents=True)
    (bundle.root / "proc/sys/net/ipv4/ping_group_range").symlink_to(canary.marker)
    (bundle.root / "proc/self").symlink_to(canary.directory)
    bundle.linux["sysctl"] = {"net.ipv4.ping_group_range": "0 0"}
    bundle.process["oomScoreAdj"] = 500
    bundle.run("/intruder", "nothing")
    canary.untouched("a fake /proc/sys")


@test()
def an_image_with_links_for_what_the_engine_makes(t):
    """CVE-2024-5154, CVE-2026-55686, CVE-2024-9341, CVE-2025-9566: files, working directories and mount points made through links of the image's."""
    canary = Canary(t)
    files = {"etc": str(canary.directory), "work": f"{canary.directory}/deeper", "run": f"../../../../../../..{canary.directory}", "tmp": None}
    image = image_of(t, "localhost/links:1", files, WorkingDir="/work/here")
    for words in ((), ("-w", "/run/deep/er"), ("--tmpfs", "/etc/new/place"), ("--init",), ("-v", f"{t.directory()}:/work/volume")):
        t.coffer("run", *QUIET, *words, image, code={0, 125})
        canary.untouched(f"run {words}")


@test()
def a_volume_of_an_image_leads_out(t):
    """CVE-2022-23648: VOLUME names what lies outside, which would be copied into the volume."""
    canary = Canary(t)
    for path in (f"/../../../../../../../..{canary.directory}", f"{canary.directory}", "/link"):
        image = image_of(t, "localhost/volume:1", {"tmp": None, "link": str(canary.directory)}, Volumes={path: {}})
        t.coffer("run", *QUIET, image, code={0, 125})
        canary.untouched(f"VOLUME {path}")
        kept = [path for path in (t.world.state / "volumes").rglob("marker")] if (t.world.state / "volumes").exists() else []
        t.equal(kept, [], "copies of the canary's marker")


@test()
def nothing_of_the_host_is_mounted_unasked(t):
    """CVE-2024-9341: no implicit mounts. Every mount of a plain container is one of the engine's own."""
    image = image_of(t, "localhost/fips:1", {"tmp": None, "etc/system-fips": b"", "usr/share/rhel/secrets": None})
    shown = t.run("--network", "none", "-v", f"{images.static_program('exhaust')}:/exhaust", image, "/intruder", "mounts").splitlines()
    kinds = {"proc", "tmpfs", "devpts", "mqueue", "sysfs", "cgroup", "overlay"}
    others = {place for place, kind in (line.split() for line in shown) if kind not in kinds}
    devices = {f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty")}
    generated = {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/exhaust"}
    # A file is masked by the null device, which is of the host's devtmpfs.
    masks = {place for place, kind in (line.split() for line in shown) if place.startswith(("/proc/", "/sys/")) and kind in ("devtmpfs", "tmpfs")}
    t.equal(others - devices - generated - masks, set(), f"mounts of the host in {shown}")
    t.true("/exhaust" in others, "the mounts were listed")


def swapped_copies(t, rounds):
    """`cp` in and out of a container that exchanges a directory for a link to the canary all the time."""
    canary = Canary(t)
    directory = t.directory()
    (directory / "in").mkdir()
    (directory / "in/planted").write_text("planted")
    image = image_of(t, "localhost/swap:1", {
        "swap": images.static_program("swap").read_bytes(), "tmp": None, "tmp/target": None, "tmp/target/marker": b"inside\n",
        "tmp/link": str(canary.directory)})
    t.world.own(directory)
    # Exchanged by the container itself, in its own /tmp.
    container = t.start("--network", "none", "-w", "/tmp", image, "/swap", "target", "link")
    copied = 0
    for number in range(rounds):
        out = directory / f"out-{number}"
        result = t.coffer("cp", f"{container}:/tmp/target/marker", out, code={0, 1})
        if result.code == 0 and out.is_file() and not out.is_symlink():
            t.equal(out.read_text(), "inside\n", "what was copied out")
            copied += 1
        t.coffer("cp", "-L", f"{container}:/tmp/target", directory / f"tree-{number}", code={0, 1})
        t.coffer("cp", directory / "in/planted", f"{container}:/tmp/target/planted", code={0, 1})
        t.coffer("cp", directory / "in", f"{container}:/tmp/target/tree", code={0, 1})
        canary.untouched(f"round {number}")
    found = [path for path in directory.rglob("*") if not path.is_symlink() and path.is_file() and "canary" in path.read_text(errors="replace")]
    t.equal(found, [], "what was copied out of the host")
    t.true(copied > 0, "nothing was copied")


@test()
def copies_against_a_swapper(t):
    """CVE-2018-15664, CVE-2026-41568, CVE-2026-42306, CVE-2019-10152, CVE-2023-0778: links change while `cp` walks."""
    swapped_copies(t, 8)


@test(long=True)
def many_copies_against_a_swapper(t):
    """CVE-2018-15664."""
    swapped_copies(t, 300)


@test()
def a_copy_changes_no_mode_behind_a_link(t):
    """CVE-2019-18466, CVE-2021-41089, CVE-2021-32760: a tree with links and modes, copied in, out, and from a stream of the user's."""
    canary = Canary(t)
    image = image_of(t, "localhost/modes:1", {"tmp": None, "tmp/link": str(canary.marker), "tmp/dir": None, "tmp/dir/link": str(canary.directory)})
    container = t.start("--network", "none", image, "/intruder", "hold")
    target = t.directory()
    t.world.own(target)
    hostile = images.tar_of({"link": str(canary.marker), "dir": str(canary.directory)})
    changes = images.tarfile.TarInfo("link")
    changes.mode, changes.uid = 0o6777, 1
    inside = images.tarfile.TarInfo("dir/marker")
    inside.mode = 0o777
    second = images.tar_of({"link": changes, "dir/marker": inside, "dir/new": b"planted"})
    for stream in (hostile, second):
        t.coffer("cp", "-", f"{container}:/tmp", input=stream, code={0, 1})
        canary.untouched("a stream copied in")
    t.coffer("cp", f"{container}:/tmp", target / "out")
    for name in ("link", "dir/link"):
        if (target / "out" / name).is_symlink():
            t.coffer("cp", f"{container}:/intruder", target / "out" / name, code={0, 1})
            break
    t.equal(canary.marker.stat().st_mode & 0o7777, 0o666, "mode of the marker")
    t.true(t.world.is_root or canary.marker.stat().st_uid in (0, t.world.uid), "owner of the marker")


@test()
def the_corpus_of_archives_through_every_door(t):
    """CVE-2014-6407, CVE-2014-9356, CVE-2021-29136, CVE-2025-47290: archives that lead out, through `import` and `cp -`; the 36 are in ImageStoreTests."""
    canary = Canary(t)
    link = images.tarfile.TarInfo("x")
    link.type, link.linkname = images.tarfile.LNKTYPE, f"../../../../../../..{canary.marker}"
    root = images.tarfile.TarInfo(".")
    root.type, root.linkname = images.tarfile.SYMTYPE, str(canary.directory)
    container = t.start("--network", "none", t.static_image("intruder"), "/intruder", "hold")
    out = "../../../../../../../.."
    for name, files in {
        "dot-dot": {f"{out}{canary.directory}/x": b"x"}, "absolute": {f"{canary.directory}/x": b"x"}, "hard link": {"x": link},
        "link, then file": {"a": str(canary.directory), "a/x": b"x"}, "chain": {"a": "b", "b": str(canary.directory), "a/x": b"x"},
        "root": {".": root, "x": b"x"}, "whiteout": {"a": str(canary.directory), "a/.wh.marker": b""},
        "opaque": {"a": str(canary.directory), "a/.wh..wh..opq": b""}, "up": {"a/../../../../../..": None},
    }.items():
        data = images.tar_of(files)
        t.coffer("import", "-", "localhost/corpus:1", input=data, code=None)
        canary.untouched(f"import: {name}")
        t.coffer("cp", "-", f"{container}:/tmp", input=data, code=None)
        canary.untouched(f"cp: {name}")
    t.coffer("rmi", "-f", "localhost/corpus:1", code=None)
