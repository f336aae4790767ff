"""`coffer probe` on another kernel, with systemd, control groups v2 and AppArmor; and the holes that only such a kernel has, for the probes to find."""

import contextlib
import json
import socket
import threading

from harness.probing import FOUND, TABLE, answers, details, having, listed, nothing_is_left, probe, request, unexplained
from harness.registry import BOTH, ROOT, test

# Root without any limit of its own.
PRIVILEGED = ("prlimit", "--memlock=unlimited", "--msgqueue=unlimited", "--sigpending=unlimited", "unshare", "--mount", "--pid", "--fork", "--mount-proc")
# Debian loads none of these by itself.
MODULES = ("rds", "tipc", "dccp_ipv4", "llc2", "uinput", "binfmt_misc", "loop")


@test(guest="apparmor", modes=BOTH)
def vm_standard_and_strict_have_nothing_reachable(t):
    # Both in one run, whose controls are the same and need not be tried twice.
    image = t.static_image("attacks")
    strict = t.coffer("create", "--level", "strict", image, "/attacks").stdout.strip()
    reports = json.loads(t.coffer("probe", "--quiet", "--no-peel", image, strict, "--format", "json", code={0, 1}, timeout=300).stdout)
    for level, report in zip(("standard", "strict"), reports, strict=True):
        t.equal(details(report, "reachable"), {}, f"reachable at {level}")
        t.equal(details(report, "inconclusive"), {}, f"inconclusive at {level}")
        t.equal(unexplained(report), {}, f"at {level}, information without a reason in docs/THREAT-MODEL.md")
        t.true(len(having(report, "contained")) > 200, f"too few were tried at {level}: {report['totals']}")
    t.coffer("rm", strict)
    nothing_is_left(t)


@test(guest="apparmor", modes=(ROOT,))
def vm_controls_that_this_kernel_shows(t):
    for module in MODULES:
        t.command("modprobe", "--quiet", module, code=None)
    elsewhere, never = listed("Seen in a virtual machine"), listed("Never seen to succeed")
    asked = [name for name, row in TABLE.items() if row["control"] == "virtual-machine" or name in elsewhere | never]
    found = answers(t, t.command(*PRIVILEGED, t.world.programs / "coffer-probe", "run", input=request(asked)).stdout)
    seen = {name for name, answer in found.items() if answer["outcome"] in FOUND}
    t.equal(seen, elsewhere, f"seen in this guest, and docs/PROBES.md: { {name: found[name]['detail'] for name in seen ^ elsewhere} }")


@test(guest="apparmor", modes=(ROOT,))
def vm_apparmor_is_found_as_the_layer(t):
    # With everything else off that stops a mount.
    flags = ("--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined", "--security-opt", "landlock=off")
    report = probe(t, "--quiet", "--only", "mount-tmpfs", *flags)
    one = next(one for one in report["probes"] if one["id"] == "mount-tmpfs")
    t.equal((one["verdict"], one["layer"], one["depth"]), ("contained", "security-module", 1), str(one))


@test(guest="apparmor", modes=(ROOT,))
def vm_metadata_is_closed_to_containers(t):
    # Nobody else is on this address here: it is safe to listen on it, and to connect to it.
    t.command("ip", "address", "add", "169.254.169.254/32", "dev", "lo")
    t.cleanups.append(lambda: t.command("ip", "address", "del", "169.254.169.254/32", "dev", "lo"))
    canary = socket.create_server(("169.254.169.254", 0))
    t.cleanups.append(canary.close)

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = canary.accept()
                with connection, contextlib.suppress(OSError):
                    connection.sendall(b"canary")
    threading.Thread(target=serve, daemon=True).start()
    endpoint = dict(role="metadata", transport="tcp", address="169.254.169.254", port=canary.getsockname()[1])
    document = request(["net-metadata"], {"endpoints": [endpoint]})
    program = t.world.programs / "coffer-probe"
    for flags, expected in (((), "held"), (("--network", "host"), "reached")):
        words = ("run", "--rm", "-i", "-v", f"{program}:/coffer-probe:ro", *flags, t.static_image("attacks"), "/coffer-probe", "run")
        found = answers(t, t.coffer(*words, input=document).stdout)
        t.equal(found["net-metadata"]["outcome"], expected, f"{flags}: {found}")
