"""Findings as text for a terminal, and as JSON."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Sequence

from scratchdet_caffe.analysis.lint import Finding, Severity

_WIDTH = 98
_NAMED = 4  # layers that are listed by name


def findings_text(path: str, findings: Sequence[Finding]) -> str:
    """Return the findings about ``path``, worst first, and how many there are of each kind."""
    counts = [
        f"{count} {severity}{'s' if count != 1 else ''}"
        for severity in reversed(Severity)
        if (count := sum(finding.severity == severity for finding in findings))
    ]
    texts = [_text(finding, path) for finding in findings]
    return "\n".join([*texts, f"{path}: {', '.join(counts) or 'nothing found'}"])


def _text(finding: Finding, path: str) -> str:
    names = [*finding.layers[:_NAMED]]
    if len(finding.layers) > _NAMED:
        names.append(f"and {len(finding.layers) - _NAMED} more")
    head = f"{finding.severity} [{finding.rule}] {', '.join(names)}".rstrip()
    files = ", ".join(file.removeprefix(f"{path.rstrip('/')}/") for file in finding.files)
    parts = [("", finding.what), ("why: ", finding.why), ("do: ", finding.do), ("in: ", files)]
    return "\n".join([head, *(_wrapped(label, text) for label, text in parts), ""])


def _wrapped(label: str, text: str) -> str:
    indent = "  " + label.ljust(5 if label else 0)
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=" " * len(indent),
        break_long_words=False,
        break_on_hyphens=False,
    )


def findings_json(found: dict[str, list[Finding]]) -> str:
    """Return the findings by path as JSON."""
    record = {
        path: [{**dataclasses.asdict(f), "severity": str(f.severity)} for f in findings]
        for path, findings in found.items()
    }
    return json.dumps(record, indent=1)
