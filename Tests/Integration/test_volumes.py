"""Volumes: filled from the image while they are new, kept or removed as Docker does, never a way out of the root."""

import json
import os

from harness import images
from harness.registry import test


def with_data(t, volumes=("/data",), extra=None, name="localhost/volumes:test", config=None):
    """An image with something in /data: owners, modes, links, a name that is no UTF-8; and a shell to look at it."""
    def entry(name, kind=None, mode=0o644, uid=0, gid=0, link="", content=b""):
        info = images.tarfile.TarInfo(name)
        info.type = kind or images.tarfile.REGTYPE
        info.mode, info.uid, info.gid, info.linkname, info.size, info.mtime = mode, uid, gid, link, len(content), 1_000_000_000
        return info, content

    entries = [
        entry("data", images.tarfile.DIRTYPE, 0o1770, 33, 34), entry("data/file", mode=0o640, uid=5, gid=6, content=b"content\n"),
        entry("data/tool", mode=0o6755, content=b"x"), entry("data/sub", images.tarfile.DIRTYPE, 0o700, 7, 8),
        entry("data/sub/deep", mode=0o400, uid=9, content=b"deep\n"), entry("data/link", images.tarfile.SYMTYPE, link="/etc/hostname"),
        entry("data/b\udcff", content=b"bytes\n"),
        *(extra or []),
    ]
    buffer = images.io.BytesIO()
    with images.tarfile.open(fileobj=buffer, mode="w", errors="surrogateescape") as archive:
        for info, content in entries:
            archive.addfile(info, images.io.BytesIO(content) if content else None)
    layout = t.layout()
    layers = [layout.layer(images.debian().read_bytes()), layout.layer(buffer.getvalue())]
    layout.image(name, layers, {"Cmd": ["true"], "Volumes": {path: {} for path in volumes}, **(config or {})})
    t.world.own(layout.directory)
    t.coffer("load", "-q", "-i", layout.directory)
    t.cleanups.append(lambda: t.coffer("rmi", "-f", name))
    return name


LOOK = "cd /data && stat -c '%n %a %u %g' . file tool sub sub/deep && stat -c %Y file && readlink link && cat sub/deep && ls | wc -l"
FOUND = """. 1770 33 34
file 640 5 6
tool 6755 0 0
sub 700 7 8
sub/deep 400 9 0
1000000000
/etc/hostname
deep
5"""


def names(t):
    return t.coffer("volume", "ls", "-q").stdout.split()


@test()
def new_volumes_hold_what_the_image_has(t):
    image = with_data(t)
    run = ("--network", "none")
    t.equal(t.run(*run, "-v", "fresh:/data", image, "sh", "-c", LOOK), FOUND, "a named volume")
    t.equal(t.run(*run, "-v", "fresh2:/data:ro", image, "sh", "-c", LOOK), FOUND, "a read-only volume")
    result = t.coffer("run", "--rm", *run, "-v", "fresh2:/data:ro", image, "touch", "/data/new", code=1)
    t.contains(result.stderr, "Read-only")
    t.equal(t.run(*run, image, "sh", "-c", LOOK), FOUND, "the image's own VOLUME")
    t.equal(t.run(*run, "-v", "/data", image, "sh", "-c", LOOK), FOUND, "an anonymous volume")
    t.equal(t.run(*run, "--mount", "type=volume,src=bare,dst=/data,volume-nocopy", image, "ls", "-A", "/data"), "", "volume-nocopy")
    t.equal(t.run(*run, "-v", "bare:/data:nocopy", image, "ls", "-A", "/data"), "", "nocopy")
    t.equal(names(t), ["bare", "fresh", "fresh2"], "volumes that stay")


@test()
def a_volume_that_holds_something_is_left_alone(t):
    image = with_data(t)
    t.run("--network", "none", "-v", "used:/somewhere", image, "touch", "/somewhere/mine")
    t.equal(t.run("--network", "none", "-v", "used:/data", image, "ls", "-A", "/data"), "mine")
    # Emptied by its own container: a second start does not fill it again.
    t.coffer("run", "--name", "emptier", "--network", "none", "-v", "emptied:/data", image, "sh", "-c", "ls -A /data; find /data -mindepth 1 -delete")
    again = t.coffer("start", "-a", "emptier")
    t.equal(again.stdout, "", "what the second start found")


@test()
def volumes_of_images_go_as_docker_lets_them(t):
    image = with_data(t, volumes=("/data", "/other/place"))
    before = names(t)
    t.coffer("create", "--name", "keeps", "--network", "none", image)
    mounts = {mount["Destination"]: mount for mount in t.inspect("keeps")["Mounts"]}
    t.equal(sorted(mounts), ["/data", "/other/place"], "mounts")
    t.equal({mount["Type"] for mount in mounts.values()}, {"volume"}, "types")
    t.equal(len(names(t)), len(before) + 2, "volumes while it is there")
    t.coffer("rm", "keeps")
    left = sorted(set(names(t)) - set(before))
    t.equal(left, sorted(mount["Name"] for mount in mounts.values()), "volumes after rm")
    t.coffer("volume", "rm", *left)
    t.coffer("create", "--name", "takes", "--network", "none", image)
    t.coffer("rm", "-v", "takes")
    t.equal(names(t), before, "volumes after rm -v")
    t.run("--network", "none", image)
    t.equal(names(t), before, "volumes after run --rm")
    directory = t.directory()
    t.coffer("create", "--name", "bound", "--network", "none", "-v", f"{directory}:/data", "--tmpfs", "/other/place", image)
    t.equal([mount["Type"] for mount in t.inspect("bound")["Mounts"]], ["bind", "tmpfs"], "what the user mounts comes first")


@test()
def no_volume_leads_out_of_the_root(t):
    """CVE-2022-23648, CVE-2018-15664: the image chooses where its volumes are and what links are there."""
    secret = t.directory() / "secret"
    secret.write_text("of the host")
    outside = f"/../../../../../../../..{secret.parent}"

    def link(name, target):
        info = images.tarfile.TarInfo(name)
        info.type, info.linkname = images.tarfile.SYMTYPE, target
        return info, b""

    image = with_data(
        t, volumes=(outside, "/up", "/loop"), name="localhost/reaching:test",
        extra=[link("up", f"../../../../../../../..{secret.parent}"), link("data/up", f"../../../../../../../..{secret.parent}")])
    output = t.coffer("run", "--rm", "--network", "none", "-v", "/up", image, "sh", "-c", "find / -xdev -name secret; ls -A /up /data/up/", code=None)
    t.true("secret" not in output.stdout, f"a file of the host is in the container: {output.stdout}")
    t.equal(os.listdir(secret.parent), ["secret"], "the directory of the host")
    t.equal(secret.read_text(), "of the host")
    proc = with_data(t, volumes=("/proc/self",), name="localhost/in-proc:test")
    refused = t.coffer("run", "--rm", "--network", "none", proc, "true", code=125)
    t.contains(refused.stderr, "/proc")
    t.equal(names(t), [], "volumes of a start that failed")


@test()
def a_start_that_was_killed_while_it_filled_is_done_again(t):
    image = with_data(t)
    t.coffer("volume", "create", "half")
    data = json.loads(t.coffer("volume", "inspect", "half").stdout)[0]["Mountpoint"]
    # What the copy leaves when it is killed: its staging directory, and some entries in their places.
    t.run("--network", "none", "-v", "half:/somewhere", image, "sh", "-c",
          "mkdir /somewhere/.coffer-filling && echo part > /somewhere/.coffer-filling/file && cp -a /data/tool /somewhere/tool")
    t.equal(t.run("--network", "none", "-v", "half:/data", image, "sh", "-c", LOOK + "; ! ls -A | grep filling"), FOUND)
    t.true(data.endswith("/half/_data"), f"mount point {data}")


@test()
def many_starts_with_one_new_volume(t):
    image = with_data(t)
    running = [t.background(t.world.coffer, "run", "--rm", "--network", "none", "-v", "shared:/data", image, "sh", "-c", LOOK, stdout=-1) for _ in range(4)]
    for process in running:
        t.equal(process.communicate(timeout=60)[0].decode().strip(), FOUND, "what one of them found")


@test()
def the_volume_commands(t):
    image = t.static_image("exhaust")
    t.equal(t.coffer("volume", "create", "--label", "kind=test", "one").stdout, "one\n")
    t.equal(t.coffer("volume", "create", "one").stdout, "one\n", "creating it again")
    anonymous = t.coffer("volume", "create").stdout.strip()
    t.coffer("create", "--name", "user", "--network", "none", "-v", "two:/x", image, "/exhaust")
    t.equal(names(t), sorted([anonymous, "one", "two"]), "names")
    t.contains(t.coffer("volume", "ls").stdout, "DRIVER    VOLUME NAME")
    t.equal(t.coffer("volume", "ls", "-q", "-f", "dangling=true").stdout.split(), sorted([anonymous, "one"]), "dangling")
    t.equal(t.coffer("volume", "ls", "-q", "-f", "label=kind=test").stdout.split(), ["one"], "by label")
    document = json.loads(t.coffer("volume", "inspect", "one").stdout)[0]
    t.equal((document["Name"], document["Driver"], document["Labels"]), ("one", "local", {"kind": "test"}))
    t.equal(t.coffer("volume", "inspect", "--format", "{{.Name}}", "two").stdout, "two\n")
    for words, part in ((("inspect", "nowhere"), "nowhere"), (("rm", "nowhere"), "nowhere"), (("rm", "two"), "in use - [user]"), (("create", "../x"), "../x"), (("create", "-d", "nfs", "x"), "nfs")):
        result = t.coffer("volume", *words, code=1)
        t.contains(result.stderr, part)
        t.one_sentence(result)
    pruned = t.coffer("volume", "prune", "-f").stdout
    t.contains(pruned, anonymous)
    t.contains(pruned, "Total reclaimed space:")
    t.equal(names(t), ["one", "two"], "after prune")
    t.coffer("volume", "prune", "-f", "--all")
    t.equal(names(t), ["two"], "after prune --all")
    t.coffer("rm", "user")
    t.coffer("volume", "rm", "two")
    t.equal(os.listdir(t.world.state / "volumes"), [], "directories")


@test()
def prunes_and_disk_usage(t):
    image = t.static_image("exhaust")
    t.coffer("create", "--name", "stopped", "--network", "none", image, "/exhaust")
    t.start("--name", "running", "--network", "none", t.debian(), "sleep", "100")
    rows = {row["Type"]: row for row in map(json.loads, t.coffer("system", "df", "--format", "json").stdout.splitlines())}
    t.equal((rows["Containers"]["TotalCount"], rows["Containers"]["Active"]), ("2", "1"), "containers")
    t.true(int(rows["Images"]["TotalCount"]) >= 2 and rows["Images"]["Active"] == "2", f"images: {rows['Images']}")
    pruned = t.coffer("container", "prune", "-f").stdout
    t.contains(pruned, "Deleted Containers:")
    t.contains(pruned, "Total reclaimed space:")
    t.equal(t.coffer("ps", "-a", "--format", "{{.Names}}").stdout, "running\n", "containers left")
    t.equal(t.coffer("container", "prune", input="n\n").stdout, "", "a prune that was not wanted")
    t.coffer("import", "-q", "-", input=images.tar_of({"a": os.urandom(8)}))
    t.contains(t.coffer("image", "prune", "-f").stdout, "Deleted: sha256:")
    t.coffer("import", "-q", "-", "localhost/unused:test", input=images.tar_of({"b": os.urandom(8)}))
    t.coffer("system", "prune", "-f", "--volumes")
    t.contains(t.coffer("images").stdout, "localhost/unused")
    t.coffer("rmi", "localhost/unused:test")
    # All images, in a store of its own: the other tests want theirs.
    root = ("--root", t.directory() / "state")
    t.coffer(*root, "import", "-q", "-", "localhost/unused:test", input=images.tar_of({"b": os.urandom(8)}))
    t.contains(t.coffer(*root, "image", "prune", "-f", "--all").stdout, "Untagged: localhost/unused:test")
    t.equal(t.coffer(*root, "images", "-q").stdout, "", "images after prune --all")
