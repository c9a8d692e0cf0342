"""The two kinds of error that this room raises: the operator's input, and what is away."""

from __future__ import annotations


class SettingsError(Exception):
    """The operator's input is wrong: says where, what is wrong, and what to do about it.

    Shown to people as it is, never with a traceback; the command line ends with exit code 2.
    """

    def __init__(self, where: str, problem: str, remedy: str) -> None:
        super().__init__(f"{where}: {problem}. {remedy}")
        self.where = where
        self.problem = problem
        self.remedy = remedy


class Unavailable(Exception):
    """A disk or a database is away: whoever asked goes on without it, or refuses, as its policy says."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what} is unavailable: {why}")
        self.what = what
        self.why = why
