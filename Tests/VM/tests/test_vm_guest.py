"""That the guests are what the other tests take them for: a test that runs elsewhere by mistake would prove nothing."""

import pathlib

from harness.machine import cgroup_layout
from harness.registry import ROOTLESS, test


@test(guest="apparmor")
def the_guest_has_what_its_tests_need(t):
    t.equal(cgroup_layout(), "v2", "control groups")
    t.contains(pathlib.Path("/sys/kernel/security/lsm").read_text(), "apparmor")


@test(guest="selinux")
def the_guest_has_selinux(t):
    t.equal(cgroup_layout(), "v2", "control groups")
    t.equal(t.command("getenforce").stdout.strip(), "Permissive", "SELinux")
    t.contains(t.command("id", "-Z").stdout, "unconfined_t")


@test(guest="apparmor", modes=(ROOTLESS,))
def the_user_has_a_session_with_every_controller(t):
    service = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers"
    controllers = set(pathlib.Path(service).read_text().split())
    t.true({"cpu", "cpuset", "io", "memory", "pids"} <= controllers, f"delegated: {controllers}")
    t.equal(t.command("systemctl", "is-system-running").stdout.strip(), "running", "systemd")
    t.equal(t.command("systemctl", "--user", "is-system-running").stdout.strip(), "running", "the user's systemd")
