"""Other engines with coffer-runtime as their runtime: each with state of its own, in the test's directory, and gone with it."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from harness import images
from harness.bundles import Bundle
from harness.registry import Unavailable

IMAGE = "localhost/busybox:test"


def _need(*programs):
    for program in programs:
        if shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin") is None:
            raise Unavailable(f"this machine has no {program}")


def _image(t):
    """A tar of a busybox root."""
    bundle = Bundle(t)
    archive = bundle.path / "root.tar"
    subprocess.run(["tar", "-C", bundle.path / "rootfs", "-cf", archive, "."], check=True)
    t.world.own(archive)
    return archive


def _remove_groups(*names):
    """Engines leave the groups above their containers'; what is empty goes."""
    for hierarchy in pathlib.Path("/sys/fs/cgroup").glob("*"):
        for name in names:
            for path, _, _ in os.walk(hierarchy / name, topdown=False):
                try:
                    os.rmdir(path)
                except OSError:
                    continue


class Podman:
    """podman as the world's user, with Coffer's runtime unless another is named."""

    def __init__(self, t, runtime=None):
        _need("podman", "conmon")
        self.t = t
        # Short: podman refuses a run root of more than 50 characters.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="cp-", dir="/tmp"))
        os.chown(self.directory, t.world.uid, t.world.gid)
        t.cleanups.append(lambda: shutil.rmtree(self.directory, ignore_errors=True))
        storage = ["--root", self.directory / "storage", "--runroot", self.directory / "run", "--tmpdir", self.directory / "tmp"]
        self.words = ["podman", *storage, "--storage-driver", "vfs", "--events-backend", "file", "--cgroup-manager", "cgroupfs",
                      "--runtime", runtime or t.world.runtime]
        # The image's files belong to subordinate IDs: only podman's own namespace may remove them.
        t.cleanups.append(self._end)
        self("import", _image(t), IMAGE)

    def __call__(self, *words, **options):
        # The machine's own registries and seccomp profile, nobody's own configuration.
        return self.t.command(*self.words, *words, **options)

    def environment(self):
        """What makes a plain `podman` see these containers."""
        files = {
            "storage.conf": f'[storage]\ndriver = "vfs"\ngraphroot = "{self.directory}/storage"\nrunroot = "{self.directory}/run"\n'
                            f'rootless_storage_path = "{self.directory}/storage"\n',
            "containers.conf": f'[engine]\ntmp_dir = "{self.directory}/tmp"\nevents_logger = "file"\ncgroup_manager = "cgroupfs"\n',
        }
        for name, text in files.items():
            (self.directory / name).write_text(text)
            self.t.world.own(self.directory / name)
        return {"CONTAINERS_STORAGE_CONF": str(self.directory / "storage.conf"), "CONTAINERS_CONF": str(self.directory / "containers.conf")}

    def _end(self):
        self("rm", "--force", "--all", "--time", "0")
        if not self.t.world.is_root:
            self.t.command("podman", "unshare", "rm", "-rf", self.directory / "storage")
        _remove_groups("libpod_parent")


class Docker:
    """A dockerd of the test's own, in a network namespace of its own, and the docker command; with Coffer's runtime unless another is named."""

    def __init__(self, t, runtime="coffer", bridge=False):
        _need("dockerd", "containerd", "docker", "unshare")
        self.t = t
        self.directory = t.directory()
        self.socket = f"unix://{self.directory}/socket"
        log = open(self.directory / "log", "wb")  # pylint: disable=consider-using-with
        daemon = ["dockerd", "--data-root", self.directory / "data", "--exec-root", self.directory / "exec", "--pidfile", self.directory / "pid",
                  "-H", self.socket, *([] if bridge else ["--bridge", "none"]), "--iptables=false", "--ip6tables=false", "--storage-driver", "vfs",
                  "--exec-opt", "native.cgroupdriver=cgroupfs", "--add-runtime", f"coffer={t.world.runtime}", "--default-runtime", runtime]
        self.process = t.world.popen(
            ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", 'ip link set lo up; exec "$@"', "sh", *daemon],
            stdout=log, stderr=log, environment={"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"})
        t.cleanups.append(self._end)
        t.eventually(lambda: self("version", code=None).code == 0, "dockerd answers", seconds=30)
        self("import", _image(t), IMAGE)

    def __call__(self, *words, **options):
        return self.t.command("docker", "-H", self.socket, *words, **options)

    def _end(self):
        names = self("ps", "-a", "-q", code=None).stdout.split()
        if names:
            self("rm", "-f", *names, code=None)
        self.process.terminate()
        self.process.wait(30)
        _remove_groups("docker")


class Containerd:
    """A containerd of the test's own, in network and mount namespaces of its own, with `/run` of its own; coffer-runtime is the only runtime of its CRI."""

    PAUSE = "localhost/pause:test"

    def __init__(self, t, plugins="/usr/lib/cni"):
        _need("containerd", "containerd-shim-runc-v2", "ctr", "unshare")
        self.t = t
        self.directory = t.directory()
        self.socket = self.directory / "socket"
        (self.directory / "cni").mkdir()
        (self.directory / "cni/10-test.conflist").write_text(json.dumps({"cniVersion": "0.4.0", "name": "test", "plugins": [{
            "type": "ptp", "ipam": {"type": "host-local", "subnet": "10.231.0.0/16", "dataDir": str(self.directory / "addresses")}}]}))
        (self.directory / "config.toml").write_text(self._configuration(plugins))
        log = open(self.directory / "log", "wb")  # pylint: disable=consider-using-with
        self.process = t.world.popen(
            ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", 'ip link set lo up; mount -t tmpfs none /run; exec "$@"', "sh",
             "containerd", "--config", self.directory / "config.toml"],
            stdout=log, stderr=log, environment={"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"})
        t.cleanups.append(self._end)
        t.eventually(lambda: self("version", code=None).code == 0, "containerd answers", seconds=30)

    def _configuration(self, plugins):
        cri = 'plugins."io.containerd.grpc.v1.cri"'
        return f"""
version = 2
root = "{self.directory}/root"
state = "{self.directory}/state"
[grpc]
  address = "{self.socket}"
[{cri}]
  sandbox_image = "{self.PAUSE}"
  disable_apparmor = true
  [{cri}.containerd]
    snapshotter = "native"
    default_runtime_name = "coffer"
    [{cri}.containerd.runtimes.coffer]
      runtime_type = "io.containerd.runc.v2"
      [{cri}.containerd.runtimes.coffer.options]
        BinaryName = "{self.t.world.runtime}"
  [{cri}.cni]
    bin_dir = "{plugins}"
    conf_dir = "{self.directory}/cni"
"""

    def __call__(self, *words, namespace="default", **options):
        # It makes the pipes of a container's streams below /run, which must be the daemon's.
        return self.t.command(
            "nsenter", "--mount", f"--target={self.process.pid}", "ctr", "--address", self.socket, "--namespace", namespace, *words, **options)

    def load(self, *namespaces):
        """The test's image, and one that only sleeps, for sandboxes."""
        layout = images.Layout(self.directory / "layout")
        layers = [layout.layer(_image(self.t).read_bytes())]
        layout.image(IMAGE, layers, {"Env": ["PATH=/bin"]})
        layout.image(self.PAUSE, layers, {"Entrypoint": ["/bin/sleep", "100000"]})
        archive = self.directory / "images.tar"
        subprocess.run(["tar", "-C", self.directory / "layout", "-cf", archive, "."], check=True)
        for namespace in namespaces:
            self("images", "import", "--snapshotter", "native", archive, namespace=namespace)

    def _end(self):
        for namespace in ("default", "k8s.io"):
            for kind, words in (("tasks", ("kill", "-s", "KILL", "-a")), ("tasks", ("rm", "-f")), ("containers", ("rm",))):
                for name in self(kind, "ls", "-q", namespace=namespace, code=None).stdout.split():
                    self(kind, *words, name, namespace=namespace, code=None)
        self.process.terminate()
        self.process.wait(30)
        _remove_groups("k8s.io", "default", "coffer-test")
