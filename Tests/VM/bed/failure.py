"""The two ways in which a guest is not to be had."""


class VMError(Exception):
    """The guest could not be built or did not run: a failure."""


class NotHere(Exception):
    """This machine cannot run a guest at all; the message says what it lacks. Said in one line, and no failure."""
