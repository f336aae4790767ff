"""Network devices of the host that move into a container (linux.netDevices). The host's network is here one that the test has made."""

import json
import os
import subprocess

from harness.bundles import Bundle
from harness.registry import ROOT, ROOTLESS, Failure, Unavailable, test

MAPS = [{"containerID": 0, "hostID": 2_300_000, "size": 65536}]


class Network:
    """A network namespace that plays the host's, and a bundle that is run in it."""

    def __init__(self, t):
        self.t = t
        self.bundle = Bundle(t)
        self.holder = t.background("unshare", "--net", "sh", "-c", "echo ready; exec sleep 600", stdout=subprocess.PIPE)
        self.holder.stdout.readline()
        self.path = f"/proc/{self.holder.pid}/ns/net"
        self.ip("link", "set", "lo", "up")
        self.bundle.program("busybox", "ip", "address")

    def command(self, *words, **options):
        return self.t.command("nsenter", f"--net={self.path}", *words, **options)

    def ip(self, *words, **options):
        return self.command("ip", *words, **options).stdout

    def veth(self, name="v0", *addresses):
        """Up, with these addresses; its peer is NAMEp."""
        self.ip("link", "add", name, "mtu", "1400", "address", "02:00:00:00:00:07", "type", "veth", "peer", "name", name + "p")
        for device in (name + "p", name):
            self.ip("link", "set", device, "up")
        for address in addresses:
            self.ip("address", "add", *address.split(), "dev", name)

    def devices(self, **names):
        self.bundle.config["linux"]["netDevices"] = {device: {"name": name} if name else {} for device, name in names.items()}
        return self

    def runtime(self, *words, **options):
        self.bundle.write()
        return self.command(self.t.world.runtime, "--root", self.bundle.state, *words, cwd=self.bundle.path, **options)

    def run(self):
        return self.runtime("run", "one").stdout

    def refusal(self):
        """Of a `run` that must not start; nothing stays of it."""
        result = self.runtime("run", "one", code=1)
        self.t.equal(result.stdout, "", "what the program says that must not run")
        self.t.one_sentence(result)
        self.t.true(not (self.bundle.state / "one").exists(), "state of a container that was never there")
        return result.stderr.strip().removeprefix("coffer-runtime run failed: ").removeprefix("coffer-runtime: ")

    def described(self, *names):
        """All that must be as it was after a failure; the kernel numbers a device anew where it must."""
        devices = json.loads(self.ip("-json", "-details", "address"))
        return [{member: device.get(member) for member in ("ifname", "address", "mtu", "master", "addr_info")} | {"up": "UP" in device["flags"]}
                for device in devices if device["ifname"] in names]


def _block(text, name):
    """What `ip address` says about one device."""
    lines = text.splitlines()
    begin = next((number for number, line in enumerate(lines) if f": {name}@" in line or f": {name}:" in line), None)
    if begin is None:
        raise Failure(f"no device {name} in: {text}")
    end = next((number for number in range(begin + 1, len(lines)) if not lines[number].startswith(" ")), len(lines))
    return "\n".join(lines[begin:end])


@test([ROOT])
def a_network_device_moves_with_its_addresses(t):
    network = Network(t).devices(v0="")
    network.veth("v0", "10.9.0.1/24 brd +", "10.9.0.2/24", "fd00:9::1/64 nodad", "10.8.0.1/24 valid_lft 900 preferred_lft 900", "127.0.0.33/32 scope host")
    inside = _block(network.run(), "v0")
    for part in ("mtu 1400", ",UP", "ether 02:00:00:00:00:07", "inet 10.9.0.1/24 brd 10.9.0.255 scope global v0", "inet 10.9.0.2/24", "inet6 fd00:9::1/64"):
        t.contains(inside, part)
    for part in ("10.8.0.1", "127.0.0.33"):
        t.true(part not in inside, f"an address that runs out or that is the host's own came along: {inside}")
    t.true(json.loads(t.runtime("features").stdout)["linux"]["netDevices"]["enabled"], "features does not know network devices")


@test([ROOT])
def a_network_device_gets_the_name_that_is_asked_for(t):
    network = Network(t)
    network.veth("v0", "10.9.0.1/24")
    network.ip("link", "add", "link", "v0p", "name", "m0", "type", "macvlan", "mode", "bridge")
    network.ip("address", "add", "10.7.0.1/24", "dev", "m0")
    inside = network.devices(v0="net0", m0="net%d").run()
    t.contains(_block(inside, "net0"), "inet 10.9.0.1/24 scope global net0")
    t.contains(_block(inside, "net1"), "inet 10.7.0.1/24 scope global net1")


@test([ROOT])
def a_network_device_is_there_for_parameters_and_hooks(t):
    """A parameter of the device, a user namespace of its own, and what the runtime's hooks see."""
    network = Network(t).devices(v0="net0")
    network.veth()
    bundle = network.bundle
    bundle.config["linux"]["namespaces"].append({"type": "user"})
    bundle.config["linux"] |= {"uidMappings": MAPS, "gidMappings": MAPS, "sysctl": {"net.ipv4.conf.net0.forwarding": "1"}}
    os.chown(bundle.path / "rootfs", 2_300_000, 2_300_000)
    seen = bundle.path / "seen"
    seen.touch()
    seen.chmod(0o666)
    script = f'pid=$(sed -E "s/.*\\"pid\\":([0-9]+).*/\\1/"); nsenter --net=/proc/$pid/ns/net ip -o link >> {seen}'
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": [f"PATH={os.environ['PATH']}"]}],
                              "createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", f"ip -o link >> {seen}"], "env": [f"PATH={os.environ['PATH']}"]}]}
    bundle.program("cat", "/proc/sys/net/ipv4/conf/net0/forwarding")
    t.equal(network.run(), "1\n", "the device's parameter")
    t.equal(seen.read_text().count(": net0@"), 2, "hooks that see the device")


@test([ROOT])
def a_network_device_stays_in_a_namespace_that_is_joined(t):
    network = Network(t).devices(v0="net%d")
    network.veth("v0", "10.9.0.1/24")
    other = t.background("unshare", "--net", "sh", "-c", "echo ready; exec sleep 600", stdout=subprocess.PIPE)
    other.stdout.readline()
    for space in network.bundle.config["linux"]["namespaces"]:
        if space["type"] == "network":
            space["path"] = f"/proc/{other.pid}/ns/net"
    t.contains(_block(network.run(), "net0"), "inet 10.9.0.1/24")
    t.contains(t.command("nsenter", f"--net=/proc/{other.pid}/ns/net", "ip", "address", "show", "net0").stdout, "inet 10.9.0.1/24")
    # What is there is in the way of the next one by its name; a template goes round it.
    network.veth("v1")
    t.equal(network.devices(v1="net0").refusal(),
            "linux.netDevices: v1 cannot become net0: the container's network namespace has a net0 already")
    _block(network.devices(v1="net%d").run(), "net1")


@test([ROOT])
def network_devices_that_cannot_move_are_refused(t):
    network = Network(t)
    network.veth()
    before = network.described("v0")
    t.contains(network.devices(nosuch="").refusal(), "linux.netDevices names nosuch, which is no network device of this host")
    t.contains(network.devices(lo="").refusal(), "a loopback device cannot leave its network namespace")
    t.equal(network.devices(v0="lo").refusal(), "linux.netDevices: v0 cannot become lo: the container's network namespace has a lo already")
    t.contains(network.devices(v0="net0", v0p="net0").refusal(), "v0 and v0p would both be net0")
    network.ip("link", "add", "name", "br0", "type", "bridge")
    t.contains(network.devices(br0="").refusal(), "br0 belongs to its network namespace")
    # The second is not there: the first must not have left.
    network.devices(v0="net0", v1="net1").refusal()
    spaces = network.bundle.config["linux"]["namespaces"]
    own = next(space for space in spaces if space["type"] == "network")
    own["path"] = network.path
    t.contains(network.devices(v0="").refusal(), "the one that linux.namespaces names is the runtime's")
    spaces.remove(own)
    t.contains(network.refusal(), "needs a network namespace that is not the host's")
    t.equal(network.described("v0"), before, "the device after all refusals")


def _fails_late(network, change):
    """What a start that fails after the move leaves of the devices."""
    network.bundle.config.pop("hooks", None)
    network.bundle.program("true")
    change(network.bundle)
    before = network.described("v0", "m0")
    words = network.refusal() if network.bundle.config["process"]["args"] == ["true"] else network.runtime("run", "one", code=127).stderr
    network.t.equal(network.described("v0", "m0"), before, f"the devices after: {words}")


@test([ROOT])
def a_start_that_fails_leaves_its_network_devices_to_the_host(t):
    """The end of a namespace would destroy them. A bridge's port is its port again."""
    network = Network(t).devices(v0="net0", m0="net%d")
    network.veth("v0", "10.9.0.1/24 brd +", "fd00:9::1/64 nodad")
    network.ip("link", "set", "dev", "v0", "addrgenmode", "none")
    network.ip("link", "add", "link", "v0p", "name", "m0", "type", "macvlan", "mode", "bridge")
    network.ip("link", "add", "name", "br0", "type", "bridge")
    network.ip("link", "set", "v0", "master", "br0")

    def hook(point, path):
        def change(bundle):
            bundle.config["hooks"] = {point: [{"path": path}]}
        return change

    for point in ("createRuntime", "createContainer", "poststart"):
        _fails_late(network, hook(point, "/bin/false"))
    _fails_late(network, lambda bundle: bundle.program("/nosuch"))
    _fails_late(network, hook("startContainer", "/bin/false"))
    # What comes after the launch: nobody takes the pidfd.
    before = network.described("v0", "m0")
    network.bundle.config.pop("hooks")
    network.runtime("create", "--pidfd-socket", "/nonexistent/socket", "one", code=1)
    t.equal(network.described("v0", "m0"), before, "the devices after create has failed")
    # The first one is inside already when the second finds its name taken.
    network.devices(v0="net0", m0="lo").refusal()
    t.equal(network.described("v0", "m0"), before, "the devices after the second could not move")
    # A namespace that belongs to the container's root, who is nobody outside.
    network.bundle.config["linux"]["namespaces"].append({"type": "user"})
    network.bundle.config["linux"] |= {"uidMappings": MAPS, "gidMappings": MAPS}
    os.chown(network.bundle.path / "rootfs", 2_300_000, 2_300_000)
    _fails_late(network.devices(v0="net0", m0="net%d"), hook("createContainer", "/bin/false"))


@test([ROOT])
def a_network_device_goes_with_its_container(t):
    """create, start, delete: it is not the runtime's to take it back from a container that was there (config-linux.md)."""
    network = Network(t).devices(v0="")
    network.veth()
    network.bundle.program("sleep", "600")
    t.cleanups.append(lambda: network.runtime("delete", "--force", "one"))
    with open(network.bundle.path / "output", "wb") as output:
        process = t.world.popen(["nsenter", f"--net={network.path}", t.world.runtime, "--root", network.bundle.state, "create", "one"],
                                cwd=network.bundle.path, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    t.equal(process.wait(60), 0, "create")
    t.equal(network.described("v0"), [], "what the host has of it")
    outcomes = json.loads((network.bundle.state / "one/state.json").read_text())["state"]["outcomes"]
    t.true({"step": "networkDevice", "detail": "network device v0 of the host", "result": {"applied": {}}} in outcomes, f"what is reported: {outcomes}")
    network.runtime("start", "one")
    t.contains(network.runtime("exec", "one", "busybox", "ip", "link").stdout, ": v0@")


@test([ROOTLESS])
def an_ordinary_user_moves_no_network_device_of_the_host(t):
    names = [name for name in os.listdir("/sys/class/net") if name != "lo" and os.path.isdir(f"/sys/class/net/{name}")]
    if not names:
        raise Unavailable("this machine has no network device but loopback")
    bundle = Bundle(t)
    bundle.config["linux"]["netDevices"] = {names[0]: {}}
    result = bundle.write().runtime("run", "one", code=1)
    t.one_sentence(result)
    t.contains(result.stderr, f"moving {names[0]} needs CAP_NET_ADMIN over the host's network")


@test([ROOTLESS])
def an_ordinary_user_moves_network_devices_of_a_network_that_is_the_users(t):
    bundle = Bundle(t)
    bundle.config["linux"]["netDevices"] = {"v0": {"name": "net0"}}
    for kind in ("uidMappings", "gidMappings"):
        bundle.config["linux"][kind] = [{"containerID": 0, "hostID": 0, "size": 1}]
    bundle.program("busybox", "ip", "link")
    script = f"ip link add v0 type veth peer name p0 && exec {t.world.runtime} --root {bundle.state} run one"
    result = t.command("unshare", "--map-root-user", "--user", "--net", "--mount", "sh", "-c", script, cwd=bundle.path)
    t.contains(result.stdout, ": net0@")
