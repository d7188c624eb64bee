"""What a checked dataset looks like, as text: counts, histograms, findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.cli import text_table
from scratchdet_caffe.data.build import Examined
from scratchdet_caffe.data.examine import SIZE_BINS, CheckedSet

BAR = 40  # characters of the longest bar
Row = tuple[object, ...]


def counts(done: Examined) -> str:
    """Return a table of images and boxes of both lists, class by class."""
    sets = (done.train, done.test)
    rows: list[Row] = [("images", *(len(checked.items) for checked in sets))]
    rows.append(("boxes", *(checked.boxes.total() for checked in sets)))
    for name, shown in display_names(done.label_map).items():
        rows.append((f"  {shown}", *(checked.boxes[name] for checked in sets)))
    rows.append(("difficult boxes", *(checked.difficult for checked in sets)))
    if any(checked.truncated for checked in sets):
        rows.append(("truncated boxes", *(checked.truncated for checked in sets)))
    rows.append(("images without boxes", *(checked.empty for checked in sets)))
    return text_table(["", "train", "test"], rows)


def display_names(label_map: pb.LabelMap) -> dict[str, str]:
    """Return ``{name: display name}`` of the classes, without the background."""
    return {item.name: item.display_name or item.name for item in label_map.item if item.label}


def histograms(done: Examined) -> str:
    """Return bars for the classes and for the sizes of the training boxes."""
    classes = {
        shown: done.train.boxes[name] for name, shown in display_names(done.label_map).items()
    }
    sides = {_bin_name(number): done.train.sides[number] for number in range(SIZE_BINS)}
    return (
        f"training boxes by class\n{_bars(classes)}\n\n"
        f"training boxes by side, sqrt(width x height) as a share of the picture's\n{_bars(sides)}"
    )


def _bin_name(number: int) -> str:
    if number == SIZE_BINS - 1:
        return f"below 1/{2**number}"
    return f"1/{2 ** (number + 1)} to {f'1/{2**number}' if number else '1'}"


def _bars(values: dict[str, int]) -> str:
    most, width = max(values.values(), default=0), max(map(len, values), default=0)
    lines = []
    for name, value in values.items():
        bar = "#" * round(BAR * value / most) if most else ""
        lines.append(f"  {name:<{width}}  {value:>8}  {bar}".rstrip())
    return "\n".join(lines)


def findings(done: Examined) -> str:
    """Return a table of what was found, the faults first."""
    total: Counter[tuple[str, bool]] = Counter()
    for checked in (done.train, done.test):
        total += checked.kinds()
    rows = [
        (kind, "fault" if fault else "note", count)
        for (kind, fault), count in sorted(
            total.items(), key=lambda found: (not found[0][1], found)
        )
    ]
    rows += [(kind, "note", count) for kind, count in Counter(k for k, _ in done.notes).items()]
    rows += [("unused class", "note", len(unused))] if (unused := unused_classes(done)) else []
    return text_table(["finding", "", "times"], rows) if rows else "nothing to find fault with"


def unused_classes(done: Examined) -> list[str]:
    """Return the classes of the label map that no training picture shows."""
    names = display_names(done.label_map)
    return [shown for name, shown in names.items() if not done.train.boxes[name]]


def report_lines(done: Examined) -> Iterator[str]:
    """Yield one line for each finding: set, kind, file and what."""
    for checked in (done.train, done.test):
        yield from _lines(checked)
    for kind, text in done.notes:
        yield f"list\tnote\t{kind}\t{text}"
    for name in unused_classes(done):
        yield f"trainval\tnote\tunused class\t{name}: no training picture shows it"


def _lines(checked: CheckedSet) -> Iterator[str]:
    for item in checked.items:
        for where, found in item.findings:
            level = "fault" if found.fault else "note"
            yield f"{checked.name}\t{level}\t{found.kind}\t{where}: {found.text}"
