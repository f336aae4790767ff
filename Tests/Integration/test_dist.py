"""The archives of `make dist` on a system that has nothing but Debian's base."""

import pathlib
import shutil
import subprocess

from harness import images
from harness.machine import PROJECT
from harness.registry import ROOT, Failure, test


def chroot(root, *command, errors=False):
    """Runs a command in another root, in namespaces of its own; what it printed, on standard error too with `errors`."""
    done = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--mount-proc=" + str(root / "proc"), "chroot", root, *command],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=600,
                          env={"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "HOME": "/root"})
    if done.returncode != 0:
        raise Failure(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-800:]}{done.stderr[-800:]}")
    return done.stdout + (done.stderr if errors else "")


@test(modes=(ROOT,), long=True)
def archives_run_without_a_toolchain(t):
    subprocess.run(["make", "-C", PROJECT, "dist"], check=True, stdout=subprocess.DEVNULL)
    version = (PROJECT / "VERSION").read_text().strip()
    name = next((PROJECT / "dist").glob(f"coffer-{version}-linux-*.deb")).stem
    for kind in ("deb", "tar.gz"):
        root = t.directory() / "root"
        root.mkdir()
        subprocess.run(["tar", "-C", root, "-xf", images.debian(), "--exclude=./dev/*"], check=True)
        subprocess.run(["mknod", "-m", "666", root / "dev/null", "c", "1", "3"], check=True)
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        shutil.copy(PROJECT / "dist" / f"{name}.{kind}", root / f"tmp/coffer.{kind}")
        if kind == "deb":
            chroot(root, "apt-get", "-q", "update")
            chroot(root, "apt-get", "-q", "-y", "install", "--no-install-recommends", "/tmp/coffer.deb")
        else:
            chroot(root, "sh", "-c", f"cd /tmp && tar -xzf coffer.tar.gz && cp -a {name}/bin {name}/lib {name}/libexec {name}/share /usr/local/")
        t.contains(chroot(root, "coffer", "--version"), version)
        t.contains(chroot(root, "coffer-runtime", "--version"), version)
        for path in ("share/coffer/apparmor", "share/bash-completion/completions/coffer"):
            place = root / ("usr" if kind == "deb" else "usr/local") / path
            t.true(place.exists(), f"{kind}: no {path}")
        t.contains(chroot(root, "coffer", "ps", "-a"), "CONTAINER ID")
        # Nobody listens there: an answer from the registry client itself, with its libraries.
        pull = chroot(root, "sh", "-c", "coffer pull 127.0.0.1:1/none; true", errors=True)
        t.contains(pull, "cannot reach 127.0.0.1:1")


@test(modes=(ROOT,), long=True)
def install_and_uninstall(t):
    root = t.directory() / "root"
    subprocess.run(["make", "-C", PROJECT, "install", f"DESTDIR={root}", "PREFIX=/opt/coffer"], check=True, stdout=subprocess.DEVNULL)
    done = subprocess.run([root / "opt/coffer/bin/coffer", "--version"], capture_output=True, text=True, check=True)
    t.contains(done.stdout, (PROJECT / "VERSION").read_text().strip())
    for program in ("coffer-registry", "coffer-probe"):
        t.true((root / "opt/coffer/libexec/coffer" / program).exists(), f"no {program}")
    pull = subprocess.run([root / "opt/coffer/bin/coffer", "--root", t.directory() / "state", "pull", "127.0.0.1:1/none"], capture_output=True, text=True)
    t.contains(pull.stderr, "cannot reach 127.0.0.1:1")
    subprocess.run(["make", "-C", PROJECT, "uninstall", f"DESTDIR={root}", "PREFIX=/opt/coffer"], check=True, stdout=subprocess.DEVNULL)
    t.equal([str(path) for path in pathlib.Path(root).rglob("*") if path.is_file()], [], "files left")
