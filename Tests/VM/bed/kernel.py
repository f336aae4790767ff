"""Debian's kernel packages, as files that qemu starts."""

import lzma
import pathlib
import re
import struct
import subprocess

from bed import recipes
from bed.failure import VMError


class Apt:
    """apt with sources and lists of its own, below the cache: nothing of the machine's changes, and no root is needed."""

    def __init__(self, directory):
        self.directory = directory
        for name in ("lists/partial", "cache/archives/partial"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        (directory / "sources.list").write_text("\n".join(recipes.sources()) + "\n")
        self.options = [
            "-o", f"Dir::Etc::sourcelist={directory}/sources.list", "-o", "Dir::Etc::sourceparts=/dev/null",
            "-o", f"Dir::State::lists={directory}/lists", "-o", f"Dir::Cache={directory}/cache", "-o", "APT::Sandbox::User=root",
            "-o", "Acquire::Languages=none",
        ]

    def run(self, program, *words, cwd=None):
        done = subprocess.run([program, *self.options, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=cwd)
        if done.returncode != 0:
            raise VMError(f"{program} {' '.join(words)}: {done.stderr.strip()[-800:]}")
        return done.stdout

    def download(self, package, suite):
        """The newest version of a package in a suite; the path of its file."""
        listed = self.run("apt-cache", "madison", package)
        versions = [line.split("|")[1].strip() for line in listed.splitlines() if f" {suite}/" in line or f" {suite}-security/" in line]
        if not versions:
            raise VMError(f"{suite} has no package {package}")
        self.run("apt-get", "download", f"{package}={versions[0]}", cwd=self.directory)
        return max(self.directory.glob(f"{package}_*.deb"), key=lambda path: path.stat().st_mtime)


def download(apt, suite):
    """The kernel that linux-image-amd64 of a suite stands for; the path of its package."""
    meta = apt.download("linux-image-amd64", suite)
    depends = subprocess.run(["dpkg-deb", "-f", str(meta), "Depends"], capture_output=True, text=True, check=True).stdout
    name = re.search(r"linux-image-[0-9][^ ,]*", depends)
    if not name:
        raise VMError(f"{meta.name} names no kernel: {depends!r}")
    return apt.download(name.group(), suite)


def unpack(package, directory):
    """The boot files and the wanted modules of a kernel package, below a directory; the kernel's version."""
    wanted = [f"./{place}lib/modules/*/kernel/{module}*" for module in recipes.MODULES for place in ("", "usr/")]
    wanted += [f"./{place}lib/modules/*/modules.*" for place in ("", "usr/")]
    directory.mkdir(parents=True)
    contents = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE)
    # Which of the two places holds the modules depends on the release: the other one's patterns match nothing, and tar says so.
    subprocess.run(["tar", "-x", "-C", str(directory), "--wildcards", "./boot/vmlinuz-*", *wanted],
                   stdin=contents.stdout, stderr=subprocess.DEVNULL, check=False)
    if contents.wait() != 0:
        raise VMError(f"{package} cannot be read")
    images = list((directory / "boot").glob("vmlinuz-*"))
    if len(images) != 1:
        raise VMError(f"{package} holds {len(images)} kernels")
    version = images[0].name.removeprefix("vmlinuz-")
    if not modules(directory, version).is_dir():
        raise VMError(f"{package} holds no modules")
    return version


def modules(directory, version):
    """The module tree below an unpacked package."""
    for place in ("lib", "usr/lib"):
        if (directory / place / "modules" / version).is_dir():
            return directory / place / "modules" / version
    return directory / "lib/modules" / version


def uncompressed(image):
    """The ELF file inside a bzImage (Linux boot protocol 2.08): booted as it is, the guest has nothing to decompress under emulation."""
    data = pathlib.Path(image).read_bytes()
    setup_sectors = data[0x1F1] or 4
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    # The last four bytes are the size, as the kernel's build appends it.
    payload = data[start:start + length - 4]
    if payload.startswith(b"\xfd7zXZ"):
        return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(payload)
    programs = {b"\x02\x21\x4c\x18": ["lz4", "-dc"], b"\x28\xb5\x2f\xfd": ["zstd", "-dc"]}
    program = programs.get(payload[:4])
    if program is None:
        raise VMError(f"{image} is compressed in a way that is not known here: {payload[:4].hex()}")
    return subprocess.run(program, input=payload, capture_output=True, check=False).stdout
