"""Starts a guest under software emulation and runs one command in it."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from bed import recipes
from bed.failure import VMError

QEMU = "qemu-system-x86_64"
# 7.2's emulator spoils the flags after cmpxchg16b, which Swift's runtime and newer kernels use.
OLDEST_QEMU = 9


def qemu_version():
    """The major version of the machine's qemu, or None."""
    if shutil.which(QEMU) is None:
        return None
    words = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True).stdout.split()
    return int(words[3].split(".")[0])


def _command_line(guest, files, job, shares):
    kernel = (
        "console=ttyS0 quiet loglevel=3 rw systemd.show_status=0 mitigations=off nokaslr no_timer_check tsc=reliable random.trust_cpu=on "
        f"rcupdate.rcu_expedited=1 net.ifnames=0 audit=0 panic=-1 cryptomgr.notests {guest.boot}")
    command = [
        QEMU, "-M", "q35,usb=off,sata=off,smbus=off,vmport=off,i8042=off,hpet=off", "-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "max",
        "-smp", "2", "-m", str(guest.memory), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none",
        "-kernel", str(files / "vmlinux"), "-initrd", str(files / "initramfs"), "-append", kernel,
        # What the guest writes is thrown away with it.
        "-drive", f"if=none,id=disk,file={files / 'root.img'},format=raw,snapshot=on,cache=unsafe", "-device", "virtio-blk-pci,drive=disk",
        "-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
        "-chardev", f"file,id=console,path={job / 'console'}", "-serial", "chardev:console",
    ]
    for port in ("output", "status"):
        command += ["-chardev", f"file,id={port},path={job / port}", "-device", f"virtserialport,chardev={port},name={port}"]
    for name, path in shares.items():
        command += ["-fsdev", f"local,id={name},path={path},security_model=none,multidevs=remap,readonly=on"]
        command += ["-device", f"virtio-9p-pci,fsdev={name},mount_tag={name}"]
    return command


def run(name, files, script, images, timeout, show=None):
    """Runs a shell script as root in a guest. The project is /project there, `images` is /images; both cannot be written.

    `show` is called with each piece of output as it comes. Returns the script's exit code and its output.
    """
    guest = recipes.GUESTS[name]
    with tempfile.TemporaryDirectory(prefix="coffer-vm-") as directory:
        job = pathlib.Path(directory)
        (job / "job").mkdir()
        (job / "job/command").write_text("#!/bin/bash\n" + script)
        (job / "job/command").chmod(0o755)
        (job / "output").touch()
        command = _command_line(guest, files, job, {"project": recipes.PROJECT, "images": images, "job": job / "job"})
        with open(job / "qemu", "wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=job)
        try:
            output = _follow(process, job / "output", time.monotonic() + timeout, show)
        finally:
            process.kill()
            process.wait()
        status = (job / "status").read_text().strip() if (job / "status").exists() else ""
        if not status.isdigit():
            console = (job / "console").read_text(errors="replace")[-2000:] if (job / "console").exists() else ""
            raise VMError(f"guest {name}: no answer within {timeout} s\n{(job / 'qemu').read_text()}{console}")
        return int(status), output


def _follow(process, path, end, show):
    text = ""
    with open(path, errors="replace") as output:
        while True:
            ended = process.poll() is not None
            piece = output.read()
            text += piece
            if piece and show:
                show(piece)
            if ended or time.monotonic() > end:
                return text
            time.sleep(0.05)


def echo(piece):
    sys.stdout.write(piece)
    sys.stdout.flush()


def can_emulate():
    """Why this machine cannot run a guest, or None."""
    if os.uname().machine != "x86_64":
        return f"the guests are x86-64, this machine is {os.uname().machine}"
    if recipes.mirrors() is None:
        return "the guests are made from a Debian mirror, and apt has none here"
    version = qemu_version()
    if version is None:
        return f"there is no {QEMU}"
    if version < OLDEST_QEMU:
        return f"qemu {version} is too old: {OLDEST_QEMU} is the oldest that emulates cmpxchg16b correctly"
    for program in ("mmdebstrap", "mke2fs", "dpkg-deb", "apt-get"):
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
            return f"there is no {program}"
    return None
