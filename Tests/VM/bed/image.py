"""Builds a guest: a root file system, a kernel, and the few files that start the one from the other."""

import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile
import time

from bed import kernel, recipes
from bed.failure import VMError

FILES = ("root.img", "vmlinux", "initramfs")


def built(name):
    """The directory of a guest's files, built when there is none."""
    guest = recipes.GUESTS[name]
    directory = recipes.cache() / f"{name}-{recipes.guest_key(guest)}"
    if all((directory / file).exists() for file in FILES):
        return directory
    begun = time.monotonic()
    recipes.cache().mkdir(parents=True, exist_ok=True)
    base = base_tar(guest.packages)
    package = kernel_package(guest.kernel_suite)
    with tempfile.TemporaryDirectory(dir=recipes.cache(), prefix=".build-") as work:
        _as_root([sys.executable, "-B", str(recipes.VM / "bed/assemble.py"), name, str(base), str(package), work])
        for old in recipes.cache().glob(f"{name}-*"):
            shutil.rmtree(old)
        (pathlib.Path(work) / "out").rename(directory)
    print(f"guest {name}: built in {time.monotonic() - begun:.0f} s", flush=True)
    return directory


def _as_root(command):
    """Runs a program as root, or as root of a user namespace with the user's subordinate ids: file owners must come out right."""
    if os.geteuid() != 0:
        command = ["unshare", "--user", "--map-auto", "--map-root-user", "--mount", *command]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise VMError(f"{' '.join(command)}:\n{done.stdout[-3000:]}")


def base_tar(packages):
    """Debian with these packages as a tar file, cached."""
    lines = recipes.sources()
    path = recipes.cache() / f"base-{recipes.fingerprint(packages, lines)}.tar"
    if path.exists():
        return path
    unfinished = recipes.cache() / f".{path.name}.{os.getpid()}"
    excluded = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info")]
    command = [
        "mmdebstrap", "--quiet", "--variant=minbase", "--format=tar", f"--include={','.join(packages)}",
        '--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Languages "none"', "--dpkgopt=force-unsafe-io", *excluded,
        # Nothing is upgraded in a guest: what apt and dpkg remember is a third of the files.
        '--customize-hook=rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/*', recipes.SUITE, str(unfinished), *lines,
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise VMError(f"mmdebstrap: {done.stderr.strip()[-2000:]}")
        unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def kernel_package(suite):
    """The kernel package of a suite, cached."""
    kept = list((recipes.cache() / suite).glob("linux-image-[0-9]*.deb"))
    if kept:
        return kept[0]
    apt = kernel.Apt(recipes.cache() / "apt")
    apt.run("apt-get", "-q", "update")
    package = kernel.download(apt, suite)
    (recipes.cache() / suite).mkdir(exist_ok=True)
    return package.rename(recipes.cache() / suite / package.name)


def newc(entries):
    """A cpio archive ("newc", Documentation/driver-api/early-userspace/buffer-format.rst) of (name, mode, data) entries."""
    archive = bytearray()
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], start=1):
        fields = [number, mode, 0, 0, 2 if stat.S_ISDIR(mode) else 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        archive += b"070701" + "".join(f"{field:08x}" for field in fields).encode() + name.encode() + b"\0"
        archive += b"\0" * (-len(archive) % 4) + data
        archive += b"\0" * (-len(archive) % 4)
    return bytes(archive)
