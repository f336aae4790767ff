"""Real programs, unchanged, at the default level: they chown their data, drop to a user of their own, and are reached on a published port."""

import socket
import urllib.request

from harness.machine import free_port
from harness.registry import test
from test_limits import answers

NETWORK = ("pasta", "tun")


@test(needs=NETWORK)
def apt_get_installs_inside(t):
    output = t.coffer("run", "--rm", t.debian(), "sh", "-c",
                      "apt-get -q update && apt-get -q -y install --no-install-recommends hello && hello", timeout=300).stdout
    t.contains(output, "Hello, world!")


@test(needs=NETWORK)
def nginx_serves_and_reloads(t):
    port = free_port()
    result = t.coffer("run", "-d", "--name", "web", "-p", f"{port}:80", t.service("nginx"))
    t.contains(result.stderr, "127.0.0.1")
    url = f"http://127.0.0.1:{port}/"
    t.eventually(lambda: answers(url), "nginx answers")
    with urllib.request.urlopen(url) as response:
        t.equal(response.read().decode().strip(), "served by nginx as 0")
    users = set(t.coffer("exec", "web", "ps", "-C", "nginx", "-o", "user=").stdout.split())
    t.equal(users, {"root", "www-data"}, "users that nginx runs as")
    before = t.coffer("exec", "web", "pgrep", "-u", "www-data").stdout
    t.coffer("exec", "web", "nginx", "-s", "reload")
    t.eventually(lambda: t.coffer("exec", "web", "pgrep", "-u", "www-data").stdout != before, "new workers after the reload")
    t.true(answers(url), "nginx answers after the reload")
    t.coffer("stop", "web")
    t.equal(t.inspect("web")["State"]["ExitCode"], 0, "exit code after SIGQUIT")


@test(needs=NETWORK)
def postgres_initialises_and_answers(t):
    port = free_port()
    t.start("--name", "db", "-p", f"{port}:5432", t.service("postgres"))
    query = ("exec", "-u", "postgres", "db", "psql", "-h", "127.0.0.1", "-U", "postgres", "-Atc", "select 6*7")
    t.eventually(lambda: t.coffer(*query, code=None).stdout.strip() == "42", "PostgreSQL answers inside", seconds=60)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(bytes.fromhex("0000000804d2162f"))
        t.true(connection.recv(1) in (b"N", b"S"), "PostgreSQL answers an SSL request on the published port")
    t.coffer("stop", "db")
    t.equal(t.inspect("db")["State"]["ExitCode"], 0, "exit code after SIGINT")


@test(needs=NETWORK)
def redis_drops_and_answers(t):
    port = free_port()
    t.start("--name", "cache", "-p", f"127.0.0.1:{port}:6379", t.service("redis"))

    def ping():
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16) == b"+PONG\r\n"
        except OSError:
            return False
    t.eventually(ping, "redis answers")
    t.equal(t.coffer("exec", "cache", "stat", "-c", "%U", "/proc/1").stdout.strip(), "redis", "user of process 1")
