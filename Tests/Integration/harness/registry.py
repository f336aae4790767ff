"""The list of tests: a decorator puts a function on it, and the runner walks it."""

import collections

Case = collections.namedtuple("Case", "name function modes long needs guest")
CASES = []

ROOT = "root"
ROOTLESS = "rootless"
BOTH = (ROOT, ROOTLESS)


class Failure(Exception):
    """A test that did not hold: the message says what was expected and what came."""


class Unavailable(Exception):
    """This machine cannot run the test; the message says what it lacks. Counted and listed, never silent."""


def test(modes=BOTH, long=False, needs=(), guest=None):
    """Registers a test, for the named guest of Tests/VM alone where one is named. `needs` names kernel or machine features (harness/machine.py) without which it is reported as unavailable."""
    def register(function):
        group = function.__module__.removeprefix("test_")
        CASES.append(Case(f"{group}.{function.__name__}", function, modes, long, tuple(needs), guest))
        return function
    return register
