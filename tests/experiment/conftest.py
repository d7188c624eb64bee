"""A prepared dataset folder, as far as nets name its pieces."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset ``cells`` of two classes with six test images."""
    root = tmp_path / "cells"
    for name in ("trainval_lmdb", "test_lmdb"):
        (root / name).mkdir(parents=True)
    items = [("none_of_the_above", 0, "background"), ("rbc", 1, "RBC"), ("wbc", 2, "WBC")]
    (root / "labelmap.prototxt").write_text(
        "".join(
            f'item {{ name: "{name}" label: {label} display_name: "{display}" }}\n'
            for name, label, display in items
        )
    )
    (root / "test_name_size.txt").write_text("".join(f"img{i} 480 640\n" for i in range(6)) + "\n")
    return root
