"""The outbound network: out, and nowhere near the host."""

import socket
import threading

from harness.machine import free_port
from harness.registry import test

NETWORK = ("pasta", "tun")


class Canary:
    """A listener of the host that nobody in a container may reach. Counts who did."""

    def __init__(self, address):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.address, self.hits = address, 0
        self.listener = socket.socket(family)
        self.listener.bind((address, 0))
        self.listener.listen()
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.hits += 1
            connection.close()

    def close(self):
        self.listener.close()


def host_addresses():
    """The host's own addresses: loopback, and the one that its default route leaves from."""
    addresses = ["127.0.0.1"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            addresses.append(probe.getsockname()[0])
        except OSError:
            pass
    return addresses


@test(needs=NETWORK)
def the_host_is_closed(t):
    canaries = [Canary(address) for address in host_addresses()]
    for canary in canaries:
        t.cleanups.append(canary.close)
    attempts = []
    for canary in canaries:
        for address in {canary.address, "127.0.0.1", "$gateway"}:
            attempts.append(f"try {address} {canary.port}")
    script = ("gateway=$(ip -4 route show default | sed 's/.*via \\([^ ]*\\).*/\\1/'); "
              "try() { if timeout 2 bash -c \"exec 3<>/dev/tcp/$1/$2\" 2>/dev/null; then echo reached $1 $2; fi; }; "
              "try 169.254.169.254 80; " + "; ".join(attempts))
    output = t.run("--entrypoint", "bash", t.service("redis"), "-c", script)
    t.equal(output, "", "addresses that were reached")
    t.equal([canary.hits for canary in canaries], [0] * len(canaries), "connections that canaries saw")


@test(needs=NETWORK)
def names_resolve(t):
    mirror = "sed -n 's,^deb [^/]*//\\([^/ ]*\\).*,\\1,p;s,^URIs: [^/]*//\\([^/ ]*\\).*,\\1,p' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -1"
    output = t.run(t.debian(), "sh", "-c", f"getent hosts $({mirror}) || {{ cat /etc/resolv.conf; exit 1; }}")
    t.true(output, "the mirror's name has an address")


@test()
def no_network_is_loopback_alone(t):
    t.equal(t.run("--network", "none", t.debian(), "sh", "-c", "ls /sys/class/net"), "lo")


@test(needs=NETWORK)
def published_ports_bind_loopback(t):
    port = free_port()
    t.start("-p", f"{port}:80", t.service("nginx"))
    t.eventually(lambda: reachable("127.0.0.1", port), "the published port answers")
    for address in host_addresses()[1:]:
        t.true(not reachable(address, port), f"the port is open on {address}")


@test(needs=NETWORK)
def a_port_in_use_is_named(t):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = t.coffer("run", "--rm", "-p", f"{port}:80", t.debian(), "true", code=125)
    t.contains(result.stderr, str(port))
    t.one_sentence(result)


@test(needs=NETWORK)
def containers_do_not_reach_each_other(t):
    first = t.start(t.service("redis"))
    address = t.coffer("exec", first, "sh", "-c", "ip -4 -o addr show scope global | sed 's/.*inet \\([0-9.]*\\).*/\\1/'").stdout.split()[0]
    script = f"timeout 2 bash -c 'exec 3<>/dev/tcp/{address}/6379' && echo reached"
    output = t.coffer("run", "--rm", "--entrypoint", "bash", t.service("nginx"), "-c", script, code=None).stdout
    t.true("reached" not in output, f"{address} was reached from another container")


def reachable(address, port):
    try:
        with socket.create_connection((address, port), timeout=2):
            return True
    except OSError:
        return False


@test()
def hosts_and_resolver_files(t):
    output = t.run("--network", "none", "--hostname", "box", "--add-host", "db:10.1.2.3", "--dns", "192.0.2.53", t.debian(), "cat", "/etc/hosts", "/etc/resolv.conf")
    for part in ("10.1.2.3", "db", "box", "nameserver 192.0.2.53"):
        t.contains(output, part)
