"""What a cell ran on: versions, machine, and the state of the code."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import scratchdet_caffe
from scratchdet_caffe.files import write_text

PACKAGES = ("torch", "numpy", "opencv-python-headless", "pycocotools", "protobuf")


def environment(device: str = "cpu") -> dict[str, Any]:
    """Return the versions and the machine; imports nothing heavy.

    Args:
        device: ``cuda`` asks for the name of the GPU, too.
    """
    return {
        "scratchdet-caffe": scratchdet_caffe.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        **({"gpu": _said_by("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")}
           if device == "cuda" else {}),
    }  # fmt: skip


def write_environment(folder: Path, device: str) -> None:
    """Write ``environment.json`` into ``folder``."""
    write_text(folder / "environment.json", json.dumps(environment(device), indent=1) + "\n")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of a checkout, with ``+changes`` where files differ from it."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    commit = _said_by("git", "-C", str(root), "rev-parse", "HEAD")
    changed = commit and _said_by("git", "-C", str(root), "status", "--porcelain", "-uno")
    return f"{commit}+changes" if changed else commit


def _processor() -> str:
    if sys.platform == "linux":
        try:
            for line in Path("/proc/cpuinfo").read_text().splitlines():
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
        except OSError:
            pass
    return platform.processor() or platform.machine()


def _said_by(*command: str) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None
