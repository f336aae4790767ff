"""Bind mounts of a bundle: which flags they keep, sources within the root, links at either end."""

import os

from harness.bundles import Bundle
from harness.registry import ROOT, Unavailable, test

MAPS = [{"containerID": 0, "hostID": 2_300_000, "size": 65536}]
LOCKED = "ro,nosuid,nodev,noexec"


def _mapped(bundle):
    bundle.config["linux"]["namespaces"].append({"type": "user"})
    bundle.config["linux"] |= {"uidMappings": MAPS, "gidMappings": MAPS}
    os.chown(bundle.path / "rootfs", 2_300_000, 2_300_000)


def _bind(bundle, source, destination, *options, **members):
    bundle.config["mounts"].append({"destination": destination, "type": "bind", "source": str(source), "options": list(options)} | members)


def _flags(bundle, *options):
    """Of a bind of the closed file system."""
    bundle.config["mounts"] = [mount for mount in bundle.config["mounts"] if mount["destination"] != "/bound"]
    _bind(bundle, bundle.path / "closed", "/bound", *options)
    for line in bundle.program("cat", "/proc/self/mountinfo").run().splitlines():
        if line.split()[4] == "/bound":
            return set(line.split()[5].split(","))
    return None


def _closed(t):
    bundle = Bundle(t)
    (bundle.path / "closed").mkdir()
    t.command("mount", "-t", "tmpfs", "none", bundle.path / "closed")
    t.cleanups.append(lambda: t.command("umount", bundle.path / "closed"))
    t.command("mount", "-o", f"bind,remount,{LOCKED},nosymfollow,noatime,nodiratime", bundle.path / "closed")
    return bundle


@test([ROOT])
def a_bind_mount_has_the_flags_that_are_given(t):
    """mount(8) and runc: none given, and those of the source stay; one given, and the others go, but for the times of access."""
    bundle = _closed(t)
    everything = {*LOCKED.split(","), "nosymfollow", "noatime", "nodiratime"}
    t.equal(_flags(bundle, "bind"), everything, "without a flag")
    t.equal(_flags(bundle, "bind", "rprivate"), everything, "with a propagation")
    t.equal(_flags(bundle, "bind", "ro"), {"ro", "noatime", "nodiratime"}, "ro")
    t.equal(_flags(bundle, "bind", "rw", "nosuid"), {"rw", "nosuid", "noatime", "nodiratime"}, "rw,nosuid")
    t.equal(_flags(bundle, "bind", "atime"), {"rw", "noatime", "nodiratime"}, "a flag of the times that is cleared")
    t.equal(_flags(bundle, "bind", "relatime"), {"rw", "relatime"}, "relatime")
    t.equal(_flags(bundle, "bind", "nodiratime", "strictatime"), {"rw", "nodiratime"}, "nodiratime,strictatime")


@test([ROOT])
def a_user_namespace_keeps_what_its_source_forbids(t):
    """What the kernel locks for a less privileged mount namespace (mount_namespaces(7)) stays, although root of the host makes the mount here."""
    bundle = _closed(t)
    _mapped(bundle)
    locked = set(LOCKED.split(","))
    for options in (("bind",), ("bind", "ro"), ("bind", "rw"), ("bind", "rw", "rprivate"), ("rbind", "nosuid")):
        flags = _flags(bundle, *options)
        t.true(flags >= locked, f"{options}: the mount has {flags}")
    for options in (("dev",), ("rw", "suid", "dev", "exec"), ("exec", "ro")):
        bundle.config["mounts"] = [mount for mount in bundle.config["mounts"] if mount["destination"] != "/bound"]
        _bind(bundle, bundle.path / "closed", "/bound", "bind", *options)
        refused = bundle.write().runtime("run", "one", code=1).stderr
        t.contains(refused, "the source forbids that")
        t.contains(refused, f"error mounting on /bound with {','.join(option for option in ('suid', 'dev', 'exec') if option in options)}")
    t.true("nosymfollow" not in _flags(bundle, "bind", "ro"), "nosymfollow, which nobody locks, is kept though it is not given")


def _tree(bundle, *options, **members):
    """Mounts on mounts whose sources are the container's own, and a file at the end of the way through them."""
    for name in ("a/x", "b/y", "c/z"):
        (bundle.path / "sources" / name).mkdir(parents=True)
        (bundle.path / "sources" / name / "file").write_text(name + "\n")
    root = bundle.path / "rootfs"
    for name in ("mnt", "final"):
        (root / name).mkdir()
    _bind(bundle, bundle.path / "sources/a", "/mnt", "bind")
    _bind(bundle, bundle.path / "sources/b", "/mnt/x", "bind")
    _bind(bundle, bundle.path / "sources/c", "/mnt/x/y", "bind")
    _bind(bundle, bundle.path / "sources/a", "/mnt/x/y/z", "bind")
    _bind(bundle, root / "mnt/x", f"{root}/mnt/x/y/z/x", "rbind", *options, **members)
    _bind(bundle, root / "mnt", f"{root}/final", "rbind", *options, **members)
    return bundle.program("cat", "/final/x/y/z/x/y/z/x/file")


@test([ROOT])
def a_source_in_the_root_is_seen_with_the_mounts_before(t):
    t.equal(_tree(Bundle(t)).run(), "a/x", "the file behind the mounts")
    bundle = Bundle(t)
    _mapped(bundle)
    t.equal(_tree(bundle).run(), "a/x", "the file behind the mounts, in a user namespace")
    for mapped in (False, True):
        bundle = Bundle(t)
        if mapped:
            _mapped(bundle)
        source = bundle.path / "rootfs/own"
        source.mkdir()
        (source / "file").write_text("")
        maps = [{"containerID": 0, "hostID": 4321 if not mapped else 2_300_000, "size": 65536}]
        _bind(bundle, source, "/seen", "bind", uidMappings=maps, gidMappings=maps)
        shown = bundle.program("stat", "-c", "%u", "/seen/file").run()
        t.equal(shown, "0" if mapped else "4321", f"the owner in the mapped mount, user namespace {mapped}")


@test([ROOT])
def a_source_in_the_root_does_not_leave_it(t):
    """A link of the image is followed in the root alone, and there is no second, unmasked view of /proc and /sys."""
    outside = t.directory() / "outside"
    outside.mkdir()
    (outside / "secret").write_text("of the host\n")
    bundle = Bundle(t).shell("cat /seen/secret")
    root = bundle.path / "rootfs"
    os.symlink(str(outside), root / "far")
    _bind(bundle, root / "far", "/seen", "bind")
    t.contains(bundle.write().runtime("run", "one", code=1).stderr, "No such file or directory")
    (root / str(outside)[1:]).mkdir(parents=True)
    (root / str(outside)[1:] / "secret").write_text("of the image\n")
    t.equal(bundle.write().run(), "of the image", "what the link leads to")
    for target in ("/", "/proc", "/sys", "/proc/self/root", "/sys/kernel", "../../.."):
        (root / "far").unlink()
        os.symlink(target, root / "far")
        refused = bundle.program("ls", "/seen").runtime("run", "one", code=1).stderr
        t.true("have one place only" in refused or "symbolic links" in refused, f"a link to {target}: {refused}")


@test([ROOT])
def links_at_the_ends_of_a_bind_mount(t):
    bundle = Bundle(t)
    root = bundle.path / "rootfs"
    (bundle.path / "file").write_text("content\n")
    os.symlink(str(bundle.path / "file"), bundle.path / "link")
    os.symlink("nowhere", root / "target")

    def mounted(*options, destination="/target", source="link"):
        bundle.config["mounts"] = [mount for mount in bundle.config["mounts"] if mount["type"] != "bind"]
        _bind(bundle, bundle.path / source, destination, "bind", *options)
        return bundle.write()

    mounted("dest-nofollow").program("cat", "/target")
    t.equal(bundle.run(), "content", "over the link")
    t.true(not (root / "nowhere").exists(), "the link's target was made")
    mounted("dest-nofollow", "src-nofollow").program("readlink", "/target")
    t.equal(bundle.run(), str(bundle.path / "file"), "the link itself")
    mounted("dest-nofollow", "src-nofollow", destination="/proc/self")
    t.contains(bundle.runtime("run", "one", code=1).stderr, "nothing may be mounted there")
    mounted("copy-symlink", destination="/new/link").program("readlink", "/new/link")
    t.equal(bundle.run(), str(bundle.path / "file"), "the copied link")
    t.equal(bundle.run(), str(bundle.path / "file"), "the copied link that is there already")
    mounted("copy-symlink", destination="/target")
    t.contains(bundle.runtime("run", "one", code=1).stderr, "File exists")
    mounted("copy-symlink", source="file", destination="/copied").program("cat", "/copied")
    t.equal(bundle.run(), "content", "a source that is no link")
    os.symlink("../../../..", root / "up")
    mounted("copy-symlink", destination="/up/proc/escaped")
    t.contains(bundle.runtime("run", "one", code=1).stderr, "nothing may be mounted there")


@test([ROOT])
def something_may_be_mounted_beside_the_control_groups(t):
    """podman's `--systemd=always` binds a hierarchy of systemd's into the read-only directory of all."""
    bundle = Bundle(t).program("cat", "/sys/fs/cgroup/other/file")
    source = bundle.path / "other"
    source.mkdir()
    (source / "file").write_text("beside\n")
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        raise Unavailable("the control groups are one file system here, v2's")
    _bind(bundle, source, "/sys/fs/cgroup/other", "bind")
    t.equal(bundle.write().run(), "beside", "what is mounted")


@test([ROOT])
def what_is_closed_is_closed_to_root_of_the_host(t):
    """Masks, read-only paths and a read-only root by themselves: no user namespace stands before them, and root has every right to the files."""
    bundle = Bundle(t)
    root = bundle.path / "rootfs"
    for name in ("secrets", "fixed"):
        (root / name).mkdir()
        (root / name / "file").write_text("of the image\n")
    (root / "secret").write_text("of the image\n")
    bundle.config["linux"]["maskedPaths"] += ["/secret", "/secrets", "/nonexistent"]
    bundle.config["linux"]["readonlyPaths"] += ["/fixed", "/nonexistent"]
    for kind in ("bounding", "permitted", "effective"):
        bundle.config["process"]["capabilities"][kind] += ["CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_SYS_RAWIO", "CAP_SYSLOG"]
    looks = ("cat /secret /proc/keys /proc/timer_list 2>/dev/null | wc -c; ls /secrets /sys/firmware | grep -v :",
             "(echo x > /fixed/file) 2>/dev/null && echo written; touch /fixed/new 2>/dev/null && echo made; (cat /proc/sys/kernel/panic > "
             "/proc/sys/kernel/panic) 2>/dev/null && echo set",
             "touch /new 2>/dev/null && echo made")
    for readonly, made in ((False, "made"), (True, "")):
        bundle.config["root"]["readonly"] = readonly
        shown = [bundle.shell(script + "; true").run().split() for script in looks]
        t.equal(shown, [["0"], [], made.split()], f"what root sees, may change, and makes where the root's readonly is {readonly}")
    t.equal((root / "fixed/file").read_text(), "of the image\n", "the file that is read-only")


@test([ROOT])
def control_groups_are_the_containers_own(t):
    """CVE-2023-25809: root of the host inside neither sees nor makes groups of others; read-only, it makes none at all."""
    top = "/sys/fs/cgroup/pids"
    if not os.path.isdir(top):
        raise Unavailable("this machine has no control groups of version 1")
    other = f"{top}/coffer-test-other"
    os.mkdir(other)
    t.cleanups.append(lambda: os.rmdir(other))
    bundle = Bundle(t).shell("cd /sys/fs/cgroup/pids; ls -d coffer*; mkdir made 2>/dev/null && rmdir made && echo made; (echo 5 > pids.max) 2>/dev/null && echo set; "
                             "mkdir /sys/fs/cgroup/new 2>/dev/null && echo new; true")
    # Root of the image is root of the host, and no namespace hides which group it is in.
    bundle.config["linux"]["namespaces"] = [space for space in bundle.config["linux"]["namespaces"] if space["type"] != "cgroup"]
    mount = next(mount for mount in bundle.config["mounts"] if mount["type"] == "cgroup")
    for options, answer in ((["nosuid", "ro"], ""), (["nosuid"], "made\nset")):
        mount["options"] = options
        t.equal(bundle.write().runtime("run", "one").stdout.strip(), answer, f"what can be done with {options}")


@test([ROOT])
def mounts_are_numbered_in_the_order_of_the_configuration(t):
    """Since Linux 6.8 mountinfo shows mounts by their numbers, which a bind gets when it is cloned: whoever reads it sees the order of mounting."""
    if tuple(int(part) for part in os.uname().release.split(".")[:2]) < (6, 8):
        raise Unavailable("mountinfo has no such order before Linux 6.8")
    bundle = Bundle(t)
    source = bundle.path / "source"
    source.mkdir()
    names = []
    for number, options in enumerate((None, ["bind"], ["rbind", "rslave"], None, ["bind", "unbindable"], ["bind", "ro", "shared"], None)):
        names.append(f"/m{number}")
        if options:
            _bind(bundle, source, names[-1], *options)
        else:
            bundle.config["mounts"].append({"destination": names[-1], "type": "tmpfs", "source": "tmpfs"})
    lines = bundle.program("cat", "/proc/self/mountinfo").run().splitlines()
    t.equal([line.split()[4] for line in lines if line.split()[4] in names], names, "the order of the mounts")


def _without_mount_namespace(t):
    bundle = Bundle(t)
    bundle.config["linux"]["namespaces"] = [entry for entry in bundle.config["linux"]["namespaces"] if entry["type"] != "mount"]
    return bundle


def _mounts_of(bundle):
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        return [line for line in table if f" {bundle.path}" in line]


@test([ROOT])
def a_container_without_a_mount_namespace_leaves_no_mount(t):
    """The specification allows it. What it mounts is the host's then, and goes with the container; what lay on its root before stays."""
    bundle = _without_mount_namespace(t)
    root = bundle.path / "rootfs"
    (bundle.path / "below").mkdir()
    os.rename(root, bundle.path / "below/rootfs")
    root.mkdir()
    t.command("mount", "--bind", bundle.path / "below/rootfs", root)
    t.cleanups.append(lambda: t.command("umount", root))
    before = _mounts_of(bundle)
    (bundle.path / "kept").write_text("of the host\n")
    _bind(bundle, bundle.path / "kept", "/etc/kept", "bind", "ro")
    ended = bundle.shell("cat /etc/kept; ls /; readlink /proc/self/ns/mnt").runtime("run", "one")
    t.contains(ended.stdout, "of the host")
    t.true("below" not in ended.stdout.split() and "home" not in ended.stdout.split(), f"the root is {ended.stdout}")
    t.contains(ended.stdout, os.readlink("/proc/self/ns/mnt"))
    t.contains(ended.stderr, "no mount namespace")
    t.equal(_mounts_of(bundle), before, "mounts after run")
    bundle.program("sleep", "100").create()
    bundle.runtime("start", "one")
    t.true(len(_mounts_of(bundle)) > len(before), "nothing is mounted on the host")
    t.equal(bundle.runtime("exec", "one", "ls", "/etc").stdout.split(), ["kept", "passwd"], "what an exec has as its root")
    bundle.runtime("delete", "--force", "one")
    t.equal(_mounts_of(bundle), before, "mounts after delete")
    t.true((bundle.path / "kept").exists() and (root / "bin/busybox").exists(), "a file of the host went with the mounts")


@test([ROOT])
def a_start_without_a_mount_namespace_that_fails_leaves_no_mount(t):
    bundle = _without_mount_namespace(t)
    bundle.program("/nonexistent").runtime("run", "one", code=127)
    t.equal(_mounts_of(bundle), [], "mounts after a program that is not there")
    _bind(bundle, "/nonexistent", "/there", "bind")
    bundle.program("true").runtime("run", "one", code=1)
    t.equal(_mounts_of(bundle), [], "mounts after a source that is not there")
    bundle.config["linux"]["namespaces"].append({"type": "user"})
    bundle.config["linux"] |= {"uidMappings": MAPS, "gidMappings": MAPS}
    t.contains(bundle.write().runtime("run", "one", code=1).stderr, "a mount namespace is required")


@test([ROOT])
def a_user_namespace_without_a_network_has_the_hosts_sysfs(t):
    """A sysfs of its own is for the owner of the network that it shows; the host's is bound then, alone and with the flags that are asked for."""
    bundle = Bundle(t)
    _mapped(bundle)
    bundle.config["linux"]["namespaces"] = [entry for entry in bundle.config["linux"]["namespaces"] if entry["type"] != "network"]
    bundle.config["mounts"] = [mount for mount in bundle.config["mounts"] if mount["type"] != "cgroup"]
    lines = [line.split() for line in bundle.shell("cat /proc/self/mountinfo; ls /sys/fs/cgroup").run().splitlines()]
    found = [line for line in lines if len(line) > 4 and line[4].startswith("/sys")]
    own = [line for line in found if line[4] == "/sys"]
    t.true(len(own) == 1 and {"ro", "nosuid", "nodev", "noexec"} <= set(own[0][5].split(",")), f"/sys: {own}")
    t.equal([line for line in found if line[4].startswith("/sys/fs")], [], "what the host has mounted below it")
    t.equal([line for line in lines if len(line) == 1], [], "control groups")
