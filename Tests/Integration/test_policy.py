"""The policy file: what it refuses ends with 125 and one sentence, leaves nothing, and cannot be undone by a user's own."""

import json
import subprocess

from harness.registry import BOTH, ROOT, test


def policy(t, document, mode=0o600):
    """A policy that the commands of this test get as one more file, beside the system's and the user's."""
    path = t.directory() / "policy.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    path.chmod(mode)
    t.world.own(path)
    return {"COFFER_POLICY": str(path)}


def refused(t, environment, words, *parts):
    result = t.coffer("run", "--rm", *words, code=125, environment=environment)
    t.one_sentence(result)
    for part in parts:
        t.contains(result.stderr, part)
    t.equal(t.coffer("ps", "-a", "-q").stdout, "", "containers that were left")


@test(modes=BOTH)
def what_is_refused_by_name(t):
    image = t.debian()
    every = policy(t, {"refuse": ["root", "privileged", "host-namespaces"], "refusePaths": ["/etc", "/run/docker.sock"]})
    user = ["--user", "1000"]
    refused(t, every, [image, "true"], "image runs as root", "add --user 1000")
    refused(t, every, ["--user", "0:0", image, "true"], "image runs as root")
    refused(t, every, ["--user", "somebody", image, "true"], "a name that may be root")
    refused(t, every, [*user, "--pid", "host", image, "true"], "host's namespaces", "--pid host")
    refused(t, every, [*user, "--privileged", image, "true"], "privileged")
    refused(t, every, [*user, "-v", "/etc/ssl:/x:ro", image, "true"], "mounts of /etc")
    refused(t, every, [*user, "-v", "/:/x:ro", image, "true"], "mounts of /etc")
    t.coffer("run", "--rm", *user, image, "true", environment=every)


@test(modes=BOTH)
def a_bound_on_exposure(t):
    image = t.debian()
    bound = policy(t, {"maxExposure": 4.5})
    t.coffer("run", "--rm", image, "true", environment=bound)
    refused(t, bound, ["--cap-add", "SYS_ADMIN", "--network", "host", "--pid", "host", image, "true"], "its exposure is", "the policy allows 4.5")


@test(modes=BOTH)
def a_tag_is_no_digest(t):
    refused(t, policy(t, {"refuse": ["unpinned-images"]}), [t.debian(), "true"], "without a digest")


@test(modes=BOTH)
def a_newer_policy_holds_for_older_containers(t):
    name = t.coffer("create", t.debian(), "true").stdout.strip()
    result = t.coffer("start", name, code={1, 125}, environment=policy(t, {"refuse": ["root"]}))
    t.contains(result.stderr, "image runs as root")


@test(modes=BOTH)
def broken_policies_let_nothing_run(t):
    image = t.debian()
    cases = [("{", "invalid JSON"), ('{"maxExposure": 11}', "0.0 to 10.0"), ('{"refuse": ["fun"]}', "fun"), ('{"allow": []}', "allow"),
             ('{"refusePaths": ["etc"]}', "absolute"), ("[]", "no object")]
    for text, part in cases:
        environment = policy(t, text)
        refused(t, environment, [image, "true"], part)
        t.contains(t.coffer("policy", "check", code={1, 125}, environment=environment).stderr, part)
    refused(t, policy(t, "{}", mode=0o666), [image, "true"], "changed by others")
    refused(t, {"COFFER_POLICY": "/no/such/file"}, [image, "true"], "/no/such/file")


@test(modes=BOTH)
def the_policy_is_shown_and_asked(t):
    environment = policy(t, {"maxExposure": 5, "refuse": ["privileged"]})
    shown = json.loads(t.coffer("policy", "show", environment=environment).stdout)
    t.equal((shown["maxExposure"], shown["refuse"]), (5, ["privileged"]))
    t.true(environment["COFFER_POLICY"] in shown["files"], "the file is not named")
    compose = t.directory() / "compose.yaml"
    compose.write_text("services: {a: {image: x, privileged: true}, b: {image: x, user: '7', cap_drop: [ALL], read_only: true}}\n")
    t.contains(t.coffer("policy", "check", compose, code=125, environment=environment).stderr, "compose.yaml:a: ")


@test(modes=BOTH)
def run_and_ps_say_the_number(t):
    name = t.start(t.debian(), "sleep", "300")
    figure = t.coffer("ps", "--format", "{{.Exposure}}").stdout.strip()
    t.true(0 < float(figure) < 5, f"ps says {figure!r}")
    t.contains(t.coffer("ps").stdout, "EXPOSURE")
    t.equal(json.loads(t.coffer("exposure", name, "--format", "json").stdout)["exposure"], float(figure), "ps and exposure")
    t.true("exposure" not in t.coffer("run", "--rm", t.debian(), "true").stderr, "a run without flags speaks of exposure")
    t.contains(t.coffer("run", "--rm", "--cap-add", "SYS_ADMIN", t.debian(), "true").stderr, "where level standard has")


@test(modes=(ROOT,))
def the_systems_policy_wins(t):
    """The system's file and the user's, where they really lie: /etc is covered for the runner's own mount namespace."""
    image = t.debian()
    upper, lower = t.directory(), t.directory()
    (lower / "coffer").mkdir()
    system = lower / "coffer/policy.json"
    system.write_text(json.dumps({"maxExposure": 4.5, "refuse": ["root"], "refusePaths": ["/srv"]}))
    for path in (lower, lower / "coffer"):
        path.chmod(0o755)
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"ro,lowerdir={lower}:/etc", "/etc"], check=True)
    t.cleanups.append(lambda: subprocess.run(["umount", "-l", "/etc"], check=True))
    own = upper / "config/coffer/policy.json"
    own.parent.mkdir(parents=True)
    own.write_text(json.dumps({"maxExposure": 9.0, "refuse": ["host-namespaces"], "refusePaths": []}))
    environment = {"XDG_CONFIG_HOME": str(upper / "config")}
    shown = json.loads(t.coffer("policy", "show", environment=environment).stdout)
    t.equal(shown["files"], ["/etc/coffer/policy.json", str(own)])
    t.equal((shown["maxExposure"], shown["refuse"], shown["refusePaths"]), (4.5, ["root", "host-namespaces"], ["/srv"]), "both together")
    # What the user's file leaves out, the system's still refuses, and the other way round.
    refused(t, environment, [image, "true"], "image runs as root")
    refused(t, environment, ["--user", "1000", "-v", "/srv:/x", image, "true"], "mounts of /srv")
    refused(t, environment, ["--user", "1000", "--pid", "host", image, "true"], "host's namespaces")
    t.coffer("run", "--rm", "--user", "1000", image, "true", environment=environment)
    t.equal(t.coffer("policy", "check", environment=environment).stdout.count(": ok"), 2, "files")
    own.write_text("{")
    refused(t, environment, ["--user", "1000", image, "true"], "invalid JSON")
