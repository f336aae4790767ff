"""AppArmor and SELinux: what a container's processes are labelled with, and that the label holds."""

import pathlib

from harness.registry import ROOT, ROOTLESS, test

ATTRIBUTE = "cat /proc/1/attr/current"


def shell(t, script, *flags, **options):
    return t.coffer("run", "--rm", "--network", "none", *flags, t.debian(), "sh", "-c", script, **options).stdout.replace("\0", "").strip()


@test(guest="apparmor", modes=(ROOT,))
def containers_of_root_have_coffers_profile(t):
    t.equal(shell(t, ATTRIBUTE), "coffer-default (enforce)", "the profile")
    t.contains(pathlib.Path("/sys/kernel/security/apparmor/profiles").read_text(), "coffer-default (enforce)")
    t.equal(shell(t, ATTRIBUTE, "--security-opt", "apparmor=unconfined"), "unconfined", "the profile that was asked for")
    container = t.start("--network", "none", t.debian(), "sleep", "300")
    t.equal(t.coffer("exec", container, "cat", "/proc/self/attr/current").stdout.strip("\0\n"), "coffer-default (enforce)", "what exec starts")
    t.equal(t.inspect(container)["AppArmorProfile"], "coffer-default", "inspect")


@test(guest="apparmor", modes=(ROOT,))
def the_profile_holds_where_nothing_else_does(t):
    # With every other layer taken off: a mount and a write to the kernel's parameters fail by the profile alone, and succeed without it.
    flags = ("--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined", "--security-opt", "systempaths=unconfined")
    script = "mkdir -p /tmp/m; mount -t tmpfs none /tmp/m && echo mounted || echo refused"
    t.equal(shell(t, script, *flags), "refused", "with the profile")
    t.equal(shell(t, script, *flags, "--security-opt", "apparmor=unconfined"), "mounted", "without it")


@test(guest="apparmor", modes=(ROOTLESS,))
def a_users_containers_say_that_there_is_no_profile(t):
    lines = t.coffer("run", "--explain", "--network", "none", t.debian(), "true").stdout
    t.contains(lines, "AppArmor is unavailable: the profile coffer-default is not installed")
    t.equal(shell(t, ATTRIBUTE), "unconfined", "the profile")


@test(guest="apparmor", modes=(ROOT,))
def no_user_namespaces_left_is_said_in_words(t):
    setting = pathlib.Path("/proc/sys/user/max_user_namespaces")
    image = t.debian()
    before = setting.read_text()
    t.cleanups.append(lambda: setting.write_text(before))
    setting.write_text("0")
    result = t.coffer("run", "--rm", "--network", "none", image, "true", code=125)
    t.contains(result.stderr, "user.max_user_namespaces")


@test(guest="selinux", modes=(ROOT, ROOTLESS))
def two_containers_have_categories_of_their_own(t):
    labels = {shell(t, ATTRIBUTE) for _ in range(2)}
    t.equal(len(labels), 2, f"labels {labels}")
    for label in labels:
        user, role, kind, level = label.split(":", 3)
        t.equal((user, role, kind), ("system_u", "system_r", "container_t"), "user, role and type")
        categories = level.removeprefix("s0:").split(",")
        t.equal(len(categories), 2, f"categories of {label}")
    t.contains(shell(t, ATTRIBUTE, "--security-opt", "label=level:s0:c1,c2"), "container_t:s0:c1,c2")
