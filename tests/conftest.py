"""What all tests share: the folder of reference data beside the repository."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest

# How long an example takes says more about what else the machine does than about the code.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")


@pytest.fixture(scope="session")
def shared() -> Path:
    """``../shared``: golden numbers, facts and small real data sets, read in place."""
    path = Path(__file__).resolve().parents[2] / "shared"
    if not path.is_dir():
        pytest.skip(f"needs ../shared, the folder of reference data; {path} is not there")
    return path
