"""The tables of ``metrics.json`` that `evaluate` prints."""

from __future__ import annotations

from typing import Any

from scratchdet_caffe.cli import print_table
from scratchdet_caffe.metrics import SIZES


def ap(value: float | None) -> str:
    """An average precision with four digits; "-" where there is none."""
    return "-" if value is None else f"{value:.4f}"


def print_scores(metrics: dict[str, Any]) -> None:
    """Print all that ``metrics.json`` says."""
    print_classes(metrics)
    if "coco" in metrics:
        print_coco(metrics["coco"])
    print_errors(metrics["errors"])
    if "all_rules" in metrics:
        print_rules(metrics["all_rules"])


def print_classes(metrics: dict[str, Any]) -> None:
    """Print objects, detections and AP of each class, and the mean, by every rule."""
    rules = list(metrics["map"])
    rows = [
        [name, *(own[key] for key in ("objects", "difficult", "detections"))]
        + [ap(own["ap"].get(rule)) for rule in rules]
        for name, own in metrics["classes"].items()
    ]
    mean = ["mean", "", "", "", *(ap(metrics["map"][rule]) for rule in rules)]
    print_table(["class", "objects", "difficult", "found", *rules], rows, mean)


def print_coco(coco: dict[str, Any]) -> None:
    """Print COCO's numbers: AP by IoU and size, AR by detections and size, by class."""
    names = list(coco["map"])
    rows = [[name, *(ap(own[n]) for n in names)] for name, own in coco["classes"].items()]
    mean = ["mean", *(ap(coco["map"][n]) for n in names)]
    print_table(["class (COCO)", *names], rows, mean)
    medium, large = coco["bounds"]
    counts = ", ".join(f"{coco['objects'][size]:,} {size}" for size in SIZES[1:])
    print(f"objects: {counts} (medium from {medium:g} x {medium:g} pixels, large from {large:g})")


def print_errors(errors: dict[str, Any]) -> None:
    """Print the kinds of errors of each class, their shares, and what is missed by size."""
    kinds = list(errors["total"])
    rows = [[name, *own.values()] for name, own in errors["classes"].items()]
    print_table(["best detections", *kinds], rows, ["all", *errors["total"].values()])
    shares = ", ".join(f"{kind} {share:.0%}" for kind, share in errors["shares"].items())
    missed = ", ".join(
        f"{own['missed']} of {own['objects']} {size}" for size, own in errors["missed"].items()
    )
    print(f"errors: {shares}\nmissed at any score: {missed}")


def print_rules(rules: dict[str, Any]) -> None:
    """Print every number of the same detections, and the steps from one to the next."""
    print_table(["rule", "mAP"], [[name, ap(value)] for name, value in rules["numbers"].items()])
    for way, steps in rules["ways"].items():
        rows = [_step(step) for step in steps]
        head = [f"from {way}", "mAP", "difference", "detections", "objects"]
        print_table(head, rows or [["(the same by every respect)", "", "", "", ""]])
    left = ", ".join(f"{name} {value:+.1e}" for name, value in rules["unexplained"].items())
    print(f"detections and objects: whose verdict changes; unexplained: {left}")


def rules_markdown(rules: dict[str, Any]) -> str:
    """Return what `print_rules` prints as Markdown."""
    lines = ["# One set of detections by every rule", "", "| rule | mAP |", "|---|---|"]
    lines += [f"| {name} | {ap(value)} |" for name, value in rules["numbers"].items()]
    for way, steps in rules["ways"].items():
        lines += ["", f"## From {way}", "", "| change | mAP | difference | detections | objects |"]
        lines += ["|---|---|---|---|---|"]
        lines += [f"| {' | '.join(map(str, _step(step)))} |" for step in steps]
    lines += ["", "Detections, objects: how many get another verdict. What no step explains:", ""]
    lines += [f"- {name}: {value:+.2e}" for name, value in rules["unexplained"].items()]
    return "\n".join(lines) + "\n"


def _step(step: dict[str, Any]) -> list[object]:
    name = f"{step['change']} = {step['after']}" if step["after"] else step["change"]
    return [
        name, ap(step["mean"]), f"{step['difference']:+.4f}", step["detections"], step["objects"],
    ]  # fmt: skip
