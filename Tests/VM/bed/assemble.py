"""assemble.py GUEST BASE-TAR KERNEL-PACKAGE WORK: puts a guest's files together in WORK/out. Run as root, or as root of a user namespace."""

import lzma
import pathlib
import shutil
import stat
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bed import image, kernel, recipes  # noqa: E402


def run(*command, **options):
    subprocess.run([str(word) for word in command], check=True, stdin=subprocess.DEVNULL, **options)


def chroot(root, *command, **options):
    run("chroot", root, *command, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C"}, **options)


def install_modules(root, unpacked, version):
    target = root / "usr/lib/modules" / version
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(kernel.modules(unpacked, version), target)
    chroot(root, "depmod", version)


def first_modules(root, version):
    """(name, bytes) of what the initramfs loads, in order, uncompressed."""
    loaded = {}
    for wanted in recipes.FIRST_MODULES:
        shown = subprocess.run(["chroot", str(root), "/sbin/modprobe", "-S", version, "--show-depends", wanted], capture_output=True, text=True, check=True)
        for words in map(str.split, shown.stdout.splitlines()):
            if words[0] != "insmod":
                continue
            path = root / words[1].lstrip("/")
            data = path.read_bytes()
            loaded.setdefault(path.name.removesuffix(".xz"), lzma.decompress(data) if path.suffix == ".xz" else data)
    return loaded.items()


def initramfs(root, version):
    directory, program, script = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755, (recipes.VM / "guest/init").read_bytes()
    modules = first_modules(root, version)
    entries = [(name, directory, b"") for name in ("bin", "dev", "proc", "new", "modules")]
    entries += [("bin/busybox", program, (root / "bin/busybox").read_bytes()), ("bin/sh", stat.S_IFLNK | 0o777, b"busybox"), ("init", program, script)]
    entries += [(f"modules/{name}", stat.S_IFREG | 0o644, data) for name, data in modules]
    entries += [("modules/order", stat.S_IFREG | 0o644, "".join(f"{name}\n" for name, _ in modules).encode())]
    return image.newc(entries)


def main():
    name, base, package, work = sys.argv[1], *map(pathlib.Path, sys.argv[2:])
    root, out, unpacked = work / "root", work / "out", work / "kernel"
    for path in (root, out):
        path.mkdir()
    root.chmod(0o755)
    run("tar", "-x", "-p", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--exclude=./dev/*", "-f", base, "-C", root)
    version = kernel.unpack(package, unpacked)
    install_modules(root, unpacked, version)
    (out / "vmlinux").write_bytes(kernel.uncompressed(unpacked / "boot" / f"vmlinuz-{version}"))
    (out / "initramfs").write_bytes(initramfs(root, version))
    run("bash", recipes.VM / "guest/configure", root, name)
    disk = out / "root.img"
    with open(disk, "wb") as file:
        file.truncate(3 << 30)
    # No journal: the disk is thrown away with the machine.
    run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal,^resize_inode", "-E", "lazy_itable_init=1,root_owner=0:0", "-m", "0", "-d", root, disk)
    shutil.rmtree(root)


main()
