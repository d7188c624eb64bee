"""A model card: what a trained net is, what it was trained on, how good it is, what it is not."""

from __future__ import annotations

from typing import Any

from scratchdet_caffe.metrics import AREA, ELEVEN_POINT
from scratchdet_caffe.report.job import JobFolder


def model_card(job: JobFolder, about: dict[str, Any] | None = None) -> str:
    """Return the card of a job's net as Markdown; parts that nobody knows are left out.

    Args:
        job: The folder, as read.
        about: ``title``, ``note`` and ``environment`` of the run, where it was part of a study.
    """
    about = about or {}
    record = job.record
    name = record.get("arch", job.path.name)
    data = record.get("dataset", {})
    title = f"# {name} on {data.get('name', 'unknown data')}"
    parts = [title]
    if about.get("note"):
        parts.append(about["note"])
    parts += [_model(job), _training(job), _results(job), _limits(job), _files(job)]
    if "environment" in about:
        where = "\n".join(f"- {key}: {value}" for key, value in about["environment"].items())
        parts.append(f"## Environment\n\n{where}")
    return "\n\n".join(part for part in parts if part) + "\n"


def _model(job: JobFolder) -> str:
    record = job.record
    if not record:
        return ""
    recipe, sources = record["recipe"], record["sources"]
    priors = sum(source["priors"] for source in sources)
    where = {
        (True, True): "on backbone and head", (True, False): "on the backbone",
        (False, True): "on the head", (False, False): "nowhere",
    }  # fmt: skip
    norm = where[recipe["backbone"]["bn"], recipe["head"]["bn"]]
    maps = ", ".join(str(source["cells"]) for source in sources)
    return (
        "## Model\n\n"
        f"Single-shot detector: backbone {record['arch']} (width x{recipe['backbone']['width']:g}),"
        f" head {record['head']}, input {recipe['size']} x {recipe['size']} pixels (stretched), "
        f"{priors:,} prior boxes on maps of {maps} cells, BatchNorm {norm}.\n\n"
        f"Classes: {', '.join(record['dataset']['classes'][1:])}."
    )


def _training(job: JobFolder) -> str:
    record = job.record
    if not record:
        return ""
    recipe, data = record["recipe"], record["dataset"]
    solver = recipe["solver"]
    batch = recipe["data"]["batch_size"] * (solver["iter_size"] or 1)
    steps = ", ".join(map(str, solver["stepvalue"])) or "none"
    begin = recipe.get("weights") or "from scratch"
    lines = [
        f"Recipe `{recipe['name']}`; {begin}; {solver['type']}, learning rate "
        f"{solver['base_lr']:g} (steps at {steps}), momentum {solver['momentum']:g}, weight decay "
        f"{solver['weight_decay']:g}; {solver['max_iter']:,} iterations of {batch} pictures, seed "
        f"{solver['random_seed']}.",
        f"Data: `{data['trainval_lmdb']}`, tested on `{data['test_lmdb']}` "
        f"({data['test_images']:,} pictures).",
    ]
    if job.log and len(job.log.loss.value):
        lines.append(f"Training loss at the end: {job.log.loss.value[-1]:.3f}.")
    return "## Training\n\n" + "\n\n".join(lines)


def _results(job: JobFolder) -> str:
    metrics = job.metrics
    if not metrics:
        return ""
    lines = ["## Results", "| class | objects | " + " | ".join(metrics["map"]) + " |"]
    rows = [lines.pop(), "| --- " * (2 + len(metrics["map"])) + "|"]
    for name, own in metrics["classes"].items():
        cells = [_ap(own["ap"].get(rule)) for rule in metrics["map"]]
        rows.append(f"| {name} | {own['objects']} | " + " | ".join(cells) + " |")
    means = [f"**{_ap(value)}**" for value in metrics["map"].values()]
    rows.append("| **mean** | | " + " | ".join(means) + " |")
    lines.append("\n".join(rows))
    if "coco" in metrics:
        coco, bounds = metrics["coco"]["map"], metrics["coco"]["bounds"]
        numbers = ", ".join(f"{key} {_ap(value)}" for key, value in coco.items())
        lines.append(f"COCO's numbers, medium from {bounds[0]:g} and large from {bounds[1]:g} "
                     f"pixels a side on: {numbers}.")  # fmt: skip
    rules = [f"- {rule}: {metrics['rules'][rule]}" for rule in (ELEVEN_POINT, AREA)
             if rule in metrics["rules"]]  # fmt: skip
    return "\n\n".join([*lines, "\n".join(rules)])


def _limits(job: JobFolder) -> str:
    if not job.record:
        return ""
    data = job.record["dataset"]["name"]
    return (
        "## Limits\n\n"
        f"The net knows the classes above as they look in {data}, and nothing else: what is no "
        "object of a class, or looks otherwise, may be found as one. Scores are not calibrated "
        "probabilities. It was not examined for uses in which an error does harm."
    )


def _files(job: JobFolder) -> str:
    commands = "\n".join(job.commands)
    weights = job.metrics.get("weights", "")
    files = "\n".join(f"- `{name}`" for name in job.files)
    first = f"Weights: `{weights}`.\n\n" if weights else ""
    return f"## Files and commands\n\n{first}{files}\n\n```\n{commands}\n```"


def _ap(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
