"""Images in and out: archives, layouts, a real registry on loopback."""

import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import threading
import urllib.request

from harness import images
from harness.machine import free_port
from harness.registry import Failure, test


def small_layers(layout, compression="gzip"):
    """Two layers: programs, then one file more and one taken away. Different in each call: what the store has already is not fetched again."""
    program = images.static_program("exhaust").read_bytes()
    first = layout.layer(images.tar_of({"bin/tool": program, "etc": None, "etc/one": b"1", "tmp": None, "unique": os.urandom(16)}), compression)
    second = layout.layer(images.tar_of({"etc/two": os.urandom(16), "etc/.wh.one": b""}), compression)
    return [first, second]


def listing_of(t, image):
    """Files below /etc of an image, through `cp` from a container that never runs."""
    container = t.coffer("create", image, "/bin/tool").stdout.strip()
    target = t.directory()
    t.coffer("cp", f"{container}:/etc", target / "etc")
    t.coffer("rm", container)
    return sorted(name for name in os.listdir(target / "etc") if name in ("one", "two"))


@test()
def layouts_and_archives_load(t):
    for compression in ("gzip", "zstd", None):
        layout = t.layout()
        name = f"localhost/small-{compression}:1".lower()
        layout.image(name, small_layers(layout, compression), {"Cmd": ["/bin/tool"]})
        t.world.own(layout.directory)
        t.coffer("load", "-i", layout.directory)
        t.equal(listing_of(t, name), ["two"], f"files after {compression} layers")


@test()
def a_layout_in_a_tar_and_of_links(t):
    layout = t.layout()
    layout.image("localhost/small:tar", small_layers(layout), {"Cmd": ["/bin/tool"]})
    blobs = layout.directory / "blobs/sha256"
    archive = t.directory() / "layout.tar"
    subprocess.run(["tar", "-C", layout.directory, "-cf", archive, "."], check=True)
    # A cache inside of the layout, one link relative and the others absolute as seen from the layout.
    cache = layout.directory / "cache"
    shutil.copytree(blobs, cache)
    for number, blob in enumerate(sorted(blobs.iterdir())):
        blob.unlink()
        blob.symlink_to(f"../../cache/{blob.name}" if number == 0 else f"/cache/{blob.name}")
    for path in (layout.directory, archive):
        t.world.own(path)
    t.coffer("load", "-i", layout.directory)
    t.coffer("rmi", "localhost/small:tar")
    t.coffer("load", "-i", archive)
    t.equal(listing_of(t, "localhost/small:tar"), ["two"])


@test()
def saved_images_load_again(t):
    name = t.static_image("exhaust")
    archive = t.directory() / "saved.tar"
    t.coffer("tag", name, "localhost/saved:1")
    digest = t.coffer("image", "inspect", "-f", "{{.Id}}", name).stdout
    t.coffer("save", "-o", archive, "localhost/saved:1")
    t.coffer("rmi", "localhost/saved:1")
    t.coffer("load", "-i", archive)
    t.equal(t.coffer("image", "inspect", "-f", "{{.Id}}", "localhost/saved:1").stdout, digest, "image id")
    t.contains(t.coffer("images").stdout, "localhost/saved")
    t.coffer("rmi", "localhost/saved:1")


@test()
def the_listing_has_every_format(t):
    name = t.static_image("exhaust")
    row = next(row for row in map(json.loads, t.coffer("images", "--format", "json").stdout.splitlines()) if row["Repository"] == "localhost/exhaust")
    t.equal(row["Tag"], "test")
    t.true(t.coffer("images", "-q", name).stdout.strip(), "images -q")


class Registry:
    """Debian's docker-registry on loopback, with an image in it that the test itself uploads."""

    def __init__(self, t, settings="", http="", data=None):
        """`settings` and `http` go into its configuration; `data` is the storage of another one."""
        self.t = t
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        directory = t.directory()
        self.data = data or directory / "data"
        config = directory / "config.yml"
        config.write_text(
            f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {self.data}}}}}\nhttp: {{addr: '{self.host}'{http}}}\n{settings}\n")
        self.process = subprocess.Popen(["docker-registry", "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        t.cleanups.append(lambda: (self.process.terminate(), self.process.wait()))
        t.eventually(self.listens, "the registry answers")

    def listens(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=2).close()
            return True
        except OSError:
            return False

    def request(self, method, path, data=None, content_type="application/octet-stream"):
        url = path if path.startswith("http") else f"http://{self.host}{path}"
        request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": content_type})
        return urllib.request.urlopen(request, timeout=30)

    def upload(self, repository, tag, layout):
        """Uploads the blobs of a layout and tags its first manifest."""
        manifest = layout.manifests[0]
        for blob in (layout.directory / "blobs/sha256").iterdir():
            if blob.name != manifest["digest"][7:]:
                place = self.request("POST", f"/v2/{repository}/blobs/uploads/", b"").headers["Location"]
                self.request("PUT", f"{place}{'&' if '?' in place else '?'}digest=sha256:{blob.name}", blob.read_bytes())
        body = (layout.directory / "blobs/sha256" / manifest["digest"][7:]).read_bytes()
        self.request("PUT", f"/v2/{repository}/manifests/{tag}", body, manifest["mediaType"])


@test(needs=("docker-registry",))
def pull_from_a_registry(t):
    registry = Registry(t)
    layout = t.layout()
    layout.image("x", small_layers(layout), {"Cmd": ["/bin/tool"]})
    registry.upload("team/small", "1", layout)
    name = f"{registry.host}/team/small:1"
    t.coffer("pull", name)
    t.equal(listing_of(t, name), ["two"])
    by_digest = f"{registry.host}/team/small@{layout.manifests[0]['digest']}"
    t.coffer("pull", by_digest)
    again = t.coffer("run", "--rm", "--pull", "always", name, "/bin/tool", code=2)
    t.contains(again.stderr, "usage: exhaust")
    missing = t.coffer("pull", f"{registry.host}/team/small:2", code=1)
    t.contains(missing.stderr, "team/small:2")
    t.one_sentence(missing)


@test(needs=("docker-registry",))
def a_failed_pull_takes_no_layer_from_a_container(t):
    """The image of a container may be gone while it runs; what it is made of must outlive every pull that fails."""
    registry = Registry(t)
    image = t.static_image("exhaust", "swap")
    container = t.coffer("create", "--network", "none", image, "/exhaust", "processes", "0").stdout.strip()
    t.coffer("rmi", "-f", image)
    t.world.images.discard(image)
    layers = sorted(os.listdir(t.world.state / "images/layers"))
    t.true(len(layers) >= 1, "the container's layer is kept")
    t.coffer("pull", f"{registry.host}/team/none:1", code=1)
    t.equal(sorted(os.listdir(t.world.state / "images/layers")), layers, "layers after a failed pull")
    t.coffer("start", "-a", container, code=None)
    t.equal(t.inspect(container)["State"]["ExitCode"], 0, "exit code of the container whose image is gone")


@test(needs=("docker-registry",))
def a_registry_with_passwords(t):
    layout = t.layout()
    layout.image("x", small_layers(layout), {"Cmd": ["/bin/tool"]})
    plain = Registry(t)
    plain.upload("team/small", "1", layout)
    passwords = t.directory() / "htpasswd"
    passwords.write_text("alice:$2y$05$N99t32XjZP3n0w83MglYGu3TYjwCUqy2osy3l5XY4QpWv62agUdqK\n")  # s3cret
    registry = Registry(t, settings=f"auth: {{htpasswd: {{realm: test, path: {passwords}}}}}", data=plain.data)
    name = f"{registry.host}/team/small:1"
    anonymous = t.coffer("pull", name, code=1)
    t.contains(anonymous.stderr, f"pull access denied for {name}, repository does not exist or may require login")
    t.one_sentence(anonymous)
    wrong = t.coffer("pull", "--creds", "alice:guess", name, code=1)
    t.contains(wrong.stderr, "refused the credentials from --creds")
    t.true("guess" not in wrong.stderr, "the password is in the message")
    t.equal(t.coffer("pull", "-q", "--creds", "alice:s3cret", name).stdout.strip(), name)
    t.coffer("rmi", name)
    auth = t.directory() / "auth.json"
    auth.write_text(json.dumps({"auths": {registry.host: {"auth": "YWxpY2U6czNjcmV0"}}}))
    auth.chmod(0o644)
    t.command("env", f"REGISTRY_AUTH_FILE={auth}", t.world.coffer, "pull", name)
    auth.write_text(json.dumps({"auths": {registry.host: {}}, "credsStore": "desktop"}))
    helper = t.command("env", f"REGISTRY_AUTH_FILE={auth}", t.world.coffer, "pull", name, code=1)
    t.contains(helper.stderr, "docker-credential-desktop")


def certificate_authority(directory):
    """A CA and a certificate of it for 127.0.0.1; paths of ca.crt, server.crt, server.key."""
    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=directory, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=Test CA")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=registry")
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-out", "server.crt", "-days", "2",
            "-extfile", "names")
    return directory / "ca.crt", directory / "server.crt", directory / "server.key"


@test(needs=("docker-registry", "openssl"))
def a_registry_with_a_ca_of_its_own(t):
    layout = t.layout()
    layout.image("x", small_layers(layout), {"Cmd": ["/bin/tool"]})
    plain = Registry(t)
    plain.upload("team/small", "1", layout)
    ca, certificate, key = certificate_authority(t.directory())
    registry = Registry(t, http=f", tls: {{certificate: {certificate}, key: {key}}}", data=plain.data)
    name = f"{registry.host}/team/small:1"
    unknown = t.coffer("pull", name, code=1)
    t.contains(unknown.stderr, f"the certificate of {registry.host} is not trusted")
    t.contains(unknown.stderr, "--cert-dir")
    t.one_sentence(unknown)
    trusted = t.directory()
    shutil.copy(ca, trusted / "ca.crt")
    t.coffer("pull", "--cert-dir", trusted, name)
    t.coffer("rmi", name)
    t.coffer("pull", "--tls-verify=false", name)
    t.coffer("rmi", name)
    (t.world.home / ".config/containers/certs.d" / registry.host).mkdir(parents=True)
    t.cleanups.append(lambda: shutil.rmtree(t.world.home / ".config/containers"))
    shutil.copy(ca, t.world.home / ".config/containers/certs.d" / registry.host / "ca.crt")
    t.world.own(t.world.home / ".config")
    t.coffer("pull", name)


class StalledPull:
    """A pull that waits for the rest of a layer that never comes."""

    def __init__(self, t, *flags):
        self.t = t
        layout = t.layout()
        self.layers = small_layers(layout)
        layout.image("x", self.layers)
        layer = f"/blobs/{self.layers[1][0]['digest']}"

        def stalls(handler):
            handler.send_response(200)
            handler.send_header("Content-Length", str(self.layers[1][0]["size"]))
            handler.end_headers()
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(20)
        self.host, seen = lying_registry(t, {**honest_answers(layout), layer: stalls})
        self.process = t.background(t.world.coffer, "pull", *flags, f"{self.host}/team/small:1", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                    start_new_session=True)
        t.eventually(lambda: any(path.endswith(layer) for path, _ in seen), "the layer is asked for")
        self.client = next(pid for pid, words in children(self.process.pid) if words[0] == b"coffer-registry")

    def ends(self, code, text):
        _, errors = self.process.communicate(timeout=20)
        self.t.equal(self.process.returncode, code, "exit code")
        self.t.contains(errors.decode(), text)
        self.leaves_nothing()

    def leaves_nothing(self):
        t = self.t
        t.eventually(lambda: has_ended(self.client), "coffer-registry has ended")
        t.true(self.host not in t.coffer("images").stdout, "the image is listed")
        known = {layer[0]["digest"][7:] for layer in self.layers}
        left = [path.name for path in (t.world.state / "images").rglob("*") if path.name in known or path.name.startswith((".incoming", ".partial"))]
        t.equal(left, [], "blobs that remain")


def has_ended(pid):
    """Whether a process is gone, or nobody has asked yet how it ended: whose parent was killed belongs to the runner."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def children(parent):
    """Process id and words of the command line of each child."""
    for pid in pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        yield int(pid), pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


@test()
def an_interrupted_pull_leaves_nothing(t):
    for number, send in ((signal.SIGINT, os.killpg), (signal.SIGINT, os.kill), (signal.SIGTERM, os.kill)):
        # A terminal signals every program in the foreground, kill(1) the one that it names.
        pull = StalledPull(t)
        send(pull.process.pid, number)
        pull.ends(128 + number, "was interrupted; nothing of it was kept")


@test()
def a_pull_ends_with_either_of_its_programs(t):
    pull = StalledPull(t)
    os.kill(pull.process.pid, signal.SIGKILL)
    pull.leaves_nothing()
    pull = StalledPull(t)
    os.kill(pull.client, signal.SIGKILL)
    _, errors = pull.process.communicate(timeout=20)
    t.equal(pull.process.returncode, 1, "exit code")
    t.contains(errors.decode(), f"the pull of {pull.host}/team/small:1 failed: coffer-registry ended before it was done (exit code 137)")


@test()
def credentials_are_on_no_command_line_but_the_users(t):
    pull = StalledPull(t, "--creds", "alice:s3cret")
    lines = {name: pathlib.Path(f"/proc/{pull.client}/{name}").read_bytes() for name in ("cmdline", "environ")}
    t.equal(lines["cmdline"], b"coffer-registry\0pull\0", "command line")
    t.true(b"s3cret" not in lines["environ"], "the password is in the environment")
    pull.process.send_signal(signal.SIGINT)
    pull.ends(130, "interrupted")


@test()
def the_registry_client_is_for_coffer_alone(t):
    alone = t.command(t.world.programs / "coffer-registry", "pull", code=125)
    t.contains(alone.stderr, "belongs to coffer")
    t.one_sentence(alone)
    programs = t.directory() / "incomplete"
    programs.mkdir()
    for name in ("coffer", "coffer-runtime"):
        shutil.copy(t.world.programs / name, programs / name)
    programs.chmod(0o755)
    # Nowhere else is looked for it.
    missing = t.command(programs / "coffer", "pull", "nginx", code=1, environment={"PATH": f"{t.world.programs}:/usr/bin:/bin"})
    t.contains(missing.stderr, "coffer-registry is not installed")
    t.one_sentence(missing)


@test()
def short_names_say_what_they_are(t):
    result = t.coffer("run", "--rm", "--pull", "never", "no-such-image-here", "true", code=125)
    t.contains(result.stderr, "docker.io/library/no-such-image-here:latest")


class Liar(http.server.BaseHTTPRequestHandler):
    """A registry that lies: `lies` maps a path's end to what is answered."""
    protocol_version = "HTTP/1.1"
    lies = {}
    seen = []

    def do_GET(self):
        self.seen.append((self.path, dict(self.headers)))
        for suffix, answer in self.lies.items():
            if self.path.endswith(suffix):
                return answer(self)
        return self.reply(404, b"{}")

    do_HEAD = do_GET

    def reply(self, status, body, **headers):
        self.send_response(status)
        own = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", **own}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def lying_registry(t, lies):
    """Starts it; returns its host and the requests it saw."""
    handler = type("Handler", (Liar,), {"lies": {"/v2/": lambda h: h.reply(200, b"{}"), **lies}, "seen": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *arguments: None  # A client that hangs up on a lie is right to do so.
    threading.Thread(target=server.serve_forever, daemon=True).start()
    t.cleanups.append(server.shutdown)
    return f"127.0.0.1:{server.server_port}", handler.seen


def honest_answers(layout):
    """path end → answer for everything of a layout, to be lied about in one place."""
    answers = {}
    for blob in (layout.directory / "blobs/sha256").iterdir():
        answers[f"/blobs/sha256:{blob.name}"] = lambda h, data=blob.read_bytes(): h.reply(200, data, Content_Type="application/octet-stream")
    manifest = layout.manifests[0]
    data = (layout.directory / "blobs/sha256" / manifest["digest"][7:]).read_bytes()
    for tag in ("1", manifest["digest"]):
        answers[f"/manifests/{tag}"] = lambda h: h.reply(200, data, Content_Type=manifest["mediaType"], Docker_Content_Digest=manifest["digest"])
    return answers


def endless(handler):
    """A body of the announced kind that never ends."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    try:
        for _ in range(4096):
            handler.wfile.write(b"100000\r\n" + b"\0" * (1 << 20) + b"\r\n")
    except OSError:
        pass


@test()
def lies_of_a_registry_are_refused(t):
    layout = t.layout()
    layers = small_layers(layout)
    layout.image("x", layers, {"Cmd": ["/bin/tool"]})
    layer = f"/blobs/{layers[0][0]['digest']}"
    honest = honest_answers(layout)
    stolen = []
    lies = {
        "another blob": {layer: lambda h: h.reply(200, b"x" * layers[0][0]["size"])},
        "a short blob": {layer: lambda h: h.reply(200, b"x")},
        "an endless blob": {layer: endless},
        "an endless manifest": {"/manifests/1": endless},
        "another manifest": {"/manifests/1": lambda h: h.reply(200, b"{}", Docker_Content_Digest=layout.manifests[0]["digest"])},
        "too many requests": {"/manifests/1": lambda h: h.reply(429, b"{}", Retry_After="1")},
        "an error of the server": {"/manifests/1": lambda h: h.reply(500, b"oops")},
        "unauthorised": {"/manifests/1": lambda h: h.reply(401, b"{}", WWW_Authenticate='Bearer realm="file:///etc/passwd"')},
    }
    # What each message says: a pull that failed for another reason has tested nothing.
    sentences = {
        "another blob": "has the digest", "a short blob": "announced with 1 bytes instead of", "an endless blob": "goes on beyond its",
        "an endless manifest": "is too long", "another manifest": "is announced as", "too many requests": "status 429",
        "an error of the server": "status 500", "unauthorised": "not an https address",
    }
    for what, lie in lies.items():
        host, _ = lying_registry(t, {**honest, **lie})
        result = t.coffer("pull", f"{host}/team/small:1", code=None, timeout=90)
        t.true(result.code != 0, f"{what}: pulled")
        t.one_sentence(result)
        t.contains(result.stderr, sentences[what])
        t.true(host not in t.coffer("images").stdout, f"{what}: the image is listed")
    t.equal(stolen, [])
    if t.world.state.exists():
        store = t.world.state / "images"
        names = [path.name for path in (*store.glob("blobs/sha256/*"), *store.glob("layers/*"))]
        unfinished = [name for name in names if not re.fullmatch(r"(sha256-)?[0-9a-f]{64}", name)]
        t.equal(unfinished, [], "unfinished files in the store")


@test()
def credentials_stay_with_their_registry(t):
    layout = t.layout()
    layers = small_layers(layout)
    layout.image("x", layers)
    thief, seen = lying_registry(t, {})
    layer = f"/blobs/{layers[0][0]['digest']}"

    def redirect(handler):
        handler.reply(307, b"", Location=f"http://{thief}{handler.path}")
    host, asked = lying_registry(t, {**honest_answers(layout), layer: redirect})
    (t.world.home / ".docker").mkdir(exist_ok=True)
    config = t.world.home / ".docker/config.json"
    config.write_text(json.dumps({"auths": {host: {"auth": "dXNlcjpzZWNyZXQ="}}}))
    t.world.own(t.world.home / ".docker")
    t.cleanups.append(config.unlink)
    result = t.coffer("pull", f"{host}/team/small:1", code=None)
    t.true(result.code != 0, "the pull succeeded")
    if not asked:
        raise Failure("the registry was never asked")
    for _, headers in seen:
        t.true("Authorization" not in headers, "credentials went to another host (CVE-2020-15157)")
