"""What would bite in training: a table of rules, run over nets, solvers and job folders."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from scratchdet_caffe.analysis.lint.rules import (
    FILE_RULES,
    JOB_RULES,
    NET_RULES,
    Rule,
    Severity,
    Subject,
    all_rules,
)
from scratchdet_caffe.analysis.lint.subject import Job, Net, find_job, net_of
from scratchdet_caffe.analysis.read import NetFile, read_prototxt_of_any_kind
from scratchdet_caffe.analysis.view import natural_phases
from scratchdet_caffe.errors import UserError, nearest

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")  # registers its rules

__all__ = ["Finding", "Rule", "Severity", "all_rules", "lint"]


@dataclass(frozen=True)
class Finding:
    """One finding, about one or several layers in one or several files of a job.

    Attributes:
        severity: Error, warning or note.
        rule: The rule's name.
        files: Where.
        layers: The layers; empty where it is about a whole file.
        what: What is the case.
        why: What bites.
        do: What to do about it.
    """

    severity: Severity
    rule: str
    files: tuple[str, ...]
    layers: tuple[str, ...]
    what: str
    why: str
    do: str


def lint(
    path: str | Path,
    ignored: Collection[str] = (),
    gpus: int | None = None,
    phase: int | None = None,
) -> list[Finding]:
    """Look for what would bite in training.

    Args:
        path: A net, a solver (its nets are looked at, too) or the folder of a job.
        ignored: Names of rules to leave out.
        gpus: On how many GPUs it is to be trained.
        phase: Of a net alone, the phase to look at; None for all that it has layers for.

    Returns:
        The findings, errors first; findings of one rule that say the same are one.

    Raises:
        UserError: No such file, no prototxt, or no rule of such a name.
    """
    names = [rule.name for rule in all_rules()]
    for word in ignored:
        if word not in names:
            raise UserError(f"--ignore '{word}': no rule of that name{nearest(word, names)}")
    found = _merged(_findings(Path(path), gpus, phase))
    kept = [finding for finding in found if finding.rule not in ignored]
    return sorted(kept, key=lambda finding: -finding.severity)


def _findings(path: Path, gpus: int | None, phase: int | None) -> Iterator[Finding]:
    if path.is_dir() and not (path / "solver.prototxt").is_file():
        names = [n for n in ("train", "test", "deploy") if (path / f"{n}.prototxt").is_file()]
        if not names:
            raise UserError(f"{path}: no solver.prototxt and no net in this folder")
        for name in names:
            yield from _findings(path / f"{name}.prototxt", gpus, phase)
        return
    found = None if path.is_dir() else read_prototxt_of_any_kind(path)
    if isinstance(found, NetFile):
        phases = natural_phases(found.net) if phase is None else [phase]
        nets = [net_of(found, phase) for phase in phases]
        yield from _of_nets([net for net in nets if net])
        yield from _of_file(found)
        return
    job = find_job(path, gpus)
    yield from _of_job(job)
    yield from _of_nets([net for net in (job.train, *job.tests, job.deploy) if net])
    for file in job.files:
        yield from _of_file(file)


def _of_file(file: NetFile) -> Iterator[Finding]:
    for rule in FILE_RULES:
        yield from _run(rule, file, file.path)


def _of_nets(nets: Iterable[Net]) -> Iterator[Finding]:
    for net in nets:
        for rule in NET_RULES:
            yield from _run(rule, net, net.view.source)


def _of_job(job: Job) -> Iterator[Finding]:
    for rule in JOB_RULES:
        yield from _run(rule, job, job.solver.path)


def _run(rule: Rule[Subject], subject: Subject, where: str) -> Iterator[Finding]:
    for hit in rule.check(subject):
        severity = rule.severity if hit.severity is None else hit.severity
        layers = (hit.layer,) if hit.layer else ()
        files = (hit.where or where,)
        yield Finding(severity, rule.name, files, layers, hit.what, rule.why, rule.do)


def _merged(findings: Iterable[Finding]) -> list[Finding]:
    """Put findings of one rule together that say the same, of other layers or other files."""
    merged: dict[object, Finding] = {}
    for finding in findings:
        key = (finding.rule, finding.severity, finding.what)
        before = merged.get(key, finding)
        merged[key] = Finding(
            finding.severity,
            finding.rule,
            tuple(dict.fromkeys((*before.files, *finding.files))),
            tuple(dict.fromkeys((*before.layers, *finding.layers))),
            finding.what,
            finding.why,
            finding.do,
        )
    return list(merged.values())
