"""The images that tests run: made from this machine's own Debian mirror, and of a few static programs. Cached between runs by their recipe."""

import gzip
import hashlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile

from harness.machine import PROJECT
from harness.registry import Failure

CACHE = pathlib.Path(os.environ.get("COFFER_TEST_CACHE", PROJECT / ".build/images"))
PROGRAMS = PROJECT / "Tests/Integration/programs"
SUITE = "bookworm"
PACKAGES = {
    "debian": (),
    "services": ("nginx-light", "postgresql", "redis-server", "gosu", "curl", "python3-minimal", "procps", "iproute2"),
}


def _cached(name, recipe, make):
    """The cached file of this name and recipe; `make(path)` writes it when there is none."""
    CACHE.mkdir(parents=True, exist_ok=True)
    path = CACHE / f"{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}.tar"
    if not path.exists():
        unfinished = CACHE / f".{path.name}.{os.getpid()}"
        try:
            make(unfinished)
            unfinished.rename(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return path


def debian(name="debian"):
    """A root file system of Debian as a tar file: "debian" (minimal) or "services" (nginx, PostgreSQL, redis, Python)."""
    packages = PACKAGES[name]
    command = [
        "mmdebstrap", "--quiet", "--variant=minbase", "--format=tar",
        # Documentation is most of the files and none of the function.
        "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
        f"--include={','.join(('ca-certificates', *packages))}",
        # The machine's own sources (a mirror, a proxy) come along, so that apt-get works inside as it does outside.
        "--customize-hook=rm -rf \"$1\"/var/lib/apt/lists/*", SUITE,
    ]

    def make(path):
        done = subprocess.run([*command, str(path)], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise Failure(f"mmdebstrap: {done.stderr.strip()[-2000:]}")
    return _cached(name, json.dumps(command), make)


def static_program(name, *flags):
    """A static program compiled from Tests/Integration/programs/NAME.c; the path of the binary."""
    return compiled(name, "-static", *flags)


def compiled(name, *flags):
    """What gcc makes of Tests/Integration/programs/NAME.c with these flags."""
    source = PROGRAMS / f"{name}.c"

    def make(path):
        subprocess.run(["gcc", "-O1", "-Wall", "-Werror", *flags, "-o", str(path), str(source)], check=True)
    return _cached(name, source.read_text() + " ".join(flags), make)


def tar_of(files):
    """A tar in memory. `files`: path → bytes (a file, executable), None (a directory), str (a symbolic link to it), TarInfo (as it is)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, content in files.items():
            entry = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(path)
            data = b""
            if content is None:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
            elif isinstance(content, bytes):
                data, entry.size, entry.mode = content, len(content), 0o755
            archive.addfile(entry, io.BytesIO(data) if data else None)
    return buffer.getvalue()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Layout:
    """An OCI image layout on disk, written by this file alone, so that a test can make a right one or a wrong one."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        (self.directory / "blobs/sha256").mkdir(parents=True)
        (self.directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        self.manifests = []

    def blob(self, data, media_type, name=None):
        """Stores a blob and returns its descriptor; `name` stores it under a digest that it does not have."""
        key = name or digest(data)
        (self.directory / "blobs" / key.replace(":", "/")).write_bytes(data)
        return {"mediaType": media_type, "digest": key, "size": len(data)}

    def layer(self, tar, compression="gzip"):
        """Stores a layer; returns its descriptor and its diff id."""
        if compression == "zstd":
            data = subprocess.run(["zstd", "-q", "-c"], input=tar, capture_output=True, check=True).stdout
        else:
            data = gzip.compress(tar, compresslevel=1, mtime=0) if compression == "gzip" else tar
        suffix = {"gzip": "+gzip", "zstd": "+zstd", None: ""}[compression]
        return self.blob(data, f"application/vnd.oci.image.layer.v1.tar{suffix}"), digest(tar)

    def image(self, name, layers, config=None, **manifest):
        """Adds an image of these (descriptor, diff id) pairs under a tag; returns its manifest's descriptor."""
        document = {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine], "os": "linux", "config": config or {},
            "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]},
        }
        descriptor = self.blob(json.dumps(document).encode(), "application/vnd.oci.image.config.v1+json")
        body = {
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": descriptor,
            "layers": [layer for layer, _ in layers], **manifest,
        }
        entry = self.blob(json.dumps(body).encode(), body["mediaType"])
        self.manifests.append({**entry, "annotations": {"org.opencontainers.image.ref.name": name}})
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": self.manifests}
        (self.directory / "index.json").write_text(json.dumps(index))
        return entry


SERVICES = {
    "nginx": {"Entrypoint": ["/entrypoint-nginx"], "Cmd": ["nginx", "-g", "daemon off;"], "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGQUIT"},
    "postgres": {"Entrypoint": ["/entrypoint-postgres"], "Cmd": ["postgres"], "ExposedPorts": {"5432/tcp": {}}, "StopSignal": "SIGINT",
                 "Volumes": {"/var/lib/postgresql/data": {}}},
    "redis": {"Entrypoint": ["/entrypoint-redis"], "Cmd": ["redis-server", "--protected-mode", "no", "--bind", "0.0.0.0"],
              "ExposedPorts": {"6379/tcp": {}}, "WorkingDir": "/data"},
}


def services_layout():
    """An OCI layout directory with the images nginx, postgres and redis: one Debian layer, one of entrypoints, three configurations.

    The entrypoints do what the popular images' do: chown their data as root, then drop to the service's user.
    """
    entrypoints = {f"entrypoint-{name}": (PROGRAMS / f"entrypoint-{name}").read_bytes() for name in SERVICES}
    base = debian("services")
    recipe = json.dumps([base.name, SERVICES, {name: text.decode() for name, text in entrypoints.items()}], sort_keys=True)
    target = CACHE / f"services-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}.oci"
    if not target.exists():
        unfinished = pathlib.Path(tempfile.mkdtemp(dir=CACHE))
        try:
            layout = Layout(unfinished)
            layers = [layout.layer(base.read_bytes()), layout.layer(tar_of(entrypoints))]
            for name, config in SERVICES.items():
                environment = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/15/bin"]
                layout.image(f"localhost/{name}:latest", layers, {**config, "Env": environment})
            unfinished.chmod(0o755)
            unfinished.rename(target)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return target
