"""One damaged file harms its own container or image and nothing else: listings warn and go on, and `rm -f`, `rmi -f` take the damaged thing away."""

import json
import os
import pathlib
import shutil
import sqlite3

from harness import images
from harness.registry import Failure, test


def truncate(path):
    path.write_bytes(path.read_bytes()[:len(path.read_bytes()) // 2])


def garble(path):
    path.write_bytes(b"\0\xff{]" * (path.stat().st_size // 4 + 1))


def replace_by_directory(path):
    path.unlink()
    (path / "inside").mkdir(parents=True)


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "truncated": truncate,
    "garbage": garble,
    "unreadable": lambda path: path.chmod(0),
    "missing": lambda path: path.unlink(),
    "a directory": replace_by_directory,
    "a dangling link": lambda path: (path.unlink(), path.symlink_to("/nowhere/at/all")),
}


def damaged(t, path, kind):
    """Damages a file of the world's user, who then still owns what is there."""
    DAMAGE[kind](path)
    if os.path.lexists(path) and not path.is_symlink():
        t.world.own(path)


def others_work(t, image, what):
    """Every command about everything, and about another container, does what it always does."""
    try:
        t.contains(t.coffer("ps", "-a", "--format", "{{.Names}}").stdout, "witness")
        t.equal(t.coffer("inspect", "--format", "{{.Name}}", "witness").stdout.strip(), "/witness", "inspect of another")
        t.contains(t.coffer("images", "--format", "{{.Repository}}").stdout, "localhost/exhaust")
        t.coffer("image", "prune", "-f")
        t.run("--network", "none", image, "/exhaust", "processes", "0")
        t.coffer("create", "--name", "passing", "--network", "none", image, "/exhaust")
        t.coffer("rm", "-f", "passing")
        t.coffer("tag", image, "localhost/passing:test")
        t.coffer("rmi", "localhost/passing:test")
    except Failure as failure:
        raise Failure(f"{what}: {failure}") from None


def witness(t):
    image = t.static_image("exhaust")
    t.coffer("create", "--name", "witness", "--network", "none", image, "/exhaust")
    return image


@test()
def damaged_files_of_a_container(t):
    image = witness(t)
    cases = [(file, kind, "exited") for file in ("config.json", "coffer.json", "lock", "state.json") for kind in DAMAGE]
    cases += [(file, kind, "created") for file in ("config.json", "coffer.json", "lock") for kind in ("garbage", "missing")]
    cases += [(file, kind, "exited") for file in ("container.log", "hosts") for kind in ("missing", "a directory")]
    for file, kind, state in cases:
        what = f"{file} {kind} [{state}]"
        container = t.coffer("create", "--name", "victim", "--network", "none", image, "/exhaust", "processes", "0").stdout.strip()
        if state == "exited":
            t.coffer("start", "-a", "victim")
        path = t.world.state / "containers" / container / file
        damaged(t, path, kind)
        others_work(t, image, what)
        t.coffer("rm", "-f", "victim")
        t.true(not path.parent.exists(), f"{what}: the directory is still there")
        t.equal(t.coffer("ps", "-a", "-q", "-f", "name=victim").stdout, "", f"{what}: listed after its removal")


@test()
def damaged_files_of_a_running_container(t):
    image = witness(t)
    debian = t.debian()
    for file in ("config.json", "coffer.json", "lock", "state.json", "attach.sock"):
        for kind in ("garbage", "missing") if file != "attach.sock" else ("missing",):
            what = f"{file} {kind} [running]"
            container = t.start("--name", "victim", "--network", "none", debian, "sleep", "300")
            directory = t.world.state / "containers" / container
            damaged(t, directory / file, kind)
            others_work(t, image, what)
            t.coffer("rm", "-f", "victim")
            t.true(not directory.exists(), f"{what}: the directory is still there")
            left = [entry for entry in os.listdir("/proc") if entry.isdigit() and container.encode() in _command(entry)]
            t.equal(left, [], f"{what}: processes")


def _command(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@test()
def a_damaged_container_says_so(t):
    image = witness(t)
    t.coffer("create", "--name", "victim", "--network", "none", image, "/exhaust", "processes", "0")
    t.coffer("start", "-a", "victim")
    (t.world.state / "containers" / t.inspect("victim")["Id"] / "state.json").write_text("{")
    listing = t.coffer("ps", "-a", "--format", "{{.Names}} {{.State}}")
    t.contains(listing.stdout, "victim dead")
    t.contains(listing.stderr, "container victim is damaged")
    t.contains(listing.stderr, "coffer rm -f victim")
    for command in (("start", "victim"), ("stop", "victim"), ("inspect", "victim"), ("rm", "victim"), ("logs", "victim")):
        result = t.coffer(*command, code=1)
        t.one_sentence(result)
        t.contains(result.stderr, "coffer rm -f victim")


@test()
def a_damaged_row(t):
    image = witness(t)
    t.coffer("create", "--name", "victim", "--network", "none", image, "/exhaust")
    with sqlite3.connect(t.world.state / "state.db") as database:
        database.execute("update containers set details = '{' where name = 'victim'")
    others_work(t, image, "the row")
    t.contains(t.coffer("ps", "-a").stderr, "settings of container victim cannot be read")
    t.coffer("rm", "-f", "victim")
    t.equal(t.coffer("ps", "-a", "-q", "-f", "name=victim").stdout, "", "listed after its removal")


@test()
def strangers_among_the_containers(t):
    image = witness(t)
    directory = t.world.state / "containers"
    (directory / "notes.txt").write_text("somebody's")
    (directory / ("ab" * 32)).write_text("a file where a directory should be")
    others_work(t, image, "strangers")
    (directory / "notes.txt").unlink()


def documents(t, name):
    """The files that an image is made of: description → path."""
    store = t.world.state / "images"
    blob = lambda digest: store / "blobs" / digest.replace(":", "/")  # noqa: E731
    entry = next(entry for entry in json.loads((store / "index.json").read_text())["manifests"]
                 if entry.get("annotations", {}).get("org.opencontainers.image.ref.name") == name)
    manifest = json.loads(blob(entry["digest"]).read_text())
    config = json.loads(blob(manifest["config"]["digest"]).read_text())
    layer = store / "layers" / config["rootfs"]["diff_ids"][0].replace(":", "-")
    return {"manifest": blob(entry["digest"]), "configuration": blob(manifest["config"]["digest"]),
            "layer blob": blob(manifest["layers"][0]["digest"]), "layer record": layer / "layer.json"}


def victim_image(t, word):
    """An image of its own content: damage to it is damage to nothing else."""
    name = "localhost/victim:test"
    files = {"exhaust": images.static_program("exhaust").read_bytes(), "word": word.encode()}
    t.coffer("import", "-q", "-", name, input=images.tar_of(files))
    return name


@test()
def damaged_files_of_an_image(t):
    image = witness(t)
    number = 0
    for part in ("manifest", "configuration", "layer blob", "layer record"):
        for kind in DAMAGE:
            number += 1
            what = f"{part} {kind}"
            name = victim_image(t, f"{number}")
            damaged(t, documents(t, name)[part], kind)
            others_work(t, image, what)
            if part in ("manifest", "configuration") and (kind != "unreadable" or not t.world.is_root):
                listing = t.coffer("images")
                t.contains(listing.stderr, f"image {name} is damaged")
                t.contains(listing.stderr, f"coffer rmi -f {name}")
                refused = t.coffer("run", "--rm", "--network", "none", name, "/exhaust", "processes", "0", code=125)
                t.contains(refused.stderr, f"coffer rmi -f {name}")
                t.coffer("rmi", name, code=1)
            t.coffer("rmi", "-f", name)
            t.equal(t.coffer("images", "-q", name).stdout, "", f"{what}: listed after its removal")
            t.equal(t.coffer("images").stderr, "", f"{what}: warnings after its removal")


@test()
def a_layer_that_lost_its_tree_is_extracted_again(t):
    name = victim_image(t, "tree")
    tree = documents(t, name)["layer record"].parent / "root"
    t.command("sh", "-c", f"mv '{tree}' '{tree}.away'")
    result = t.coffer("run", "--rm", "--network", "none", name, "/exhaust", "processes", "0")
    t.contains(result.stderr, "extracting it again")
    t.true(tree.exists(), "the tree is back")
    t.coffer("rmi", name)
    if (tree.parent / "root.away").exists():
        raise Failure("the damaged layer stayed")


@test()
def layers_of_containers_outlive_their_image(t):
    """Whatever happens to the list of images: what a container is made of stays until the container goes."""
    name = victim_image(t, "outlived")
    t.coffer("create", "--name", "victim", "--network", "none", name, "/exhaust", "processes", "0")
    paths = documents(t, name)
    paths["manifest"].write_text("{")
    t.coffer("rmi", "-f", name)
    t.true(paths["layer record"].exists(), "the layer of a container is still there")
    t.coffer("start", "-a", "victim")
    t.coffer("rm", "victim")
    t.coffer("image", "prune", "-f")
    t.true(not paths["layer record"].exists(), "the layer goes after the container")


@test()
def a_damaged_list_of_images(t):
    image = witness(t)
    index = t.world.state / "images/index.json"
    whole = index.read_text()
    index.write_text(whole[:len(whole) // 2])
    try:
        for command in (("images",), ("rmi", "x"), ("run", "--rm", image)):
            result = t.coffer(*command, code={1, 125})
            t.contains(result.stderr, "index.json is not valid")
            t.contains(result.stderr, "move it away")
        t.contains(t.coffer("ps", "-a").stdout, "witness")
        t.coffer("start", "-a", "witness", code=None)
    finally:
        index.write_text(whole)


@test()
def a_damaged_cache(t):
    image = witness(t)
    for path in (t.world.state / "cache").rglob("*"):
        if path.is_file():
            garble(path)
    t.run("--network", "none", image, "/exhaust", "processes", "0")
    shutil.rmtree(t.world.state / "cache")
    t.run("--network", "none", image, "/exhaust", "processes", "0")
