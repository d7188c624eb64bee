"""Says at the end of a run how many of the reference's cases were replayed, by layer type."""

from __future__ import annotations

from collections import Counter

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counts = {
        outcome: Counter(
            value
            for report in terminalreporter.stats.get(outcome, [])
            for name, value in getattr(report, "user_properties", ())
            if name == "golden layer"
        )
        for outcome in ("passed", "failed", "skipped")
    }
    if not any(counts.values()):
        return
    totals = ", ".join(f"{sum(count.values())} {outcome}" for outcome, count in counts.items())
    terminalreporter.section(f"golden layer cases: {totals}", "-")
    for outcome, count in counts.items():
        if count:
            listed = ", ".join(f"{layer} {number}" for layer, number in sorted(count.items()))
            terminalreporter.write_line(f"{outcome}: {listed}")
