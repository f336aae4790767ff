"""Wrong input: one clear sentence, Docker's exit code, nothing left."""

import json
import os
import pathlib
import shlex
import subprocess

from harness import images
from harness.registry import ROOT, ROOTLESS, Unavailable, test


def broken(t, change):
    """A layout with one image that `change(layout, layers)` may spoil; owned by the world's user."""
    layout = t.layout()
    tar = images.tar_of({"bin/tool": images.static_program("exhaust").read_bytes()})
    change(layout, tar)
    t.world.own(layout.directory)
    return layout.directory


def refused(t, directory, *parts):
    """Loading must fail with one sentence that has these parts, and list nothing."""
    before = t.coffer("images", "-q").stdout
    result = t.coffer("load", "-i", directory, code=None)
    t.true(result.code != 0, "it was loaded")
    t.one_sentence(result)
    for part in parts:
        t.contains(result.stderr, part)
    t.equal(t.coffer("images", "-q").stdout, before, "images")


@test()
def a_wrong_digest(t):
    wrong = "sha256:" + "0" * 64

    def change(layout, tar):
        _, diff_id = layout.layer(tar)
        layout.image("localhost/bad:1", [(layout.blob(tar, "application/vnd.oci.image.layer.v1.tar", name=wrong), diff_id)])
    refused(t, broken(t, change), "0" * 12)


@test()
def a_wrong_diff_id(t):
    def change(layout, tar):
        descriptor, _ = layout.layer(tar)
        layout.image("localhost/bad:1", [(descriptor, "sha256:" + "1" * 64)])
    refused(t, broken(t, change), "1" * 12)


@test()
def a_truncated_layer(t):
    def change(layout, tar):
        import gzip
        data = gzip.compress(tar)[:-200]
        layout.image("localhost/bad:1", [(layout.blob(data, "application/vnd.oci.image.layer.v1.tar+gzip"), images.digest(tar))])
    refused(t, broken(t, change))


@test()
def an_unknown_media_type(t):
    def change(layout, tar):
        layout.image("localhost/bad:1", [(layout.blob(tar, "application/vnd.example.layer.v1.rar"), images.digest(tar))])
    refused(t, broken(t, change), "application/vnd.example.layer.v1.rar")


@test()
def an_index_that_is_a_manifest_too(t):
    def change(layout, tar):
        layout.image("localhost/bad:1", [layout.layer(tar)], manifests=[])
    refused(t, broken(t, change))


@test()
def layers_that_reach_out(t):
    """The extraction corpus, as `load` meets it: a canary beside the store stays as it was."""
    canary = t.directory() / "canary"
    canary.write_text("untouched")
    t.world.own(canary)
    link = images.tarfile.TarInfo("x")
    link.type, link.linkname = images.tarfile.LNKTYPE, f"../../../../../../../..{canary}"
    device = images.tarfile.TarInfo("dev-sda")
    device.type, device.devmajor, device.devminor = images.tarfile.BLKTYPE, 8, 0
    for name, files in {
        "dot-dot": {f"../../../../../../../../..{canary}": b"changed"},
        "absolute": {str(canary): b"changed"},
        "link-then-file": {"a": str(canary.parent), "a/canary": b"changed"},
        "link-to-root": {"a": "/", f"a{canary}": b"changed"},
        "hard-link": {"x": link},
        "device": {"dev-sda": device},
        "whiteout": {f".wh...": b"", "a/.wh...": b""},
    }.items():
        layout = t.layout()
        layout.image(f"localhost/hostile-{name}:1", [layout.layer(images.tar_of(files))])
        t.world.own(layout.directory)
        result = t.coffer("load", "-i", layout.directory, code=None)
        t.true(result.code in (0, 1, 125), f"{name}: exit code {result.code}\n{result.stderr}")
        t.equal(canary.read_text(), "untouched", f"the canary after {name}")
        t.true(os.stat(canary).st_nlink == 1, f"{name}: a hard link to the canary was made")


@test()
def what_is_not_there_is_named(t):
    image = t.debian()
    for words, code, part in (
        (("run", "--rm", image, "no-such-program"), 127, "no-such-program"),
        (("run", "--rm", "-u", "nobody-here", image, "true"), 125, "nobody-here"),
        (("run", "--rm", "--mount", "type=bind,source=/no/such/directory,target=/x", image, "true"), 125, "/no/such/directory"),
        (("run", "--rm", "--device", "/dev/no-such", image, "true"), 125, "/dev/no-such"),
        (("run", "--rm", "--env-file", "/no/such/file", image, "true"), 125, "/no/such/file"),
        (("run", "--rm", "--cap-add", "NO_SUCH_CAP", image, "true"), 125, "NO_SUCH_CAP"),
        (("run", "--rm", "--network", "no-such-net", image, "true"), 125, "no-such-net"),
        (("run", "--rm", "--level", "no-such-level", image, "true"), 125, "no-such-level"),
        (("run", "--rm", "--security-opt", "seccomp=/no/such/profile", image, "true"), 125, "/no/such/profile"),
        (("load", "-i", "/no/such/archive"), 1, "/no/such/archive"),
        (("rmi", "no-such-image"), 1, "no-such-image"),
        (("logs", "no-such-container"), 1, "no-such-container"),
        (("exec", "no-such-container", "true"), 1, "no-such-container"),
    ):
        result = t.coffer(*words, code=code)
        t.contains(result.stderr, part)
        t.one_sentence(result)


@test()
def users_are_numbers_or_names_and_nothing_else(t):
    """CVE-2016-3697, CVE-2024-40635: what a kernel would make root by overflow or by prefix."""
    for user in ("4294967296", "4294967295", "-1", "+0", "0x0", "1:", "1 ", "root\n"):
        result = t.coffer("run", "--rm", "-u", user, t.debian(), "id", "-u", code=None)
        t.true(result.code == 125, f"-u {user!r}: exit code {result.code}, {result.stdout!r}")


@test(modes=(ROOT,))
def a_full_disk(t):
    directory = t.directory()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=0755", "none", directory], check=True)
    t.cleanups.append(lambda: subprocess.run(["umount", "-l", directory], check=True))
    result = t.coffer("--root", directory / "state", "import", images.debian(), "localhost/debian:full", code=None, timeout=120)
    t.true(result.code != 0, "an image of 100 MB went into 24 MB")
    t.contains(result.stderr.lower(), "no space left")
    t.one_sentence(result)
    t.equal(t.coffer("--root", directory / "state", "images", "-q").stdout, "", "images")
    used = sum(path.lstat().st_size for path in (directory / "state").rglob("*") if path.is_file())
    t.true(used < 1 << 20, f"{used} bytes left in the store")


@test(modes=(ROOTLESS,))
def no_subordinate_range(t):
    if os.geteuid() != 0:
        return
    empty = t.directory() / "empty"
    empty.write_text("")
    t.coffer("images")
    script = f"mount --bind {empty} /etc/subuid && mount --bind {empty} /etc/subgid && exec setpriv --reuid={t.world.uid} --regid={t.world.gid} --clear-groups {t.world.coffer} --root {t.world.home}/fresh run --rm x true"
    result = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, env=t.world.environment, timeout=60)
    t.equal(result.returncode, 125, f"exit code ({result.stderr})")
    t.contains(result.stderr, "/etc/subuid")


def in_mounts_of_its_own(t, preparation, *words, code):
    """Runs coffer as the world's user in a mount namespace that root has prepared by a shell script."""
    user = f"setpriv --reuid={t.world.uid} --regid={t.world.gid} --clear-groups"
    command = " ".join(shlex.quote(str(word)) for word in (t.world.coffer, *words))
    done = subprocess.run(["unshare", "--mount", "sh", "-c", f"{preparation} && cd {t.world.home} && exec {user} {command}"], capture_output=True,
                          text=True, env=t.world.environment, timeout=60)
    t.equal(done.returncode, code, f"exit code ({done.stderr})")
    return done


@test(modes=(ROOTLESS,))
def no_newuidmap(t):
    if os.geteuid() != 0:
        raise Unavailable("hiding a program takes root")
    image = t.debian()
    for program in ("newuidmap", "newgidmap"):
        places = [f"{directory}/{program}" for directory in ("/usr/bin", "/bin", "/usr/local/bin") if os.path.exists(f"{directory}/{program}")]
        hide = " && ".join(f"mount --bind /dev/null {place}" for place in places)
        result = in_mounts_of_its_own(t, hide, "run", "--rm", "--network", "none", image, "true", code=125)
        t.contains(result.stderr, f"{program} not found: install the package uidmap")
        t.one_sentence(result)
        t.equal(t.coffer("ps", "-a", "-q").stdout, "", "containers")


@test(modes=(ROOTLESS,))
def user_namespaces_are_disabled(t):
    """The limit of a user namespace around Coffer: what is below cannot have more, and the machine's own stays as it is."""
    if os.geteuid() != 0:
        raise Unavailable("a user namespace with the test user's IDs takes root")
    image = t.debian()
    user = f"setpriv --reuid={t.world.uid} --regid={t.world.gid} --clear-groups"
    command = " ".join(shlex.quote(str(word)) for word in (t.world.coffer, "run", "--rm", "--network", "none", image, "true"))
    # The second shell is started once there are maps, and so as root of the namespace, with its capabilities.
    inner = f"echo 0 > /proc/sys/user/max_user_namespaces && cd {t.world.home} && exec {user} {command}"
    script = f"read -r go && exec sh -c {shlex.quote(inner)}"
    process = subprocess.Popen(["unshare", "--user", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, env=t.world.environment)
    own = os.readlink("/proc/self/ns/user")
    t.eventually(lambda: os.readlink(f"/proc/{process.pid}/ns/user") != own, "a user namespace")
    for name in ("uid_map", "gid_map"):
        pathlib.Path(f"/proc/{process.pid}/{name}").write_text("0 0 4294967295")
    output, errors = process.communicate("go\n", timeout=60)
    done = subprocess.CompletedProcess(script, process.returncode, output, errors)
    t.equal(done.returncode, 125, f"exit code ({done.stderr})")
    t.contains(done.stderr, "user.max_user_namespaces")
    t.one_sentence(done)
    t.equal(t.coffer("ps", "-a", "-q").stdout, "", "containers")


@test()
def a_kernel_that_is_too_old(t):
    """uname(2) says 2.6 to programs that ask for it (personality(2), UNAME26)."""
    result = t.command("setarch", "--uname-2.6", t.world.coffer, "run", "--rm", "--network", "none", t.debian(), "true", code=125)
    t.contains(result.stderr, "Linux 2.6")
    t.contains(result.stderr, "5.19")
    t.one_sentence(result)
    t.equal(t.coffer("ps", "-a", "-q").stdout, "", "containers")


@test(modes=(ROOT,))
def a_disk_that_is_full_when_a_container_is_made(t):
    """The image is there, and no room for a container of it: nothing of that container stays."""
    directory = t.directory()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=0755", "none", directory], check=True)
    t.cleanups.append(lambda: subprocess.run(["umount", "-l", directory], check=True))
    root = ("--root", directory / "state")
    tar = images.tar_of({"exhaust": images.static_program("exhaust").read_bytes(), "full": os.urandom(1 << 20), "tmp": None})
    t.coffer(*root, "import", "-q", "-", "localhost/small:test", input=tar)
    rest = directory / "rest"
    with open(rest, "wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass  # it is full
    result = t.coffer(*root, "run", "--rm", "--network", "none", "localhost/small:test", "/exhaust", "processes", "0", code=125)
    t.one_sentence(result)
    rest.unlink()
    t.equal(t.coffer(*root, "ps", "-a", "-q").stdout, "", "containers")
    t.equal(os.listdir(directory / "state/containers"), [], "directories of containers")
    t.coffer(*root, "run", "--rm", "--network", "none", "localhost/small:test", "/exhaust", "processes", "0")


@test()
def a_config_of_another_kind(t):
    directory = t.directory()
    (directory / "rootfs").mkdir()
    for text, part in (
        ("", "config.json"),
        ("{", "config.json"),
        (json.dumps({"ociVersion": "2.0.0"}), "2.0.0"),
        ('{"ociVersion":"1.0.0","ociVersion":"1.0.0"}', "ociVersion"),
        (json.dumps({"ociVersion": "1.0.0", "process": {"args": ["true"], "cwd": "relative"}, "root": {"path": "rootfs"}}), "cwd"),
    ):
        (directory / "config.json").write_text(text)
        t.world.own(directory)
        result = t.runtime("--root", t.world.home / "runtime", "run", "--bundle", directory, "bad", code=None)
        t.true(result.code not in (0, None), f"{text!r} ran")
        t.contains(result.stderr, part)
