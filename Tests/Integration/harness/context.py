"""What a test is given: Coffer as a user runs it, images, files to share, and the checks."""

import collections
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

from harness import images
from harness.machine import Snapshot, wait_until
from harness.registry import Failure

Result = collections.namedtuple("Result", "code stdout stderr seconds")


class Context:
    """One test in one world. `coffer` runs the program; everything a test makes is removed when it ends, whichever way."""

    def __init__(self, world, part=(1, 1)):
        self.world = world
        # Which part of how many of a test that can be divided (`run --part`).
        self.part = part
        self.cleanups = []
        self.before = Snapshot([world.directory])

    # Running

    def command(self, *words, code=0, input=None, timeout=120, **options):
        """Runs any program as the world's user. `code`: the exit code it must end with, a set of them, or None for any."""
        begun = time.monotonic()
        process = self.world.popen(
            words, stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True, **options)
        try:
            output, errors = process.communicate(input.encode() if isinstance(input, str) else input, timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            output, errors = process.communicate()
            raise Failure(f"{_shown(words)}: not done after {timeout} s\n{_tail(output)}{_tail(errors)}") from None
        result = Result(process.returncode, output.decode(errors="replace"), errors.decode(errors="replace"), time.monotonic() - begun)
        expected = {code} if isinstance(code, int) else code
        if expected is not None and result.code not in expected:
            wanted = " or ".join(map(str, sorted(expected)))
            raise Failure(f"{_shown(words)}: exit code {result.code}, expected {wanted}\n{_tail(result.stdout)}{_tail(result.stderr)}")
        return result

    def coffer(self, *words, **options):
        """Runs bin/coffer."""
        return self.command(self.world.coffer, *words, **options)

    def runtime(self, *words, **options):
        """Runs bin/coffer-runtime."""
        return self.command(self.world.runtime, *words, **options)

    def run(self, *words, **options):
        """`coffer run --rm …`; its standard output without the last newline."""
        return self.coffer("run", "--rm", *words, **options).stdout.removesuffix("\n")

    def start(self, *words):
        """`coffer run -d …`; the container's id. Removed at the end."""
        return self.coffer("run", "-d", *words).stdout.strip()

    def inspect(self, container):
        return json.loads(self.coffer("inspect", container).stdout)[0]

    # Images and files

    def debian(self):
        """The name of a minimal Debian image, imported once per world."""
        return self._image("localhost/debian:test", lambda: self.coffer("import", images.debian(), "localhost/debian:test", timeout=300))

    def service(self, name):
        """The name of an image with one of Debian's services: nginx, postgres, redis."""
        def load():
            layout = images.services_layout()
            self.coffer("load", "-i", layout, timeout=300)
        return self._image(f"localhost/{name}:latest", load)

    def static_image(self, *programs):
        """The name of an image that holds static programs and nothing else, at /NAME."""
        name = f"localhost/{'-'.join(programs)}:test"

        def load():
            files = {program: images.static_program(program).read_bytes() for program in programs}
            files |= {"etc/passwd": b"root:x:0:0::/:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n", "etc/group": b"root:x:0:\nuser:x:1000:\n"}
            files |= {"tmp": None}
            self.coffer("import", "-", name, input=images.tar_of(files))
        return self._image(name, load)

    def _image(self, name, load):
        loaded = self.world.__dict__.setdefault("images", set())
        if name not in loaded:
            load()
            loaded.add(name)
        return name

    def directory(self):
        """A new directory of the world's user, removed at the end."""
        path = pathlib.Path(tempfile.mkdtemp(dir=self.world.work))
        os.chown(path, self.world.uid, self.world.gid)
        path.chmod(0o755)
        self.cleanups.append(lambda: shutil.rmtree(path, ignore_errors=True))
        return path

    def layout(self):
        """An empty OCI layout to put right or wrong things in."""
        return images.Layout(self.directory() / "layout")

    def background(self, *words, **options):
        """A program that runs beside the test as the world's user, ended with it."""
        process = self.world.popen(words, **options)
        self.cleanups.append(lambda: (process.kill(), process.wait()))
        return process

    # Checks

    def equal(self, actual, expected, what=""):
        if actual != expected:
            raise Failure(f"{what or 'value'}: expected {expected!r}, got {actual!r}")

    def true(self, condition, sentence):
        if not condition:
            raise Failure(sentence)

    def contains(self, text, part):
        if part not in text:
            raise Failure(f"expected {part!r} in: {_tail(text)}")

    def one_sentence(self, result):
        """An error message is one line, names something, and is not a dump of the program's inside."""
        lines = [line for line in result.stderr.splitlines() if line.strip()]
        self.true(len(lines) in (1, 2), f"an error is one line, and a hint at most: {result.stderr!r}")
        self.true(len(lines[0]) > 20, f"an error says what is wrong: {result.stderr!r}")
        for inside in ("Fatal error", "Optional(", "Error Domain", "Swift.", "rawValue:"):
            self.true(inside not in result.stderr, f"{inside!r} in an error message: {result.stderr!r}")

    def eventually(self, condition, sentence, seconds=20):
        answer = wait_until(condition, seconds)
        self.true(answer, f"not after {seconds} s: {sentence}")
        return answer

    # End

    def close(self):
        """Removes what the test made, then compares the machine with what it was. Returns what is still there."""
        problems = []
        for cleanup in reversed(self.cleanups):
            try:
                cleanup()
            except Exception as error:  # whatever it is, the next one must run too
                problems.append(f"cleanup: {error}")
        problems += self._remove_containers()
        volumes = self.world.state / "volumes"
        if volumes.exists() and any(volumes.iterdir()):
            self.coffer("volume", "prune", "--force", "--all", code=None)
            problems += [f"left behind: volume {path.name}" for path in volumes.iterdir()]
        left = wait_until(lambda: not Snapshot([self.world.directory]).added_since(self.before), 3)
        if not left:
            problems += [f"left behind: {item}" for item in Snapshot([self.world.directory]).added_since(self.before)]
        return problems

    def _remove_containers(self):
        if not (self.world.state / "state.db").exists():
            return []
        try:
            names = self.coffer("ps", "-a", "-q", "--no-trunc").stdout.split()
            if names:
                self.coffer("rm", "-f", *names)
            rest = self.coffer("ps", "-a", "-q").stdout.split()
            directory = self.world.state / "containers"
            rest += [name for name in os.listdir(directory)] if directory.exists() else []
        except Failure as failure:
            return [str(failure)]
        return [f"left behind: container {name}" for name in rest]


def _shown(words):
    return " ".join(str(word) for word in words)


def _tail(text):
    text = text if isinstance(text, str) else text.decode(errors="replace")
    return "".join(f"    | {line}\n" for line in text.splitlines()[-15:])
