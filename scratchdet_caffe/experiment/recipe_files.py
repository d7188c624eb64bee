"""The recipe files: small TOML tables, each stating what it changes of another.

``extends`` names the recipe (or recipes, in order) to start from. A table ``[when.WORD]`` holds
for one arch, family of archs, dataset, head or size only; ``[when."WORD WORD"]`` where all of
them hold. Later tables win: the base, its ``when``, this file, its ``when``, then ``--set``.
``[parts]`` holds for the backbone, the TCB and the head where these say nothing themselves.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from typing import Any

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment.build import build
from scratchdet_caffe.experiment.recipe import Recipe
from scratchdet_caffe.experiment.registry import unknown

toml: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
_FOLDER = resources.files("scratchdet_caffe.experiment").joinpath("recipes")


def recipe_names() -> list[str]:
    """Return the names of all recipes, sorted; a file named ``_*`` is only there to extend."""
    files = (entry.name for entry in _FOLDER.iterdir() if not entry.name.startswith("_"))
    return sorted(name.removesuffix(".toml") for name in files if name.endswith(".toml"))


def about_recipe(name: str) -> str:
    """Return the line that the recipe file ``name`` says of itself."""
    return str(_read(name)["about"])


def load_recipe(
    name: str, words: Iterable[str] = (), changes: Iterable[Mapping[str, Any]] = ()
) -> Recipe:
    """Return the recipe ``name`` as it holds for ``words``, after ``changes``.

    Args:
        name: A word of `recipe_names`.
        words: What is known of the job: ``when`` tables of these words apply.
        changes: Tables laid over the result in order, as `parse_setting` returns them.

    Raises:
        UserError: An unknown recipe or field, or a value of the wrong type.
    """
    if name not in recipe_names():
        raise unknown("recipe", name, recipe_names())
    table = _settled(name, frozenset(words))
    for change in changes:
        table = _over(table, change)
    alike = table.pop("parts", {})
    for part in ("backbone", "tcb", "head"):
        table[part] = _over(alike, table.get(part, {}))
    return build(Recipe, table, f"recipe {name}")


def parse_setting(text: str) -> dict[str, Any]:
    """Return ``table.field=value`` as a nested table; the value is TOML, or else a word.

    Raises:
        UserError: There is no ``=``, or no field before it.
    """
    path, equals, value = text.partition("=")
    if not equals or not all(path.split(".")):
        raise UserError(f"--set {text}: write it as table.field=value, e.g. solver.base_lr=0.01")
    try:
        parsed = toml.loads(f"value = {value}")["value"]
    except toml.TOMLDecodeError:
        parsed = value
    return nested(path, parsed)


def nested(path: str, value: Any) -> dict[str, Any]:
    """Return ``value`` under the dotted ``path``: ``a.b`` gives ``{"a": {"b": value}}``."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return dict(value)


@cache
def _read(name: str) -> Mapping[str, Any]:
    return dict(toml.loads(_FOLDER.joinpath(f"{name}.toml").read_text(encoding="utf-8")))


def _settled(name: str, words: frozenset[str]) -> dict[str, Any]:
    table = dict(_read(name))
    bases, when = table.pop("extends", []), table.pop("when", {})
    settled: dict[str, Any] = {}
    for base in [bases] if isinstance(bases, str) else bases:
        settled = _over(settled, _settled(base, words))
    settled = _over(settled, {**table, "name": name})
    for condition, changes in when.items():
        if words.issuperset(condition.split()):
            settled = _over(settled, changes)
    return settled


_WHOLE = ("filler", "filler_with_bn")
"""Tables that are one value: a new one replaces the old instead of being mixed with it."""


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        mixed = isinstance(old, Mapping) and isinstance(value, Mapping) and name not in _WHOLE
        merged[name] = _over(old, value) if mixed else value  # type: ignore[arg-type]
    return merged
