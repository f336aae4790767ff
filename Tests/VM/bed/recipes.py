"""What the guests are made of. A guest's files are cached by everything that is written here and in guest/."""

import collections
import hashlib
import json
import os
import pathlib

VM = pathlib.Path(__file__).resolve().parents[1]
PROJECT = VM.parents[1]
SUITE = "bookworm"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

Guest = collections.namedtuple("Guest", "name kernel_suite packages boot memory")

# systemd with a user's session, what Coffer is linked with and calls (newuidmap, pasta, nft), what its tests call.
PACKAGES = (
    "systemd", "systemd-sysv", "libpam-systemd", "libnss-systemd", "dbus", "dbus-user-session", "udev", "kmod", "procps", "util-linux", "mount", "login",
    "passwd", "iproute2", "nftables", "passt", "uidmap", "busybox-static", "python3", "ca-certificates", "libisal2", "libseccomp2",
    "libsqlite3-0", "libyaml-0-2", "libzstd1", "zlib1g",
)

GUESTS = {
    # The newest kernel that this Debian has, AppArmor, and a user whose session is delegated every controller.
    "apparmor": Guest("apparmor", f"{SUITE}-backports", (*PACKAGES, "apparmor"), "apparmor=1 security=apparmor", 3072),
    # Debian's own kernel, and SELinux with Debian's policy, which gets a type for containers (guest/container.cil).
    "selinux": Guest("selinux", SUITE, (*PACKAGES, "selinux-policy-default", "policycoreutils", "selinux-utils"),
                     "apparmor=0 security=selinux selinux=1 enforcing=0", 2048),
}

# Modules that the guests use, by directory or file below kernel/ of the module tree; depmod leaves out nothing of these.
MODULES = (
    "arch/x86/crypto", "crypto", "drivers/block/virtio_blk", "drivers/char/virtio_console", "drivers/char/hw_random", "drivers/net/tun",
    "drivers/net/veth", "drivers/net/dummy", "drivers/virtio", "fs/9p", "fs/ext4", "fs/jbd2", "fs/mbcache", "fs/fscache", "fs/netfs", "fs/fuse",
    "fs/overlayfs", "lib", "net/802", "net/9p", "net/bridge", "net/ipv4", "net/ipv6", "net/llc", "net/netfilter", "net/unix",
    # What the prober's controls are to be seen in: families of sockets that few kernels build in, and what is mounted or opened.
    "drivers/block/loop", "drivers/infiniband/core", "drivers/input/misc/uinput", "fs/binfmt_misc", "net/appletalk", "net/ax25", "net/bluetooth", "net/can",
    "net/dccp", "net/ieee802154", "net/kcm", "net/key", "net/mctp", "net/nfc", "net/phonet", "net/qrtr", "net/rds", "net/rfkill", "net/rxrpc", "net/sctp", "net/smc",
    "net/strparser", "net/tipc", "net/vmw_vsock", "net/x25", "net/xfrm",
)
# What the root file system needs before it is there.
FIRST_MODULES = ("virtio_pci", "virtio_blk", "ext4")


def cache():
    """Where guests are kept between runs."""
    default = PROJECT / ".build/vm"
    if not os.access(default.parent if default.parent.exists() else PROJECT, os.W_OK):
        default = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "coffer/vm"
    return pathlib.Path(os.environ.get("COFFER_VM_CACHE", default))


def fingerprint(*parts):
    """A short name for anything that JSON can write."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def guest_key(guest):
    """Changes with everything that goes into the guest's files."""
    sources = [path for directory in (VM / "guest", VM / "bed") for path in sorted(directory.iterdir()) if path.is_file()]
    return fingerprint(guest, MODULES, FIRST_MODULES, [path.read_text() for path in sources])


def mirrors():
    """The machine's own Debian mirror and its security mirror, as apt has them; None on another distribution."""
    found = []
    for path in [pathlib.Path("/etc/apt/sources.list"), *sorted(pathlib.Path("/etc/apt/sources.list.d").glob("*"))]:
        if path.suffix not in (".list", ".sources") or not path.exists():
            continue
        for line in path.read_text(errors="replace").splitlines():
            words = line.split()
            if line.startswith("URIs:"):
                found += words[1:]
            elif words[:1] == ["deb"]:
                found += [word for word in words[1:] if "://" in word][:1]
    debian = [uri.rstrip("/") for uri in found if uri.rstrip("/").endswith("/debian")]
    security = [uri.rstrip("/") for uri in found if uri.rstrip("/").endswith("/debian-security")]
    if not debian:
        return None
    return debian[0], security[0] if security else f"{debian[0]}-security"


def sources():
    """apt's lines for a Debian of this suite with its updates, security updates and backports."""
    main, security = mirrors()
    option = f"[signed-by={KEYRING}]"
    suites = [(main, SUITE), (main, f"{SUITE}-updates"), (security, f"{SUITE}-security"), (main, f"{SUITE}-backports")]
    return [f"deb {option} {uri} {suite} main" for uri, suite in suites]
