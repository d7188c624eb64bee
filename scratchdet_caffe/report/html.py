"""The templates of pages."""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2


def render_html(name: str, **values: Any) -> str:
    """Return the page of the template ``name`` filled with ``values``."""
    return _environment().get_template(name).render(**values)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["ap"] = lambda value: "–" if value is None else f"{value:.3f}"
    return environment
