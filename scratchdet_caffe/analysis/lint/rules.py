"""The table of rules: what each looks for, what bites, what to do, and where that is known from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

from scratchdet_caffe.analysis.lint.subject import Job, Net
from scratchdet_caffe.analysis.read import NetFile


class Severity(IntEnum):
    """How bad a finding is: an error stops or spoils training, a warning may, a note informs."""

    NOTE = 0
    WARNING = 1
    ERROR = 2

    def __str__(self) -> str:
        return self.name.lower()


NOTE, WARNING, ERROR = Severity


@dataclass(frozen=True)
class Hit:
    """What a rule found.

    Attributes:
        what: What is the case, in one clause.
        layer: The layer; empty where it is about the whole file.
        where: The file; empty for the one that the rule was given (the solver, for a job).
        severity: Other than the rule's own, if given.
    """

    what: str
    layer: str = ""
    where: str = ""
    severity: Severity | None = None


Subject = TypeVar("Subject", NetFile, Net, Job)
Check = Callable[[Subject], Iterator[Hit]]


@dataclass(frozen=True)
class Rule(Generic[Subject]):
    """One rule.

    Attributes:
        name: The word that ``--ignore`` silences it with.
        severity: Of its findings, unless they say otherwise.
        looks_for: What it looks for (the first line of its function's docstring).
        why: What bites.
        do: What to do about it.
        known: Where that is known from.
        check: The function.
    """

    name: str
    severity: Severity
    looks_for: str
    why: str
    do: str
    known: str
    check: Check[Subject]


#: Rules by what they look at: a file as it stands, a net of one phase, a solver with its nets.
FILE_RULES: list[Rule[NetFile]] = []
NET_RULES: list[Rule[Net]] = []
JOB_RULES: list[Rule[Job]] = []


def _register(
    table: list[Rule[Subject]], name: str, severity: Severity, why: str, do: str, known: str
) -> Callable[[Check[Subject]], Check[Subject]]:
    def register(check: Check[Subject]) -> Check[Subject]:
        looks_for = (check.__doc__ or "").split("\n")[0].rstrip(".")
        table.append(Rule(name, severity, looks_for, why, do, known, check))
        return check

    return register


def file_rule(
    name: str, severity: Severity, *, why: str, do: str, known: str
) -> Callable[[Check[NetFile]], Check[NetFile]]:
    """Register the decorated function as a rule about a net's file, all phases together."""
    return _register(FILE_RULES, name, severity, why, do, known)


def net_rule(
    name: str, severity: Severity, *, why: str, do: str, known: str
) -> Callable[[Check[Net]], Check[Net]]:
    """Register the decorated function as a rule about a net of one phase."""
    return _register(NET_RULES, name, severity, why, do, known)


def job_rule(
    name: str, severity: Severity, *, why: str, do: str, known: str
) -> Callable[[Check[Job]], Check[Job]]:
    """Register the decorated function as a rule about a solver and its nets together."""
    return _register(JOB_RULES, name, severity, why, do, known)


def all_rules() -> list[Rule[NetFile] | Rule[Net] | Rule[Job]]:
    """Return every rule, in the order of its table."""
    return [*FILE_RULES, *NET_RULES, *JOB_RULES]
