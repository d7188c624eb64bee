"""The Jinja environment: where templates are, and how values look in prototxt."""

from __future__ import annotations

import json
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from scratchdet_caffe.experiment.body import new_conv

_PACKAGE = Path(__file__).resolve().parents[1]


def template_folder() -> Path:
    """Return the folder of templates: inside an installed package, or beside it in a checkout."""
    installed = _PACKAGE / "templates"
    return installed if installed.is_dir() else _PACKAGE.parent / "templates"


def render(name: str, **values: Any) -> str:
    """Return the template ``name`` filled with ``values``.

    Blank lines are dropped, so that templates can be spaced for reading.
    """
    text = _environment().get_template(name).render(**values)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines() if line.strip())


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        # Those of the classifiers that a study trains first lie here: they are no detectors.
        loader=jinja2.FileSystemLoader([template_folder(), Path(__file__).parent]),
        undefined=jinja2.StrictUndefined,  # a misspelt name is an error, not an empty field
        finalize=_literal,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    environment.globals["new_conv"] = new_conv
    environment.filters["quoted"] = lambda text: json.dumps(text, ensure_ascii=False)
    environment.filters["shell"] = shlex.quote
    environment.filters["append"] = lambda text, suffix: f"{text}{suffix}"
    return environment


def _literal(value: object) -> object:
    """Write booleans and floats as prototxt does: ``true``, and no more digits than a float32."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.9g}" if isinstance(value, float) else value
