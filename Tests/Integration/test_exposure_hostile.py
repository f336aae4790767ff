"""`coffer exposure` of files that somebody made in order to harm: each is refused with one sentence, or scored; soon, and with little memory."""

import json
import re

from harness.registry import BOTH, Failure, test

MEMORY = 2 << 30


def laughs():
    lines = ["a: &a [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"{name}: &{name} [{','.join(['*' + before] * 10)}]" for before, name in zip("abcdefgh", "bcdefghi")]
    return "\n".join(lines) + "\nservices: {}\n"


def merges():
    lines = ["x0: &m0 {" + ", ".join(f"k{number}: 1" for number in range(10)) + "}"]
    lines += [f"x{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 10)}], own{n}: 1}}" for n in range(1, 9)]
    return "\n".join(lines) + "\nservices: {}\n"


def container(**more):
    return [{"Name": "/x", "HostConfig": {}, "Config": {}} | more]


# Name, text, and what the one sentence must speak of; None where the file is scored.
CORPUS = [
    ("laughs.yaml", laughs(), "aliases"),
    ("merges.yaml", merges(), "aliases"),
    ("deep-flow.yaml", "a: " + "[" * 100_000, "nested"),
    ("deep-block.yaml", "\n".join(" " * depth + "a:" for depth in range(1000)), "nested"),
    ("deep.json", "[" * 1_000_000, "nested"),
    ("twice.yaml", "services: {a: {image: x}}\nservices: {}\n", "twice"),
    ("twice-inside.yaml", "services: {a: {image: x, privileged: true, privileged: false}}\n", "twice"),
    ("twice.json", '[{"HostConfig": {"Privileged": true, "Privileged": false}}]', "Privileged"),
    ("self.yaml", "services: &s {a: *s}\n", "alias"),
    ("no-anchor.yaml", "services: {a: *nobody}\n", "nobody"),
    ("anchor-of-another.yaml", "x: &a {image: x}\n---\nservices: {a: *a}\n", "alias"),
    ("merge-of-text.yaml", "services: {a: {<<: text, image: x}}\n", None),
    ("merge-order.yaml", "x: &x {privileged: true}\nservices: {a: {<<: *x, image: x, privileged: false}}\n", None),
    ("key-is-a-list.yaml", "services: {[a, b]: c}\n", "key"),
    ("tagged.yaml", "services: !!python/object/apply:os.system ['touch /tmp/pwned']\n", "no container"),
    ("many-documents.yaml", "--- {}\n" * 2000, "documents"),
    ("many-values.yaml", "a: [" + "1," * 300_000 + "1]\n", "values"),
    ("many-keys.yaml", "services:\n" + "".join(f"  s{number}: {{image: x}}\n" for number in range(20_000)), "more services"),
    ("long.yaml", "# " + "x" * (5 << 20) + "\nservices: {}\n", "longer"),
    ("zero.yaml", "services: {a\0: {image: x}}\n", "line 1"),
    ("cut.yaml", "services: {a: {image: 'x", "line"),
    ("tabs.yaml", "services:\n\ta: b\n", "line 2"),
    ("service.yaml", "services: {a: 7}\n", "service a"),
    ("nothing.yaml", "a: 1\n", "holds no container"),
    ("empty.json", "", "holds no container"),
    ("list.json", "[7]", "HostConfig"),
    ("host-config.json", '[{"HostConfig": 7}]', "HostConfig"),
    ("capability.json", json.dumps(container(HostConfig={"CapAdd": ["FLY"]})), "FLY"),
    ("action.json", json.dumps(container(HostConfig={"SecurityOpt": ['seccomp={"defaultAction": "SCMP_ACT_FLY"}']})), "SCMP_ACT_FLY"),
    ("profile.json", json.dumps(container(HostConfig={"SecurityOpt": ["seccomp=" + "[" * 50_000]})), None),
    ("numbers.json", json.dumps(container(HostConfig={"CpuQuota": 2**63 - 1, "Memory": 2**63 - 1, "MemorySwap": -1, "ShmSize": 2**64 - 1, "NanoCpus": 2**63 - 1,
                                                      "LogConfig": {"Type": "json-file", "Config": {"max-size": "999999t", "max-file": str(2**62)}}})), None),
    ("number.json", '[{"HostConfig": {"Memory": 1e999999999}}]', None),
    ("many.json", "[" + ",".join(['{"HostConfig":{}}'] * 10_001) + "]", "more than 10000"),
    ("many-keys.json", '[{"HostConfig": {' + ",".join(f'"k{number}": 1' for number in range(200_000)) + "}}]", None),
    ("bytes.json", b'[{"Name": "/\xff\xfe", "HostConfig": {}}]', "UTF-8"),
    ("surrogate.json", '[{"Name": "/\\ud800", "HostConfig": {}}]', "surrogate"),
    ("seccomp-zero.yaml", 'services: {a: {image: x, security_opt: ["seccomp:/dev/zero"]}}\n', None),
    ("seccomp-fifo.yaml", 'services: {a: {image: x, security_opt: ["seccomp:fifo"]}}\n', None),
    ("Dockerfile", "FROM x\nUSER " + "a" * 500_000 + "\n", None),
    ("Dockerfile.zero", b"FROM x\0\n", "no Dockerfile"),
    ("long.service", "[Service]\nUser=" + "a" * (2 << 20) + "\n", "longer"),
    ("shown", "Id=a.service\nLoadState=not-found\n", "not-found"),
    ("config.json", json.dumps({"ociVersion": "1.0.2", "linux": {"seccomp": {"defaultAction": "SCMP_ACT_FLY"}}}), "config.json"),
]


@test(modes=BOTH)
def the_corpus(t):
    directory = t.directory()
    fifo = directory / "fifo"
    t.command("mkfifo", fifo)
    wrong = []
    for name, text, part in CORPUS:
        path = directory / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        # A bound on memory, and one on processor time that nothing honest comes near.
        words = ["prlimit", f"--as={MEMORY}", "--cpu=20", t.world.coffer, "exposure", path]
        result = t.command(*words, code=None, timeout=60)
        lines = [line for line in result.stderr.splitlines() if line.strip()]
        if part is None:
            if result.code != 0 or not result.stdout:
                wrong.append(f"{name}: not scored: {result.code} {result.stderr[:300]}")
        elif result.code != 1 or len(lines) not in (1, 2) or part not in result.stderr or len(result.stderr) > 1000:
            wrong.append(f"{name}: expected one sentence with {part!r}, got {result.code} {result.stderr[:300]!r}")
    if wrong:
        raise Failure("\n".join(wrong))
    compose = directory / "seccomp-zero.yaml"
    t.contains(t.coffer("exposure", compose).stdout, "is no file")


@test(modes=BOTH)
def deep_or_endless_standard_input(t):
    t.one_sentence(t.coffer("exposure", "-", input="{" * 2_000_000, code=1))
    endless = t.command("sh", "-c", f"yes '[' | {t.world.coffer} exposure -", code=1, timeout=60)
    t.one_sentence(endless)
    t.contains(endless.stderr, "64 MiB")


@test(modes=BOTH)
def the_merged_key_gives_way_to_the_written_one(t):
    path = t.directory() / "compose.yaml"
    path.write_text("x: &x {privileged: true}\nservices: {merged: {<<: *x, image: x}, written: {<<: *x, image: x, privileged: false}}\n")
    found = {report["target"].rsplit(":")[-1]: report["exposure"] for report in json.loads(t.coffer("exposure", path, "--format", "json").stdout)}
    t.true(found["merged"] > 9 > found["written"], f"{found}")


@test(modes=BOTH)
def sarif_has_what_its_schema_requires(t):
    """The members that SARIF 2.1.0 requires, and the values that it lists (sections 3.13 to 3.49)."""
    evil = "/x<script>\u202e\"'\\u0000"
    document = json.dumps([{"Name": evil, "HostConfig": {"NetworkMode": "host", "Privileged": True}, "Config": {"Image": evil, "Labels": {evil: evil}},
                            "Mounts": [{"Type": "bind", "Source": "/etc/" + evil, "Destination": evil, "RW": True}]},
                           {"Name": "/y", "HostConfig": {}, "Config": {}}])
    sarif = json.loads(t.coffer("exposure", "-", "--format", "sarif", input=document).stdout)
    t.equal((sarif["version"], sarif["$schema"]), ("2.1.0", "https://json.schemastore.org/sarif-2.1.0.json"))
    t.equal(set(sarif), {"version", "$schema", "runs"})
    t.equal(len(sarif["runs"]), 1, "runs")
    run = sarif["runs"][0]
    driver = run["tool"]["driver"]
    t.true(isinstance(driver["name"], str) and driver["name"], "the driver has no name")
    ids = [rule["id"] for rule in driver["rules"]]
    t.equal(len(set(ids)), len(ids), "rules are named once")
    for rule in driver["rules"]:
        t.true(isinstance(rule["shortDescription"]["text"], str) and rule["shortDescription"]["text"], f"a rule says nothing: {rule}")
        t.true(re.fullmatch(r"[a-z-]+", rule["id"]) is not None, f"an identifier that is none: {rule['id']}")
    for result in run["results"]:
        t.true(isinstance(result["message"]["text"], str) and result["message"]["text"], "a result without a message")
        t.true(result["level"] in ("none", "note", "warning", "error"), result["level"])
        t.equal(ids[result["ruleIndex"]], result["ruleId"])
        for location in result["locations"]:
            for logical in location["logicalLocations"]:
                t.true(logical["fullyQualifiedName"] and logical["kind"] == "resource", f"{logical}")
    t.equal(len({location["logicalLocations"][0]["fullyQualifiedName"] for result in run["results"] for location in result["locations"]}), 2, "targets")
