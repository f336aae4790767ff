"""Spoiled images through `coffer load`: no crash, no hang, no file left in the store, and every refusal one clear sentence."""

import io
import json
import os
import re
import tarfile

from harness import images, spoil
from harness.registry import Failure, test

SECONDS = 60
NAME = "localhost/spoiled:1"
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
CONFIG = {
    "architecture": ARCHITECTURE, "os": "linux", "created": "2026-01-01T00:00:00Z", "rootfs": {"type": "layers", "diff_ids": ["@diff"]},
    "config": {"User": "1:2", "Env": ["PATH=/bin"], "Entrypoint": ["/e"], "Cmd": ["a"], "WorkingDir": "/w", "Labels": {"a": "b"}, "StopSignal": "SIGTERM",
               "Volumes": {"/data": {}}, "ExposedPorts": {"80/tcp": {}}, "Healthcheck": {"Test": ["CMD", "x"], "Interval": 1000000000}},
    "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "a", "empty_layer": False}],
}
MANIFEST = {
    "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "@config", "size": "@config-size"},
    "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "@layer", "size": "@layer-size"}], "annotations": {"a": "b"},
}
INDEX = {
    "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
    "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "@manifest", "size": "@manifest-size",
                   "platform": {"architecture": ARCHITECTURE, "os": "linux"}, "annotations": {"org.opencontainers.image.ref.name": NAME}}],
}
CORPUS = {
    "a layout": {"oci-layout": {"imageLayoutVersion": "1.0.0"}, "index.json": INDEX, "manifest": MANIFEST, "config": CONFIG},
    "a docker archive": {"manifest.json": [{"Config": "config.json", "RepoTags": [NAME], "Layers": ["layer.tar"]}], "config": CONFIG},
}
FILES = {"etc/passwd": b"root:x:0:0::/:/bin/sh\n", "tmp": None, "a": "tmp", "bin/.wh.old": b"", "bin/e": b"x" * 700}


def files_of(document, rng):
    """The archive's files by name, with the digests and sizes that belong to them."""
    layer = spoiled_tar(images.tar_of(FILES), rng) if rng.random() < 0.3 else images.tar_of(FILES)
    known = {"@diff": images.digest(layer), "@layer": images.digest(layer), "@layer-size": len(layer)}
    result = {}

    def text(part):
        data = spoil.text_of(document.get(part), rng)
        for word, value in known.items():
            data = data.replace(f'"{word}"', json.dumps(value))
        return data.encode("utf-8", "surrogatepass")

    def blob(name, data):
        known.update({f"@{name}": images.digest(data), f"@{name}-size": len(data)})
        result[f"blobs/sha256/{images.digest(data)[7:]}"] = data
    if "manifest.json" in document:
        return {"config.json": text("config"), "layer.tar": layer, "manifest.json": text("manifest.json")}
    blob("layer", layer)
    blob("config", text("config"))
    blob("manifest", text("manifest"))
    return {**result, "oci-layout": text("oci-layout"), "index.json": text("index.json")}


def spoiled_tar(data, rng):
    """A field of a header that says something else, its checksum right; or bytes gone."""
    data = bytearray(data)
    if rng.random() < 0.2:
        del data[rng.randrange(len(data)):]
        return bytes(data)
    headers = [start for start in range(0, len(data) - 512, 512) if data[start + 257:start + 262] == b"ustar"]
    start = rng.choice(headers)
    offset, length = rng.choice([(0, 100), (100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (156, 1), (157, 100), (257, 8), (345, 155)])
    fill = rng.choice([b"\0", b"\xff", b"7", b"\x80", b"../x\0", b"/\0", b".wh..wh..opq\0", b"-1\0", b"99999999999", b"x\ny\0", b"L", b"S"])
    data[start + offset:start + offset + min(length, len(fill))] = fill[:length]
    data[start + 148:start + 156] = b" " * 8
    data[start + 148:start + 156] = b"%06o\0 " % sum(data[start:start + 512])
    return bytes(data)


class Store:
    """What `coffer load` is given, and what its store holds."""

    def __init__(self, t):
        self.t = t
        self.path = t.directory()
        # A root of its own: every image in it is removed again and again.
        self.root = t.directory() / "state"
        self.coffer("images", "-q")
        self.before = self.files()

    def coffer(self, *words, **options):
        return self.t.coffer("--root", self.root, *words, **options)

    def files(self):
        """The store's files, but for its index, which lists no image then, and its locks."""
        store = self.root / "images"
        return {str(path.relative_to(store)) for path in store.rglob("*") if path.name not in ("index.json", "lock", "hold.lock") and not path.is_dir()}

    def put(self, document, rng):
        """The archive as a file or a directory."""
        files = files_of(document if isinstance(document, dict) else {}, rng)
        source = self.path / "source"
        if "manifest.json" not in files and rng.random() < 0.5:
            source = self.path / f"layout-{rng.random()}"
            for name, data in files.items():
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                (source / name).write_bytes(data)
        else:
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w") as archive:
                for name, data in files.items():
                    entry = tarfile.TarInfo(name)
                    entry.size = len(data)
                    archive.addfile(entry, io.BytesIO(data))
            source.write_bytes(spoiled_tar(buffer.getvalue(), rng) if rng.random() < 0.15 else buffer.getvalue())
        self.t.world.own(self.path)
        return source

    def load(self, source):
        result = self.coffer("load", "-i", source, code=None, timeout=SECONDS)
        if result.code < 0:
            raise Failure(f"coffer crashed ({result.code}): {result.stderr[-500:]!r}")
        names = self.coffer("images", "--format", "{{.ID}}", "--no-trunc").stdout.split()
        if result.code == 0:
            self.coffer("rmi", "-f", *names)
        elif names:
            self.coffer("rmi", "-f", *names)
            raise Failure(f"a refused image is listed: {names}")
        else:
            if result.code not in (1, 125):
                raise Failure(f"exit code {result.code}: {result.stderr[:300]!r}")
            # Layers that were complete before are said too.
            spoil.sentence(result.stderr, [line for line in result.stderr.splitlines() if not re.fullmatch("[0-9a-f]{12}: [A-Za-z ]+", line)])
        left = self.files() - self.before
        if left:
            self.coffer("image", "prune", "-a", "-f")
            raise Failure(f"left in the store: {sorted(left)[:5]}")
        return result.code == 0


def spoiled_images(t, cases, fresh=False):
    store = Store(t)

    def check(document, rng):
        return store.load(store.put(document, rng))
    spoil.Spoiler("coffer load", CORPUS, ["application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.index.v1+json"]).run(cases, check, fresh)


@test()
def images_that_are_loaded(t):
    spoiled_images(t, 40)


@test(long=True)
def very_many_images(t):
    spoiled_images(t, 2000, fresh=True)
