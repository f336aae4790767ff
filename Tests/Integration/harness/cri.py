"""A client of the Kubernetes Container Runtime Interface (k8s.io/cri-api, runtime.v1), as small as its tests need: messages are dictionaries of field
numbers, as the protocol has them on the wire."""

import subprocess

from harness import images
from harness.registry import Failure, Unavailable

PYTHON = "/usr/bin/python3"
SERVICE = "/runtime.v1.RuntimeService/"


def encode(message):
    """A protobuf message. Values: int (varint), str, bytes, dict (a message), list (repeated)."""
    result = b""
    for number, value in message.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, (int, bool)):
                result += _varint(number << 3) + _varint(each)
            else:
                body = encode(each) if isinstance(each, dict) else each.encode() if isinstance(each, str) else each
                result += _varint(number << 3 | 2) + _varint(len(body)) + body
    return result


def _varint(value):
    value &= (1 << 64) - 1
    result = b""
    while value > 127:
        result += bytes([value & 127 | 128])
        value >>= 7
    return result + bytes([value])


def decode(data):
    """Field number → values in their order, numbers or bytes."""
    fields, position = {}, 0
    while position < len(data):
        tag, position = _read(data, position)
        if tag & 7 == 0:
            value, position = _read(data, position)
        elif tag & 7 == 2:
            length, position = _read(data, position)
            value, position = data[position:position + length], position + length
        else:
            raise Failure(f"a protobuf field of the wire type {tag & 7}")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _read(data, position):
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position


class Refused(Failure):
    """The server's answer was an error."""


class Runtime:
    """The runtime service behind a socket. The names of its methods are the protocol's."""

    CONTAINER, NODE = 1, 2  # NamespaceMode
    STATES = ("created", "running", "exited", "unknown")

    def __init__(self, t, socket):
        if subprocess.run([PYTHON, "-c", "import grpc"], capture_output=True, check=False).returncode != 0:
            raise Unavailable("this machine has no gRPC for Python: install the package python3-grpcio")
        self.process = t.world.popen(
            [PYTHON, images.PROGRAMS / "grpc-call", socket], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        t.cleanups.append(lambda: (self.process.stdin.close(), self.process.wait(20)))

    def call(self, method, message):
        self.process.stdin.write(f"{SERVICE}{method} {encode(message).hex()}\n".encode())
        self.process.stdin.flush()
        word, _, rest = self.process.stdout.readline().decode().strip().partition(" ")
        if word != "ok":
            raise Refused(f"{method}: {rest or 'no answer'}")
        return decode(bytes.fromhex(rest))

    # PodSandboxConfig, ContainerConfig and so on: api.proto

    def sandbox(self, name, logs, network=None):
        """RunPodSandbox; the sandbox's ID and configuration."""
        options = {1: network} if network is not None else {}
        config = {1: {1: name, 2: f"uid-{name}", 3: "default"}, 2: name if network is None else "", 3: logs, 8: {2: {1: options, 9: {1: 0}}}}
        return self.call("RunPodSandbox", {1: config})[1][0].decode(), config

    def container(self, sandbox, name, image, command, resources=None, security=None, mounts=(), tty=False):
        """CreateContainer and StartContainer; the container's ID."""
        identifier, config = sandbox
        linux = {1: resources or {}, 2: {15: {1: 0}, **(security or {})}}
        body = {1: {1: name}, 2: {1: image}, 3: command, 6: [{1: "FROM", 2: "kubelet"}], 7: list(mounts), 11: f"{name}.log", 14: tty, 15: linux}
        container = self.call("CreateContainer", {1: identifier, 2: body, 3: config})[1][0].decode()
        self.call("StartContainer", {1: container})
        return container

    def exec(self, container, *command, seconds=20):
        """ExecSync: exit code, stdout, stderr."""
        answer = self.call("ExecSync", {1: container, 2: list(command), 3: seconds})
        return answer.get(3, [0])[0], answer.get(1, [b""])[0].decode(), answer.get(2, [b""])[0].decode()

    def status(self, container):
        """State and exit code."""
        status = decode(self.call("ContainerStatus", {1: container})[1][0])
        return self.STATES[status.get(3, [0])[0]], status.get(7, [0])[0]
