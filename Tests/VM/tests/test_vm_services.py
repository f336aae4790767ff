"""Containers as services of a real systemd."""

from harness.hostile import Bundle
from harness.registry import BOTH, ROOT, test


def shown(t, unit, *options):
    names = ("ActiveState", "StatusText", "MainPID", "Result")
    lines = t.command("systemctl", *options, "show", unit, *[f"--property={name}" for name in names]).stdout.splitlines()
    return dict(line.split("=", 1) for line in lines)


def started(t, *words):
    """The name of a unit of Type=notify that is active: systemd-run returns no sooner."""
    options = [] if t.world.is_root else ["--user"]
    log = t.directory() / "log"
    unit = f"notify-{log.parent.name}.service"
    t.cleanups.append(lambda: t.command("systemctl", *options, "stop", unit, code=None))
    # RemainAfterExit: what has failed can still be asked for its reason.
    done = t.command("systemd-run", *options, "--quiet", f"--unit={unit}", "--property=Type=notify", "--property=TimeoutStartSec=30",
                     "--property=RemainAfterExit=yes", f"--property=StandardError=file:{log}", *words, code=None)
    t.equal(done.code, 0, f"systemd-run: {done.stderr}{log.read_text() if log.exists() else ''}")
    return unit, options


@test(guest="apparmor", modes=BOTH)
def a_unit_is_active_when_its_container_says_so(t):
    bundle = Bundle(t, "notifier")
    unit, options = started(t, *bundle.command("/notifier", "STATUS=warming up", "READY=1\nSTATUS=serving\nMAINPID=1"))
    found = shown(t, unit, *options)
    t.equal((found["ActiveState"], found["StatusText"]), ("active", "serving"), "state of the unit")
    t.true(found["MainPID"] != "1", "the main process is the runtime")
    t.command("systemctl", *options, "stop", unit)
    t.equal(shown(t, unit, *options)["Result"], "success", "how it stopped")


@test(guest="apparmor", modes=(ROOT,))
def a_unit_watches_the_container_that_was_left_behind(t):
    """`run --detach` ends: the main process is the container's first one from then on."""
    bundle = Bundle(t, "notifier")
    words = list(bundle.command("/notifier", "READY=1"))
    words.insert(words.index("run") + 1, "--detach")
    t.cleanups.append(lambda: t.runtime("--root", bundle.state, "delete", "--force", bundle.name, code=None))
    unit, options = started(t, *words)
    state = t.runtime("--root", bundle.state, "state", bundle.name).stdout
    t.contains(state, f'"pid": {shown(t, unit, *options)["MainPID"]},')
