"""Documents spoiled by a seed: changes of a tree that know what is a member, an element, a number, a string; a case is told in a few lines, told
again from its number, and made smaller by leaving changes out."""

import copy
import json
import os
import random
import re
import sys

from harness.registry import Failure

# Changes of a tree walk it, and one may have been nested by an earlier change.
sys.setrecursionlimit(10_000)

NUMBERS = [0, 1, -1, 2, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 1, (2**63 - 1) // 1000 + 1, 2**63, 2**64 - 1, 2**64,
           -2**31, -2**63, -2**63 - 1, 0.5, 1e300]
STRINGS = ["", " ", "\0", "a\0b", "\n", "one\ntwo", "\x1b[2J", "\u202e", "é", ".", "..", "/..", "../../..", "a/../b", "rel/ative", "-1", "0", "+1", " 1",
           "4294967295", "4294967296", "0x10", ":", "=", "=x", "a=b=c", ",", "%s%n", "$(id)", "*", "max", "x" * 256, "x" * 4096, "x" * 70000, "/x" * 3000]


def settings():
    """Seed and factor. The seed is the same everywhere for `make test`; the long tests have a new one each time, which they print."""
    seed = os.environ.get("COFFER_FUZZ_SEED")
    return seed, int(os.environ.get("COFFER_FUZZ_FACTOR", "1")), os.environ.get("COFFER_FUZZ_CASE")


class Mutation:
    """One change of a JSON tree. `words`: strings that mean something to its reader."""

    def __init__(self, words):
        self.words = words

    def apply(self, document, seed):
        """Changes the document in place where it can; returns it and what was done."""
        rng = random.Random(seed)
        places = list(_places(document, "", None, None))
        path, parent, key, value = rng.choice(places)
        new, told = self._edit(value, path or "the document", rng)
        if parent is None:
            return new, told
        parent[key] = new
        return document, told

    def _edit(self, value, path, rng):
        if rng.random() < 0.15:
            new = self.anything(rng)
        elif isinstance(value, bool):
            new = not value
        elif isinstance(value, (int, float)):
            new = rng.choice(NUMBERS)
        elif isinstance(value, str):
            new = self.text(rng)
        elif isinstance(value, list):
            return self._edit_list(value, path, rng)
        elif isinstance(value, dict):
            return self._edit_members(value, path, rng)
        else:
            new = self.anything(rng)
        return new, f"{path} is {_shown(new)}"

    def _edit_list(self, value, path, rng):
        position = rng.randrange(len(value)) if value else 0
        choice = rng.randrange(5)
        if choice == 0 and value:
            del value[position]
            return value, f"{path}: element {position} is gone"
        if choice == 1 and value:
            value.append(copy.deepcopy(value[position]))
            return value, f"{path}: element {position} again at the end"
        if choice == 2 and len(value) > 1:
            rng.shuffle(value)
            return value, f"{path}: shuffled"
        if choice == 3 and value and rng.random() < 0.2:
            value += [copy.deepcopy(value[position]) for _ in range(500)]
            return value, f"{path}: element {position} 500 times more"
        new = self.anything(rng)
        value.insert(position, new)
        return value, f"{path}: new element {_shown(new)}"

    def _edit_members(self, value, path, rng):
        key = rng.choice(list(value)) if value else ""
        choice = rng.randrange(6)
        if choice < 2 and value:
            del value[key]
            return value, f"{path}: no {key}"
        if choice == 2 and len(value) > 1:
            other = rng.choice(list(value))
            value[key], value[other] = value[other], value[key]
            return value, f"{path}: {key} and {other} change places"
        if choice == 3 and value:
            new = self.text(rng)
            value[new] = value.pop(key)
            return value, f"{path}: {key} is called {_shown(new)}"
        new, member = self.text(rng), self.anything(rng)
        value[new] = member
        return value, f"{path}: member {_shown(new)} is {_shown(member)}"

    def text(self, rng):
        return rng.choice(STRINGS) if rng.random() < 0.35 or not self.words else rng.choice(self.words)

    def anything(self, rng):
        choice = rng.randrange(8)
        if choice < 5:
            return [None, rng.random() < 0.5, rng.choice(NUMBERS), self.text(rng), []][choice]
        if choice < 7:
            return {self.text(rng): self.text(rng)}
        nested = []
        for _ in range(rng.choice([3, 120, 130])):
            nested = [nested] if rng.random() < 0.5 else {"a": nested}
        return nested


def _places(value, path, parent, key):
    yield path, parent, key, value
    if isinstance(value, dict):
        for name, member in list(value.items()):
            yield from _places(member, f"{path}.{name}" if path else name, value, name)
    elif isinstance(value, list):
        for position, element in enumerate(value):
            yield from _places(element, f"{path}[{position}]", value, position)


def words_of(value):
    """Every string and key of a document."""
    if isinstance(value, str):
        return {value}
    if isinstance(value, dict):
        return set(value).union(*(words_of(member) for member in value.values()))
    return set().union(*(words_of(element) for element in value)) if isinstance(value, list) else set()


def text_of(document, rng):
    """The document as text, now and then with damage that no tree can say: a member twice, the end missing, something behind it."""
    text = _dumps(document)
    choice = rng.randrange(60)
    if choice == 0:
        return text[:rng.randrange(len(text))]
    if choice == 1:
        return text + rng.choice(["}", "x", "\0", text])
    if choice == 2 and text.startswith("{") and len(text) > 2:
        return "{" + text[1:].split(",", maxsplit=1)[0].rstrip("}") + "," + text[1:]
    if choice == 3:
        return "\ufeff" + text
    if choice == 4:
        return "[" * 100_000
    return text


def _dumps(document):
    """json.dumps, for nesting of any depth."""
    try:
        return json.dumps(document)
    except RecursionError:
        return "[" * 5000 + "]" * 5000


def _shown(value):
    text = _dumps(value)
    return text if len(text) < 60 else f"{text[:40]}… ({len(text)} characters)"


def sentence(text, lines):
    """One line, not too long, nothing that a terminal would obey, nothing of the program's inside."""
    if len(lines) > 2:
        raise Failure(f"a refusal of {len(lines)} lines: {text[:400]!r}")
    for line in lines:
        if len(line) > 3000 or len(line) < 25:
            raise Failure(f"a refusal of {len(line)} characters: {line[:300]!r}")
        if re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", line):
            raise Failure(f"control characters in a refusal: {line[:300]!r}")
        for inside in ("Fatal error", "Optional(", "Swift.", "rawValue", "Error(", "unknownKind", "ended unexpectedly", "tooLong"):
            if inside in line:
                raise Failure(f"{inside!r} in a refusal: {line[:300]!r}")


class Spoiler:
    """A target: documents that are right and a check of what the program makes of spoiled ones."""

    def __init__(self, name, corpus, words=()):
        self.name = name
        self.corpus = corpus
        self.mutation = Mutation(sorted(words_of(list(corpus.values())) | set(words)))

    def run(self, cases, check, fresh=False):
        """`check(document, rng)` returns True where the case was accepted, False where it was refused, and raises Failure for what must not be.
        Prints one line; fails with up to three findings, each as small as it could be made."""
        seed, factor, only = settings()
        seed = seed or (str(random.SystemRandom().randrange(2**32)) if fresh else "1")
        numbers = [int(only)] if only else range(cases * factor)
        findings, counts = [], {True: 0, False: 0}
        for number in numbers:
            rng = random.Random(f"{seed} {self.name} {number}")
            base = rng.choice(sorted(self.corpus))
            changes = [rng.getrandbits(64) for _ in range(rng.choice([1, 1, 1, 2, 2, 3, 4]))]
            try:
                counts[self._check(base, changes, number, check)] += 1
            except Failure as failure:
                findings.append(self._smallest(base, changes, number, seed, failure, check))
                if len(findings) == 3:
                    break
        print(f"         fuzz {self.name}: seed {seed}, {len(numbers)} cases: {counts[True]} accepted, {counts[False]} refused, {len(findings)} findings",
              flush=True)
        if findings:
            raise Failure("\n".join(findings))
        if not only and min(counts.values()) * 50 < len(numbers):
            raise Failure(f"fuzz {self.name}: {counts[True]} accepted and {counts[False]} refused would test nothing")

    def _made(self, base, changes):
        document, told = copy.deepcopy(self.corpus[base]), []
        for change in changes:
            document, words = self.mutation.apply(document, change)
            told.append(words)
        return document, told

    def _check(self, base, changes, number, check):
        return check(self._made(base, changes)[0], random.Random(f"{number}"))

    def _smallest(self, base, changes, number, seed, failure, check):
        for position in reversed(range(len(changes))):
            fewer = changes[:position] + changes[position + 1:]
            try:
                self._check(base, fewer, number, check)
            except Failure as other:
                changes, failure = fewer, other
        told = "\n".join(f"    {words}" for words in self._made(base, changes)[1])
        return f"fuzz {self.name}: COFFER_FUZZ_SEED={seed} COFFER_FUZZ_CASE={number}: {base}\n{told}\n  → {failure}"
