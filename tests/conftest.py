"""What all tests share: the folder of reference data beside the repository."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """``../shared``: golden numbers, facts and small real data sets, read in place."""
    path = Path(__file__).resolve().parents[2] / "shared"
    if not path.is_dir():
        pytest.skip(f"needs ../shared, the folder of reference data; {path} is not there")
    return path
